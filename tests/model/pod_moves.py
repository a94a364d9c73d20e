"""What happens to pods and to their source; the kubelet's steps are moves like all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from reconciler.fake_runtime.node import Stored

from .pods import SHORT, Pod, Template, Wanted
from .world import CAPACITY, World

T = TypeVar("T")
PODS = 5  # bound at a time
TEMPLATES = 8  # the newest ones, of which pods are made
POLICIES = ("IfNotPresent", "IfNotPresent", "Always", "Never")
SHORTER = {
    "docker.io/library/nginx:1.27": ("nginx:1.27", "library/nginx:1.27", "docker.io/nginx:1.27")
}


class Dice(Protocol):
    """Where choices come from."""

    def number(self, least: int, most: int) -> int: ...
    def pick(self, among: Sequence[T]) -> T: ...


def text_for(world: World, image: Stored, dice: Dice) -> str:
    """One of the ways in which a pod's spec may ask for an image."""
    names = [*image.tags, *image.tags, *image.digests]
    for name in image.tags:
        names += SHORTER.get(name, ())
        if image.digests:
            names.append(f"{name}@{image.digests[0].partition('@')[2]}")
        if world.node.habits.crio and name.startswith(f"{SHORT}/"):
            names.append(name.removeprefix(f"{SHORT}/"))
    return dice.pick(names or [world.node.habits.id_text(image.hex_id)])


def _an_image(world: World, dice: Dice) -> str:
    """Mostly of those that are here."""
    images = list(world.node.images.values())
    if images and dice.number(0, 7):
        return text_for(world, dice.pick(images), dice)
    return dice.pick(sorted(world.node.registry))


def new_template(world: World, dice: Dice) -> Template:
    """A Deployment, a StatefulSet, a DaemonSet, a Job, a CronJob, or a pod without a controller."""
    number = len(world.kubelet.templates)
    wanted: list[Wanted] = []
    for kind in dice.pick(
        (
            ("main",),
            ("main",),
            ("init", "main"),
            ("init", "init", "main"),
            ("sidecar", "main"),
            ("main", "main"),
            ("init", "sidecar", "main"),
        )
    ):
        volume = ""
        if world.node.habits.image_volumes and dice.number(0, 1):
            volume = _an_image(world, dice)
        name = f"{kind}{len(wanted)}"
        wanted.append(Wanted(name, _an_image(world, dice), kind, dice.pick(POLICIES), volume))
    name = f"work{number}"
    label, once = dice.pick(
        (
            (("pod-template-hash", f"5d{number}f8c"), False),
            (("pod-template-hash", f"5d{number}f8c"), False),
            (("controller-revision-hash", f"{name}-7b9"), False),
            (("batch.kubernetes.io/job-name", name), True),
            (("job-name", f"{name}-29123456"), True),
            (None, False),
        )
    )
    template = Template(dice.pick(("default", "team")), name, label, tuple(wanted), once)
    world.kubelet.templates.append(template)
    return template


def bind_pod(world: World, dice: Dice) -> None:
    """A pod is bound here: of a template that ran here before, or of a new one."""
    kubelet = world.kubelet
    if len(kubelet.pods) >= PODS:
        delete_pod(world, dice)
    known = kubelet.templates[-TEMPLATES:]
    template = dice.pick(known) if known and dice.number(0, 2) else new_template(world, dice)
    _bind(world, dice, template)


def _bind(world: World, dice: Dice, template: Template) -> Pod:
    uid = str(dice.number(0, 10**9))
    pod = world.kubelet.bind(template, uid, dice.number(0, 4) == 0)
    needs = [(one.kind, one.image, one.policy, one.volume) for one in template.wanted]
    world.note(f"bound {pod.name} {template.label}:", needs)
    return pod


def bind_for(world: World, image: Stored, dice: Dice) -> None:
    """A pod that needs that very image is bound; its sandbox may come at once."""
    number = len(world.kubelet.templates)
    wanted = Wanted("main0", text_for(world, image, dice))
    label = ("pod-template-hash", f"5d{number}f8c")
    template = Template("default", f"work{number}", label, (wanted,))
    world.kubelet.templates.append(template)
    pod = _bind(world, dice, template)
    if dice.number(0, 1):
        _go_on(world, pod)


def rush(world: World, dice: Dice) -> None:
    """A pod of a template that ran here before comes up, and its pull, or something else, fills the
    disk before it has made all its containers."""
    kubelet = world.kubelet
    known = kubelet.templates[-TEMPLATES:]
    if known and len(kubelet.pods) < PODS:
        pod = _bind(world, dice, dice.pick(known))
        for _ in range(dice.number(0, 4)):
            _go_on(world, pod)
    images = world.node.used() - world.node.base
    percent = world.book.wanted.high + dice.number(1, 6)
    world.node.base = max(0, CAPACITY * percent // 100 - images)
    world.note("a rush; the disk is full to percent", percent)
    world.advance(dice.pick((0.1, 2.0, 6.0, 20.0)))


def pod_goes_on(world: World, dice: Dice) -> None:
    """Kubelet's next steps for one pod."""
    pods = list(world.kubelet.pods.values())
    if not pods:
        return
    pod = dice.pick(pods)
    for _ in range(dice.pick((1, 1, 2, 3))):
        if pod.uid in world.kubelet.pods:
            _go_on(world, pod)


def pods_go_on(world: World, dice: Dice) -> None:
    """A step for each pod."""
    for pod in list(world.kubelet.pods.values()):
        _go_on(world, pod)


def _go_on(world: World, pod: Pod) -> None:
    world.note(f"{pod.name}", world.kubelet.go_on(pod))


def debug_pod(world: World, dice: Dice) -> None:
    """An ephemeral container is added to a pod."""
    pods = [one for one in world.kubelet.pods.values() if not one.finished and not one.leaving]
    if pods:
        pod = dice.pick(pods)
        wanted = Wanted(f"debug{len(pod.wanted)}", _an_image(world, dice), "ephemeral")
        world.note(f"{pod.name} gets an ephemeral container:", wanted.image)
        world.kubelet.add(pod, wanted)


def delete_pod(world: World, dice: Dice) -> None:
    """A pod is deleted; kubelet stops it now and removes it with its next step."""
    pods = [one for one in world.kubelet.pods.values() if not one.leaving]
    if pods:
        pod = dice.pick(pods)
        world.kubelet.delete(pod)
        world.note("deleted", pod.name)
    elif world.kubelet.pods:
        pods_go_on(world, dice)


def source_fault(world: World, dice: Dice) -> None:
    """The source of pods loses, doubles, delays or swaps reports, breaks, errs, or is fixed."""
    source, pods = world.source, list(world.kubelet.pods.values())
    if source is None:
        return
    fate = dice.number(0, 11)
    if fate <= 3:
        source.fates.append(("lost", "doubled", "late", "swapped")[fate])
    elif fate == 4:
        source.lose()
    elif fate == 5:
        source.report_stale_list()
    elif fate == 6:
        source.unknown_pod(str(dice.number(0, 10**9)), _an_image(world, dice))
    elif fate == 7 and pods:
        source.report_gone_by_mistake(dice.pick(pods))
    else:
        source.report_all()
    world.note("source of pods:", fate)
