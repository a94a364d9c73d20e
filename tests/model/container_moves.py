"""What happens to containers of pods that no source reports: they are made, end and are removed."""

from __future__ import annotations

from reconciler.fake_runtime.node import Refused, Stored

from .image_moves import an_image, text_of
from .pod_moves import Dice
from .world import World


def run_pod(world: World, dice: Dice) -> None:
    """A pod with a container or two, all of them started or not."""
    node, now = world.node, world.wall()
    if len(node.sandboxes) >= 4:
        remove_pod(world, dice)
    uid = str(dice.number(0, 10**9))
    labels = {"io.kubernetes.pod.uid": uid} if dice.number(0, 4) else {}
    pod = node.run_pod(f"pod-{uid}", now, uid=uid, labels=labels)
    world.note("pod", pod.id[:8])
    for _ in range(dice.number(0, 2)):
        _container(world, dice, pod.id)


def add_container(world: World, dice: Dice) -> None:
    pods = list(world.node.sandboxes)
    if pods and len(world.node.containers) < 8:
        _container(world, dice, dice.pick(pods))


def _container(world: World, dice: Dice, pod: str) -> None:
    node, image = world.node, an_image(world, dice)
    if image is None:
        return
    volumes = {}
    mounted = an_image(world, dice)
    if node.habits.image_volumes and mounted is not None and dice.number(0, 1):
        volumes = {"/data": text_of(world, mounted, dice)}
    if node.sandboxes[pod].uid in world.kubelet.pods:
        volumes = {}  # what its containers mount is in its spec
    labels = dict(node.sandboxes[pod].labels)
    text = text_of(world, image, dice)
    world.service.streams.next_is_unresolved = dice.number(0, 29) == 0
    try:
        made = node.create(pod, text, world.wall(), volumes=volumes, labels=labels)
    except Refused as refused:
        world.note("not created:", refused)
        return
    unresolved = "its image is unknown" if made.id in world.service.streams.unresolved else ""
    world.note(f"container {made.id[:8]} of {text} {volumes} {unresolved}:", made.image.hex_id)
    if dice.number(0, 3):
        node.start(made.id, world.wall())


def exit_container(world: World, dice: Dice) -> None:
    running = list(world.node.containers)
    if running:
        one = dice.pick(running)
        world.node.exit(one, world.wall())
        world.note("exited", one[:8])


def remove_container(world: World, dice: Dice) -> None:
    containers = list(world.node.containers)
    if containers:
        one = dice.pick(containers)
        world.node.remove(one, world.wall(), notify=dice.number(0, 3) > 0)
        world.note("removed container", one[:8])


def remove_pod(world: World, dice: Dice) -> None:
    pods = list(world.node.sandboxes)
    if pods:
        one = dice.pick(pods)
        world.node.remove_pod(one, world.wall())
        world.note("removed pod", one[:8])


def use(world: World, image: Stored) -> None:
    """Starts a container of that image, in an existing pod or a new one."""
    node, now = world.node, world.wall()
    pod = next(iter(node.sandboxes.values()), None) or node.run_pod("ambush", now)
    made = node.create(pod.id, node.habits.id_text(image.hex_id), now, labels=dict(pod.labels))
    node.start(made.id, now)
