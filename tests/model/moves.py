"""Everything that can happen to a node and its daemon, one function each.

A move takes the world and the dice; the driver chooses the moves and the dice: a random generator
in the long run, hypothesis where a failure is to be shrunk.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from reconciler.domain.facts import Paused, ReclaimAsked, Resumed
from reconciler.domain.inventory import EventKind
from reconciler.fake_runtime.habits import ALL
from reconciler.fake_runtime.node import Refused, Stored, layer

from . import policies, process_moves
from .disk_moves import (
    fill_a_disk,
    flood,
    hide_a_disk,
    report_wrong_usage,
    use_inodes,
    with_disks,
)
from .early import make_expendable
from .endpoint_moves import endpoint_goes, endpoint_lags, with_endpoints
from .marks import write_marks_differently
from .pod_moves import (
    Dice,
    bind_for,
    bind_pod,
    debug_pod,
    delete_pod,
    pod_goes_on,
    pods_go_on,
    rush,
    source_fault,
)
from .policies import Rule
from .process_moves import kubelet_collects, post_by_http
from .stream import rpc_error
from .twice import list_twice
from .wallclock import set_wall_clock
from .wire import LISTS, Fault
from .world import CAPACITY, MIB, World

REGISTRY = "registry.example.com"
NAMES = (
    f"{REGISTRY}/app0:v1",
    f"{REGISTRY}/app0:v2",
    f"{REGISTRY}/app1:v1",
    f"{REGISTRY}/team/app2:latest",
    f"{REGISTRY}/app4:v1",
    f"{REGISTRY}/app5:v1",
    f"{REGISTRY}/team/app6:v1",
    f"{REGISTRY}:5000/team/app3:v1",
    f"{REGISTRY}:5000/team/app3:v2",
    "docker.io/library/nginx:1.27",
    "registry.k8s.io/kube-proxy:v1.34",
    "registry.k8s.io/kube-proxy:v1.33",
    "registry.k8s.io/coredns/coredns:v1",
)
PAUSES = ("registry.k8s.io/pause:3.10", f"{REGISTRY}/infra/sandbox:1")
SIZES = (MIB // 2, 40 * MIB, 150 * MIB, 150 * MIB, 300 * MIB)
CODES = (
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
CALLS = (
    *LISTS,
    "RemoveImage",
    "RemoveImage",
    "Version",
    "Status",
    "ContainerStatus",
    "PodSandboxStatus",
    "ImageFsInfo",
)
BROKEN_POLICIES = (
    b"",
    None,
    b"kind: ImagePolicy\n",
    b"apiVersion: reconciler/v1\nkind: ImagePolicy\nmod: enforce\n",
    b"apiVersion: reconciler/v1\nkind: ImagePolicy\nwatermarks: {high: 10%, low: 90%}\n",
    b"\xff\xfe\x00",
    b"a: [\n",
)


Move = Callable[[World, Dice], None]


def _image(world: World, dice: Dice) -> Stored | None:
    images = list(world.node.images.values())
    return dice.pick(images) if images else None


def _text(world: World, image: Stored, dice: Dice) -> str:
    """One of the ways to ask for an image that is here."""
    return dice.pick([*image.tags, *image.digests, world.node.habits.id_text(image.hex_id)])


# --- images ----------------------------------------


def publish(world: World, dice: Dice) -> None:
    """A tag means another image in the registry from now on."""
    name = dice.pick((*NAMES, *PAUSES))
    size = dice.pick(SIZES)
    layers = [layer(f"{name} {dice.number(0, 3)}", size)]
    world.node.publish(name, [layer("base", 20 * MIB), *layers] if size > MIB else layers)
    world.note("published", name)


def pull(world: World, dice: Dice) -> None:
    name = dice.pick(NAMES)
    if name not in world.node.registry:
        publish_as(world, name, dice)
    image = world.node.pull(name, world.wall())
    world.note(f"pulled {name}:", image.hex_id)


def publish_as(world: World, name: str, dice: Dice) -> None:
    number = dice.number(0, 3)
    world.node.publish(name, [layer(f"{name} {number}", dice.pick(SIZES))])


def move_tag(world: World, dice: Dice) -> None:
    """A new image is pushed and pulled under the tag that a container was made by."""
    asked = [one.asked for one in world.node.containers.values() if one.asked in NAMES]
    if asked:
        name = dice.pick(asked)
        number = dice.number(4, 9)
        world.node.publish(name, [layer(f"{name} {number}", dice.pick(SIZES))])
        image = world.node.pull(name, world.wall())
        world.note(f"moved {name}:", image.hex_id)


def pull_by_digest(world: World, dice: Dice) -> None:
    name = dice.pick(NAMES)
    if name not in world.node.registry:
        publish_as(world, name, dice)
    path = name.rpartition(":")[0]
    image = world.node.pull(f"{path}@sha256:{world.node.registry[name].manifest}", world.wall())
    world.note(f"pulled {path} by digest:", image.hex_id)


def load(world: World, dice: Dice) -> None:
    """Imported, without a registry: only CRI-O lists a digest for it."""
    name = dice.pick(NAMES)
    image = world.node.import_image(name, [layer(f"import {name}", dice.pick(SIZES))])
    world.note(f"imported {name}:", image.hex_id)


def retag(world: World, dice: Dice) -> None:
    image = _image(world, dice)
    if image is not None:
        name = dice.pick((*NAMES, *PAUSES))
        world.node.tag(image, name)
        world.note(f"tagged {name}:", image.hex_id)


def untag(world: World, dice: Dice) -> None:
    image = _image(world, dice)
    if image is not None and image.tags and (len(image.tags) > 1 or image.digests):
        name = image.tags[dice.number(0, len(image.tags) - 1)]
        world.node.untag(image, name)
        world.note(f"untagged {name}:", image.hex_id)


def vanish(world: World, dice: Dice) -> None:
    """Kubelet or a person removes an image behind our back; kubelet only what is unused."""
    image = _image(world, dice)
    if image is None:
        return
    if dice.number(0, 3) and next(world.node.users_of(image), None) is not None:
        return
    del world.node.images[image.hex_id]
    world.note("vanished:", image.hex_id)


def pin(world: World, dice: Dice) -> None:
    image = _image(world, dice)
    if image is not None:
        image.pinned = not image.pinned and dice.number(0, 2) == 0
        world.note(f"pinned {image.pinned}:", image.hex_id)


# --- pods ----------------------------------------


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
    node, image = world.node, _image(world, dice)
    if image is None:
        return
    volumes = {}
    mounted = _image(world, dice)
    if node.habits.image_volumes and mounted is not None and dice.number(0, 1):
        volumes = {"/data": _text(world, mounted, dice)}
    labels = dict(node.sandboxes[pod].labels)
    text = _text(world, image, dice)
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
        world.node.remove(one, world.wall(), tell=dice.number(0, 3) > 0)
        world.note("removed container", one[:8])


def remove_pod(world: World, dice: Dice) -> None:
    pods = list(world.node.sandboxes)
    if pods:
        one = dice.pick(pods)
        world.node.remove_pod(one, world.wall())
        world.note("removed pod", one[:8])


# --- the disk and the operator ----------------------------------------


def fill(world: World, dice: Dice) -> None:
    """Others' data fills the disk to some percent, whatever the images take."""
    images = world.node.used() - world.node.base
    percent = world.book.wanted.high + dice.pick((-20, -2, 0, 1, 2, 4, 9))
    world.node.base = max(0, CAPACITY * percent // 100 - images)
    world.note("the disk is full to percent", percent)


def edit(world: World, dice: Dice) -> None:
    """A good edit of the policy."""
    low = dice.pick((50, 60, 70))
    values: dict[str, object] = dice.pick(
        (
            {"enforce": dice.number(0, 3) > 0},
            {"low": low, "high": low + dice.number(1, 9)},
            {"inodes_low": low, "inodes_high": low + dice.number(1, 9)},
            {"minimum_age": dice.pick((0, 3, 20, 120))},
            {"maximum_unused_age": dice.pick((0, 0, 0, 60, 900))},
            {"come_back_for": dice.pick((0, 60, 3600))},
            {"system": dice.number(0, 3) > 0, "keep_for": dice.pick((0, 60, 3600))},
            {"protect_unpullable": dice.number(0, 1) > 0},
            {"minimum_size": dice.pick((0, MIB))},
            {"rules": _rules(world, dice)},
            {"rules": _rules(world, dice)},
        )
    )
    world.book.change(in_place=dice.number(0, 1) > 0, **values)
    world.note("policy:", {k: v if k != "rules" else _texts(v) for k, v in values.items()})
    if dice.number(0, 2):
        world.nudge()


def _texts(rules: object) -> object:
    return [rule.text for rule in rules] if isinstance(rules, tuple) else rules


def _rules(world: World, dice: Dice) -> tuple[Rule, ...]:
    return tuple(a_rule(world, dice) for _ in range(dice.number(0, 2)))


def a_rule(world: World, dice: Dice) -> Rule:
    name = dice.pick(NAMES)
    path = name.rpartition(":")[0]
    today = dt.datetime.fromtimestamp(world.wall(), dt.UTC).date()
    image = _image(world, dice)
    choices = [
        policies.exact(name),
        policies.exact(name, today + dt.timedelta(days=dice.number(-1, 1))),
        policies.repository(path),
        policies.repository(f"{REGISTRY}/team"),
        policies.below(f"{REGISTRY}:5000"),
        policies.tags_like(path, "v1"),
    ]
    if image is not None:
        choices.append(policies.by_id(image.hex_id))
    return dice.pick(choices)


def break_policy(world: World, dice: Dice) -> None:
    """A bad edit: cut short, empty, gone, nonsense."""
    whole = world.book.wanted.text().encode()
    cut = whole[: dice.number(0, len(whole) - 2)]
    data = cut if dice.number(0, 1) else dice.pick(BROKEN_POLICIES)
    world.book.break_file(data)
    world.note("policy broken:", data[-30:] if data is not None else "gone")
    if dice.number(0, 1):
        world.nudge()


def fix_policy(world: World, dice: Dice) -> None:
    """The operator fixes a broken policy."""
    world.book.change(enforce=True, minimum_size=MIB)
    world.note("policy fixed")
    world.nudge()


# --- the daemon and the runtime ----------------------------------------


def restart(world: World, dice: Dice) -> None:
    """The daemon ends, well or by SIGKILL, and starts again; its ledger may be lost, and the wall
    clock may have been set in between."""
    if world.running:
        world.stop(kill=dice.number(0, 1) > 0)
    world.advance(dice.pick((0.0, 1.0, 1.0, 60.0)))
    if dice.number(0, 5) == 0:
        world.set_clock(world.shift + dice.pick((-86400.0, -60.0, 60.0, 86400.0)))
    world.start(ledger=dice.number(0, 4) > 0)


def runtime_restart(world: World, dice: Dice) -> None:
    """The runtime restarts, maybe as another version; CRI-O may have wiped what it had."""
    node = world.node
    world.outage()
    world.advance(dice.pick((0.05, 1.0, 1.0, 40.0)))
    same_ids = [one for one in ALL.values() if one.crio == node.habits.crio]
    habits = dice.pick(same_ids) if dice.number(0, 1) else node.habits
    if not habits.image_volumes:
        for one in [c for c in node.containers.values() if c.volumes]:
            node.remove(one.id, world.wall(), tell=False)
    if node.habits.crio and dice.number(0, 3) == 0:
        node.containers.clear()
        node.sandboxes.clear()
        node.images.clear()
        world.note("CRI-O wiped everything")
    world.recover(habits)
    world.note("the runtime is back as", f"{habits.name} {habits.version}")


def fault(world: World, dice: Dice) -> None:
    """The next calls of one method fail or take long."""
    name = dice.pick(CALLS)
    kinds = [
        Fault(code=dice.pick(CODES), done=dice.number(0, 1) > 0, times=dice.number(1, 4)),
        Fault(late=dice.pick((0.3, 5.0, 30.0))),
        Fault(slow=dice.pick((0.3, 5.0, 30.0))),
        Fault(late=1000.0),
        Fault(slow=1000.0),
    ]
    if name == "RemoveImage":
        kinds.append(Fault(wrong="nothing", times=dice.number(1, 3)))
    one = dice.pick(kinds)
    world.service.faults[name].append(one)
    world.note(f"fault of {name}:", one)


def event_fault(world: World, dice: Dice) -> None:
    """The event stream loses, doubles, delays or swaps events, stalls or ends."""
    streams = world.service.streams
    fate = dice.number(0, 8)
    if fate <= 3:
        streams.fates.append(("lost", "doubled", "late", "swapped")[fate])
    elif fate == 4:
        streams.replay()
    elif fate == 5:
        streams.unknown_container(f"{dice.number(0, 9):064x}", dice.pick(list(EventKind)))
    elif fate == 6:
        streams.stall_all()
    elif fate == 7:
        streams.go_on()
    else:
        error = rpc_error(dice.pick(CODES), "broken") if dice.number(0, 1) else None
        streams.end_all(error)
    world.note("event stream:", fate)


def ambush(world: World, dice: Dice) -> None:
    """In the last moment before a removal is sent, its image is excluded, used, or needed by
    a pod, or the operator wants nothing removed any more."""
    kind = dice.pick((0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4, 4, 5))

    def strike() -> None:
        image = world.about_to_go()
        if image is None:
            world.service.during["save", "before"].append(strike)  # waits for the next one
            return
        if kind == 0:
            world.book.change(in_place=True, rules=(policies.by_id(image.hex_id),))
        elif kind == 1:
            today = dt.datetime.fromtimestamp(world.wall(), dt.UTC).date()
            ended = policies.by_id(image.hex_id, until=today - dt.timedelta(days=1))
            lasting = policies.by_id(image.hex_id, until=today)
            world.book.change(rules=(ended, lasting)[dice.number(0, 1) :])
        elif kind == 2:
            world.book.change(minimum_size=1 << 30)
        elif kind == 5:
            world.book.change(enforce=False)
        elif kind == 3:
            _use(world, image)
        else:
            bind_for(world, image, dice)
        world.note(f"ambush {kind}:", image.hex_id)

    world.service.during["save", "before"].append(strike)
    world.note(f"ambush {kind} laid")


def _use(world: World, image: Stored) -> None:
    """Starts a container of that image, in an existing pod or a new one."""
    node, now = world.node, world.wall()
    pod = next(iter(node.sandboxes.values()), None) or node.run_pod("ambush", now)
    made = node.create(pod.id, node.habits.id_text(image.hex_id), now, labels=dict(pod.labels))
    node.start(made.id, now)


def slow_disk(world: World, dice: Dice) -> None:
    """The next writes of the ledger are slow."""
    world.slow_saves += [dice.pick((0.2, 3.0)) for _ in range(dice.number(1, 4))]
    world.note("slow disk")


def list_wrongly(world: World, dice: Dice) -> None:
    """The next lists are wrong: empty, with holes, or stale."""
    name, kind = dice.pick(list(LISTS)), dice.pick(("empty", "partial", "stale"))
    world.service.faults[name].append(Fault(wrong=kind, times=dice.number(1, 3)))
    world.note(f"{name} will be", kind)


SURPRISING: tuple[Move, ...] = (
    run_pod,
    add_container,
    bind_pod,
    pod_goes_on,
    pod_goes_on,
    pods_go_on,
    debug_pod,
    delete_pod,
    source_fault,
    pull,
    pull_by_digest,
    retag,
    untag,
    vanish,
    kubelet_collects,
    pin,
    edit,
    break_policy,
    fix_policy,
    remove_container,
    remove_pod,
    exit_container,
    fill,
    fill_a_disk,
    use_inodes,
    publish,
    set_wall_clock,
)


def surprise(world: World, dice: Dice) -> None:
    """Something else happens in the middle of a call, before it is answered or after."""
    name, when = dice.pick((*CALLS, "save", "save")), dice.pick(("before", "after"))
    move = dice.pick(SURPRISING)
    world.service.during[name, when].append(lambda: move(world, dice))
    world.note(f"to come {when} {name}:", move.__name__)


def wait(world: World, dice: Dice) -> None:
    """Time passes."""
    world.advance(dice.pick((0.01, 0.02, 0.1, 0.2, 0.5, 1.0, 1.0, 2.0, 5.0, 12.0)))


def wait_long(world: World, dice: Dice) -> None:
    world.advance(float(dice.pick((31, 31, 64, 130))))


def command(world: World, dice: Dice) -> None:
    """The operator pauses removal, resumes it, or wants space back."""
    commands: list[type[Paused] | type[Resumed] | type[ReclaimAsked]]
    commands = [Paused, Resumed, Resumed, Resumed, ReclaimAsked, ReclaimAsked]
    asked = dice.pick(commands)
    world.command(asked)
    world.note("the operator:", asked.__name__)


def lose_state(world: World, dice: Dice) -> None:
    world.lose_state()
    world.note("the state directory is gone")


def freeze(world: World, dice: Dice) -> None:
    """The daemon is stopped (SIGSTOP) for minutes, and goes on as if nothing had happened."""
    seconds = float(dice.pick((20, 64, 305, 305, 700, 3700)))
    world.loop.leap(seconds)
    world.note("frozen for seconds:", seconds)
    world.advance(0.01)


def prune(world: World, dice: Dice) -> None:
    for _ in range(dice.number(0, 3)):
        pull(world, dice)
    process_moves.prune(world, dice, SURPRISING)


def rival(world: World, dice: Dice) -> None:
    process_moves.rival(world, dice, SURPRISING)


def read_by_http(world: World, dice: Dice) -> None:
    process_moves.read_by_http(world, dice, SURPRISING)


def vary(world: World, dice: Dice) -> None:
    """What a node is like from its beginning on."""
    with_disks(world, dice)
    with_endpoints(world, dice)


MOVES: dict[Move, int] = {
    wait: 30,
    wait_long: 1,
    freeze: 2,
    command: 3,
    lose_state: 1,
    run_pod: 3,
    add_container: 4,
    exit_container: 3,
    remove_container: 6,
    remove_pod: 6,
    bind_pod: 5,
    pod_goes_on: 9,
    pods_go_on: 3,
    rush: 4,
    debug_pod: 1,
    delete_pod: 4,
    source_fault: 3,
    publish: 3,
    pull: 9,
    pull_by_digest: 2,
    move_tag: 6,
    load: 1,
    retag: 3,
    untag: 2,
    vanish: 1,
    kubelet_collects: 2,
    pin: 1,
    fill: 4,
    fill_a_disk: 3,
    use_inodes: 3,
    hide_a_disk: 1,
    report_wrong_usage: 1,
    flood: 1,
    endpoint_goes: 1,
    endpoint_lags: 1,
    prune: 1,
    rival: 1,
    post_by_http: 2,
    read_by_http: 2,
    edit: 4,
    write_marks_differently: 1,
    make_expendable: 3,
    list_twice: 1,
    set_wall_clock: 1,
    break_policy: 1,
    fix_policy: 3,
    restart: 1,
    runtime_restart: 1,
    fault: 3,
    event_fault: 3,
    slow_disk: 2,
    ambush: 3,
    list_wrongly: 1,
    surprise: 6,
}
