"""What goes wrong with the runtime: restarts, failing calls, wrong lists, a broken event stream."""

from __future__ import annotations

from reconciler.domain.inventory import EventKind
from reconciler.fake_runtime.habits import ALL

from .pod_moves import Dice
from .service import LISTS, Fault
from .stream import rpc_error
from .world import World

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


def runtime_restart(world: World, dice: Dice) -> None:
    """The runtime restarts, maybe as another version; CRI-O may have wiped what it had."""
    node = world.node
    world.outage()
    world.advance(dice.pick((0.05, 1.0, 1.0, 40.0)))
    same_ids = [one for one in ALL.values() if one.crio == node.habits.crio]
    habits = dice.pick(same_ids) if dice.number(0, 1) else node.habits
    if not habits.image_volumes:
        for one in [c for c in node.containers.values() if c.volumes]:
            node.remove(one.id, world.wall(), notify=False)
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


def list_wrongly(world: World, dice: Dice) -> None:
    """The next lists are wrong: empty, with holes, or stale."""
    name, kind = dice.pick(list(LISTS)), dice.pick(("empty", "partial", "stale"))
    world.service.faults[name].append(Fault(wrong=kind, times=dice.number(1, 3)))
    world.note(f"{name} will be", kind)
