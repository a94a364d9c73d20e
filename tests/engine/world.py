"""A node in memory for the loop, with a clock that only a test moves.

`FakeRuntime` is an `ImageRuntime` without a wire. It judges every removal by its own truth at that
instant: `wrong` lists the images that went although something used them. `during` is how a test
gets between two steps: a function under a step's name runs in the middle of it.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import anyio.lowlevel

from reconciler.aiokit import Mailbox
from reconciler.domain.facts import Fact, PolicyLoaded, UsageSampled
from reconciler.domain.inventory import (
    Container,
    ContainerEvent,
    FilesystemUsage,
    Image,
    Listing,
    Sandbox,
    UsageSample,
    Volume,
    is_full_id,
)
from reconciler.domain.policy import Policy
from reconciler.domain.runtime import NoSuchObject, RuntimeFailure, RuntimeVersion
from reconciler.domain.state import State
from reconciler.engine.dependencies import Dependencies
from reconciler.engine.reconcile import Reconciler
from reconciler.host.clock import Reading
from reconciler.telemetry.journal import LogAndMetrics
from reconciler.telemetry.metrics import Metrics
from tests.builders import CONTAINERD, DAY, GIB, T0, digest

Step = Callable[[], "Awaitable[None] | None"]
# What a stream of events does next: one event, its clean end (None), or how it breaks.
StreamPart = ContainerEvent | RuntimeFailure | None


@dataclass(slots=True)
class Clock:
    """Seconds since 1970, moved by hand; `was_set` of them are no time that passed. `ahead`: of
    the wall clock, which somebody sets while the daemon runs."""

    now: float = T0
    was_set: float = 0.0
    ahead: float = 0.0
    machine: str = "this one"
    boots: int = 1
    booted_at: float = 0.0  # by a clock that nobody sets

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def set_forward(self, seconds: float) -> None:
        """The wall clock is set; less than 0: back."""
        self.now += seconds
        self.was_set += seconds

    def reboot(self, off: float = 0.0, set_forward: float = 0.0, machine: str = "") -> None:
        """The machine is off for so long, and comes up with its clock set by so much; or it is
        another one that has the same disk."""
        self.advance(off)
        self.set_forward(set_forward)
        self.machine, self.boots = machine or self.machine, self.boots + 1
        self.booted_at = self.now - self.was_set

    def wall(self) -> float:
        return self.now + self.ahead

    def reading(self) -> Reading:
        up = self.now - self.was_set - self.booted_at
        return Reading(self.now, f"start {self.boots}", up, self.machine)


@dataclass
class FakeRuntime:
    """The node as it is; `during` and `fails` are keyed by the names of the calls, and "between
    lists" is the moment after images were listed and before containers are."""

    clock: Clock
    images: dict[str, Image] = field(default_factory=dict)  # by id
    containers: dict[str, Container] = field(default_factory=dict)
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    answers: RuntimeVersion = CONTAINERD
    other_bytes: int = 0  # on the disk that are no image's
    during: dict[str, Step] = field(default_factory=dict)
    fails: dict[str, RuntimeFailure] = field(default_factory=dict)
    streams: list[Sequence[StreamPart]] = field(default_factory=list)  # one for each subscription
    removed: list[str] = field(default_factory=list)  # first names, in the order they went
    wrong: list[str] = field(default_factory=list)
    listings: int = 0

    # --- the world ------------------------------------------------------------------------------

    def have(self, *images: Image) -> None:
        self.images |= {image.id: image for image in images}

    def run(self, *containers: Container) -> None:
        """Containers appear, each with its sandbox."""
        for one in containers:
            self.containers[one.id] = one
            box = Sandbox(one.sandbox_id, f"default/{one.name}", self.clock())
            self.sandboxes.setdefault(one.sandbox_id, box)

    def used(self) -> int:
        return self.other_bytes + sum(image.size for image in self.images.values())

    def users_of(self, image: Image) -> list[str]:
        """The truth: who uses an image, whatever a list would say."""
        return [
            one.id
            for one in self.containers.values()
            if digest_of(one) == image.key
            or any(volume.image in image.names for volume in one.volumes or ())
        ]

    # --- ImageRuntime ---------------------------------------------------------------------------

    async def version(self) -> RuntimeVersion:
        await self._step("version")
        return self.answers

    async def list_all(self) -> Listing:
        await self._step("list_all")
        self.listings += 1
        began = self.clock()
        images = tuple(self.images.values())
        await self._step("between lists")
        containers = tuple(replace(one, volumes=None) for one in self.containers.values())
        sandboxes = tuple(replace(one, pause=None) for one in self.sandboxes.values())
        return Listing(began, self.clock(), images, containers, sandboxes)

    async def volumes_of(self, container_id: str) -> tuple[Volume, ...]:
        await self._step("volumes_of")
        if container_id not in self.containers:
            raise NoSuchObject(container_id)
        return self.containers[container_id].volumes or ()

    async def pause_of(self, sandbox_id: str) -> tuple[str, ...]:
        await self._step("pause_of")
        if sandbox_id not in self.sandboxes:
            raise NoSuchObject(sandbox_id)
        return self.sandboxes[sandbox_id].pause or ("reg.example/pause:3.10",)

    async def configured_pause(self) -> str | None:
        return None

    async def image_mountpoints(self) -> tuple[str, ...]:
        await self._step("image_mountpoints")
        return ("/images",)

    async def remove_image(self, image_id: str) -> None:
        """Removes, in use or not, as containerd does; a failure set under "remove_image" comes
        instead, one under "removed" after the image went."""
        assert is_full_id(image_id), f"only a full id may ever be sent, not {image_id!r}"
        await self._step("remove_image")
        image = self.images.get(image_id)
        if image is not None:
            if self.users_of(image):
                self.wrong.append(image.names[0])
            del self.images[image_id]
            self.removed.append(image.tags[0].removeprefix("reg.example/"))
        await self._step("removed")

    async def container_events(self) -> AsyncIterator[ContainerEvent]:
        await self._step("container_events")
        for part in self.streams.pop(0):
            if isinstance(part, RuntimeFailure):
                raise part
            if part is None:
                return
            yield part

    async def _step(self, name: str) -> None:
        await anyio.lowlevel.checkpoint()  # every call over a wire is one
        step = self.during.get(name)
        waited = step() if step is not None else None
        if inspect.isawaitable(waited):
            await waited
        if name in self.fails:
            raise self.fails[name]


