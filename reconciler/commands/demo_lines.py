"""What `demo` shows: usage and the marks, which images are removed and why, which stay and why.
As lines of text for pipes and logs; `demo_screen` draws the same on a terminal."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from ..domain.facts import RemovalFinished
from ..domain.humanize import counted, image_name, size_text
from ..domain.inventory import Image
from ..domain.plan import Plan
from ..domain.watermark import FilesystemState, Pressure
from ..fake_runtime.life import REGISTRY
from .demo_rival import Rival

WIDTH = 40  # characters of the usage bar
TRAIL = 480  # samples of usage that are remembered
SAMPLE = 0.25  # seconds between them


@dataclass(frozen=True, slots=True)
class Gone:
    """One removal, as text."""

    name: str
    freed: str
    why: str


@dataclass(slots=True)
class Seen:
    """The data that is drawn, as lines or on a screen."""

    seconds: float  # the demo's length
    page: str = ""  # where a browser finds the daemon
    began: float = field(default_factory=time.monotonic)
    filesystem: FilesystemState | None = None
    plan: Plan | None = None
    happened: str = ""
    gone: deque[Gone] = field(default_factory=lambda: deque(maxlen=32))
    count: int = 0
    freed: int = 0  # bytes
    trail: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=TRAIL))
    edit: str = ""  # what happened to the operator's edit
    rival: Rival | None = None  # what least recently used would have done
    _sampled_at: float = 0.0
    _saved_at: float | None = None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def measured(self, fs: FilesystemState | None) -> None:
        """Remembers usage for the curve."""
        self.filesystem = fs
        if fs is not None and (not self.trail or self.elapsed - self._sampled_at >= SAMPLE):
            self._sampled_at = self.elapsed
            self.trail.append((fs.used_percent, fs.pressure is Pressure.RECLAIMING))

    def removed(self, fact: RemovalFinished, freed: int) -> None:
        """Adds a removal that freed `freed` bytes."""
        self.count += 1
        self.freed += freed
        removal = fact.removal
        name = short(removal.short_name)
        self.gone.append(Gone(name, size_text(freed), removal.why))

    def saved(self) -> None:
        """Notes that the operator saves an edit of the policy now."""
        self._saved_at = time.monotonic()
        self.edit = f"saved: keep {REGISTRY}/cron/**"

    def in_force(self) -> None:
        """Notes that a policy came into force, and how long that took if it is the edit."""
        if self._saved_at is not None:
            took = 1000 * (time.monotonic() - self._saved_at)
            self.edit = f"an operator excluded {REGISTRY}/cron/**: in force after {took:.0f} ms"
            self._saved_at = None


def rivalry(seen: Seen) -> str:
    """How many images had to be pulled again, here and with least recently used."""
    rival = seen.rival
    if rival is None:
        return ""
    return (
        f"{rival.ours_again} had to be pulled again; least recently used would have removed "
        f"{rival.removed} and pulled {rival.again} again"
    )


def name_of(image: Image) -> str:
    return short(image_name(image.names, image.id))


def short(name: str) -> str:
    """A name without the registry that most of the demo's images come from."""
    return name.removeprefix(f"{REGISTRY}/")


def bar(fs: FilesystemState, width: int = WIDTH) -> str:
    """`[#####....L..H....]  74.1%`: usage, and where the two marks are."""
    cells = ["#" if n < width * fs.used_percent / 100 else "." for n in range(width)]
    for mark, letter in ((fs.low, "L"), (fs.high, "H")):
        cells[min(width - 1, width * mark // fs.usage.capacity)] = letter
    return f"[{''.join(cells)}] {fs.used_percent:5.1f}%"


def staying(plan: Plan) -> list[tuple[str, int, str]]:
    """Each kind of protection, how many images it keeps, and an example; most first."""
    counts = Counter(kept.protections[0].kind.value for kept in plan.kept)
    example = {
        kept.protections[0].kind.value: f"{name_of(kept.image)}: {kept.protections[0].detail}"
        for kept in plan.kept
    }
    return [(kind, count, example[kind]) for kind, count in counts.most_common()]


async def draw_plain(look: Callable[[], Seen]) -> None:
    """Prints a line a second, and one for everything that happened in it."""
    printed, edit, page = 0, "", ""
    while True:
        seen = look()
        if seen.filesystem is not None and seen.page != page:
            page = seen.page
            print(f"the daemon's page: {page}", flush=True)
        fresh = list(seen.gone)[-(seen.count - printed) :] if seen.count > printed else []
        for one in fresh:
            print(f"  gone  {one.name}, {one.freed} freed: {one.why}", flush=True)
        printed = seen.count
        if seen.edit != edit:
            edit = seen.edit
            print(f"  policy  {edit}", flush=True)
        if seen.filesystem is not None and seen.plan is not None:
            kept = ", ".join(f"{count} {kind}" for kind, count, _ in staying(seen.plan))
            pressure = seen.filesystem.pressure.value
            print(f"{bar(seen.filesystem)} {pressure:<10} kept: {kept}", flush=True)
        await anyio.sleep(1)


def summary(seen: Seen, wrong: int) -> None:
    """Prints the last lines."""
    freed = size_text(seen.freed)
    print(
        f"removed {counted(seen.count, 'image')}, freed {freed}; of those in use or pinned: {wrong}"
    )
    if seen.rival is not None:
        print(f"{rivalry(seen)} ({size_text(seen.rival.again_bytes)})")
    print("next, on your own node: reconciler plan    (it reads, and removes nothing)")
