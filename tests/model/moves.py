"""Everything that can happen to a node and its daemon, one function each.

A move takes the world and the dice; the driver chooses the moves and the dice: a random generator
in the long run, hypothesis where a failure is to be shrunk.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from reconciler.domain.facts import Paused, ReclaimAsked, Resumed

from . import policies, process_moves
from .container_moves import (
    add_container,
    exit_container,
    remove_container,
    remove_pod,
    run_pod,
    use,
)
from .daemon_moves import freeze, lose_state, restart, slow_disk
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
from .image_moves import (
    load,
    move_tag,
    pin,
    publish,
    pull,
    pull_by_digest,
    retag,
    untag,
    vanish,
)
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
from .policy_moves import break_policy, edit, fix_policy
from .process_moves import kubelet_collects, post_by_http
from .runtime_moves import CALLS, event_fault, fault, list_wrongly, runtime_restart
from .twice import list_twice
from .wallclock import set_wall_clock
from .world import CAPACITY, World

Move = Callable[[World, Dice], None]


def fill(world: World, dice: Dice) -> None:
    """Others' data fills the disk to some percent, whatever the images take."""
    images = world.node.used() - world.node.base
    percent = world.book.wanted.high + dice.pick((-20, -2, 0, 1, 2, 4, 9))
    world.node.base = max(0, CAPACITY * percent // 100 - images)
    world.note("the disk is full to percent", percent)


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
            use(world, image)
        else:
            bind_for(world, image, dice)
        world.note(f"ambush {kind}:", image.hex_id)

    world.service.during["save", "before"].append(strike)
    world.note(f"ambush {kind} laid")


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