async def moment(seconds: float) -> None:
    """Time that nobody has to wait for: the clock is moved by hand."""
    await anyio.lowlevel.checkpoint()


def digest_of(container: Container) -> str:
    return (container.image_id or container.image_ref).removeprefix("sha256:")


class Edits:
    """The operator's policy: `save` is an edit; the loop sees it when it looks, or `arrive`s."""

    def __init__(self, mailbox: Mailbox[Fact], clock: Clock) -> None:
        self._mailbox, self._clock = mailbox, clock
        self._saved: Policy | None = None

    def save(self, policy: Policy) -> None:
        self._saved = policy

    async def refresh(self) -> None:
        if self._saved is not None:
            self._mailbox.put(("policy", "PolicyLoaded"), PolicyLoaded(self._clock(), self._saved))
            self._saved = None


class World:
    """A node, a policy and the loop over it; a turn of the loop is a turn of the world."""

    def __init__(self, policy: Policy, capacity: int = 100 * GIB) -> None:
        self.clock = Clock()
        self.runtime = FakeRuntime(self.clock)
        self.mailbox: Mailbox[Fact] = Mailbox()
        self.edits = Edits(self.mailbox, self.clock)
        self.edits.save(policy)
        self.capacity = capacity
        self.state = State(began_at=self.clock())
        self.saving: Step | None = None  # runs whenever the ledger is written
        self.journal = LogAndMetrics(Metrics())
        self.loop = self.restarted()

    def restarted(self) -> Reconciler:
        """A new loop over the same state, as after a start."""
        return Reconciler(
            Dependencies(
                self.runtime,
                self.mailbox,
                self.edits,
                self.sample,
                self._save,
                self.journal,
                self.clock,
                self.clock,
                wall=self.clock.wall,
                sleep=moment,
            ),
            self.state,
        )

    async def sample(self) -> UsageSample:
        usage = FilesystemUsage("/images", 1, self.capacity, self.runtime.used())
        return UsageSample(self.clock(), (usage,))

    async def _save(self, state: State) -> None:
        state.take_changes()
        waited = self.saving() if self.saving is not None else None
        if inspect.isawaitable(waited):
            await waited

    async def turn(self, seconds: float = 1.0) -> None:
        """Time passes, the filesystem is measured, and the loop turns once."""
        self.clock.advance(seconds)
        await self.edits.refresh()
        self.mailbox.put("usage", UsageSampled(await self.sample()))
        await self.loop.turn(self.mailbox.drain())

    async def turns(self, count: int, seconds: float = 1.0) -> None:
        for _ in range(count):
            await self.turn(seconds)

    async def settle(self) -> None:
        """The daemon comes up on a calm node and lives there for a day."""
        capacity, self.capacity = self.capacity, 1 << 60
        await self.turn()
        self.clock.advance(DAY)
        self.capacity = capacity

    def left(self) -> list[str]:
        """Which images are there, by name."""
        tags = [image.tags[0] for image in self.runtime.images.values()]
        return sorted(tag.removeprefix("reg.example/") for tag in tags)


def box_of(name: str) -> str:
    return digest(f"sandbox {name}")
