"""Policies as the operator writes them, and what they mean, as simply as can be.

Nothing here uses the product's parser or its patterns: the oracle judges by this."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .marks import AUTO, SHARE, meant, written

Matches = Callable[[str, tuple[str, ...]], bool]  # an image's hex id and its listed names


@dataclass(frozen=True)
class Rule:
    """One exclusion: its text, and what it protects."""

    text: str
    matches: Matches
    until: dt.date | None = None

    def protects(self, hex_id: str, names: tuple[str, ...], now: float) -> bool:
        today = dt.datetime.fromtimestamp(now, dt.UTC).date()
        return (self.until is None or today <= self.until) and self.matches(hex_id, names)


def exact(name: str, until: dt.date | None = None) -> Rule:
    """`host/path:tag`: that one name."""
    return Rule(name, lambda _, names: name in names, until)


def repository(path: str) -> Rule:
    """`host/path`: every tag and every digest name of it, and of everything below it."""
    starts = (f"{path}:", f"{path}@", f"{path}/")
    return Rule(path, lambda _, names: any(one.startswith(starts) for one in names))


def below(prefix: str) -> Rule:
    """`host/dir/*`: everything further down, however far."""
    return Rule(f"{prefix}/*", lambda _, names: any(n.startswith(f"{prefix}/") for n in names))


def tags_like(path: str, start: str) -> Rule:
    """`host/path:v1*`: tags with that beginning."""
    return Rule(
        f"{path}:{start}*", lambda _, names: any(n.startswith(f"{path}:{start}") for n in names)
    )


def by_id(hex_id: str, until: dt.date | None = None) -> Rule:
    """`sha256:` and the first 12 digits, of the id or of a manifest."""
    head = hex_id[:12]
    return Rule(
        f"sha256:{head}",
        lambda key, names: key.startswith(head) or any(f"@sha256:{head}" in n for n in names),
        until,
    )


@dataclass(frozen=True)
class Early:
    """One `expendable` rule: what it matches goes once unused for `unused_for` seconds."""

    rule: Rule
    unused_for: int


@dataclass(frozen=True)
class Version:
    """One policy, whole. Durations are seconds, marks percent; they are written as bytes of the
    model's disk where the unit is another."""

    enforce: bool = True
    high: int = 80
    low: int = 76
    inodes_high: int = 85
    inodes_low: int = 80
    minimum_age: int = 120
    maximum_unused_age: int = 0
    minimum_size: int = 1 << 20
    come_back_for: int = 3600
    protect_unpullable: bool = True
    system: bool = True
    keep_for: int = 3600
    rules: tuple[Rule, ...] = ()
    unit: str = SHARE
    early: tuple[Early, ...] = ()
    precious: tuple[Rule, ...] = ()  # of tier high

    def marks(self, capacity: int) -> tuple[int, int]:
        """The low mark and the high one, in bytes."""
        return meant(self.low, self.unit, capacity), meant(self.high, self.unit, capacity)

    @property
    def is_auto(self) -> bool:
        return self.unit == AUTO

    @property
    def from_low(self) -> bool:
        """Whether it starts where it stops, as `prune` does."""
        return self.high == self.low

    def _marks_text(self) -> str:
        if self.is_auto:
            return AUTO
        high, low = written(self.high, self.unit), written(self.low, self.unit)
        inodes = f"{{high: {self.inodes_high}%, low: {self.inodes_low}%}}"
        return f"{{high: {high}, low: {low}, inodes: {inodes}}}"

    def goes_early(self, hex_id: str, names: tuple[str, ...], unused: float) -> bool:
        """Whether an image goes though there is space: not while one rule that matches it waits,
        nor where it is of tier high."""
        waits = [one.unused_for for one in self.early if one.rule.matches(hex_id, names)]
        if not waits or any(rule.matches(hex_id, names) for rule in self.precious):
            return False
        return unused >= max(waits)

    def text(self) -> str:
        """The file. The kind comes last, so that no beginning of the file is a valid policy."""
        rules = "".join(
            f'  - images: ["{rule.text}"]\n' + (f"    until: {rule.until}\n" if rule.until else "")
            for rule in self.rules
        )
        early = "".join(
            f'  - images: ["{one.rule.text}"]\n    unusedFor: {one.unused_for}s\n'
            for one in self.early
        )
        precious = "".join(
            f'  - images: ["{rule.text}"]\n    tier: high\n' for rule in self.precious
        )
        return (
            "apiVersion: reconciler/v1\n"
            f"mode: {'enforce' if self.enforce else 'observe'}\n"
            f"watermarks: {self._marks_text()}\n"
            f"minimumAge: {self.minimum_age}s\n"
            f"maximumUnusedAge: {self.maximum_unused_age}s\n"
            f"minimumSize: {self.minimum_size}\n"
            f"comeBackFor: {self.come_back_for}s\n"
            f"protectUnpullable: {str(self.protect_unpullable).lower()}\n"
            f"system: {{enabled: {str(self.system).lower()}, keepFor: {self.keep_for}s}}\n"
            + (f"exclusions:\n{rules}" if rules else "")
            + (f"expendable:\n{early}" if early else "")
            + (f"importance:\n{precious}" if precious else "")
            + "kind: ImagePolicy\n"
        )


class Book:
    """The policy file and all that was ever in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wanted = Version()  # what the operator has in mind, also while the file is broken
        self.on_disk: Version | None = None  # None: broken, empty or gone
        self._edits = 0
        self.read: Version | None = None  # the last good one this process of the daemon looked at

    def write(self, version: Version, in_place: bool = False) -> None:
        """A good edit, by renaming a new file over the old one or by writing into it."""
        self.wanted = self.on_disk = version
        self._put(version.text().encode(), in_place)

    def change(self, in_place: bool = False, **values: object) -> None:
        self.write(replace(self.wanted, **values), in_place)  # type: ignore[arg-type] # its fields

    def break_file(self, data: bytes | None) -> None:
        """A bad edit: these bytes, which are no policy, or no file at all."""
        self.on_disk = None
        if data is None:
            self.path.unlink(missing_ok=True)
        else:
            self._put(data, in_place=True)

    def looked(self) -> None:
        """The daemon looks at the file now."""
        self.read = self.on_disk or self.read

    def _put(self, data: bytes, in_place: bool) -> None:
        """Writes the file with a new time, however coarse the filesystem's clock is."""
        self._edits += 1
        written = self.path if in_place else self.path.with_suffix(".new")
        written.write_bytes(data)
        os.utime(written, (self._edits, self._edits))
        os.replace(written, self.path)
