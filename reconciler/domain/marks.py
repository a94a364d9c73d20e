"""Explain the marks for people: where each is from, in one sentence, and where kubelet acts
first."""

from __future__ import annotations

from collections.abc import Iterator

from .humanize import duration
from .kubelet_lines import KubeletConfig, Line, impossible, lowest, pulls_fail
from .state import State
from .watermark import FilesystemState


def explained(fs: FilesystemState, state: State) -> str:
    """Where a filesystem's high mark is from: `auto: 84.0% (imageGCHighThresholdPercent 85, of
    kubelet's defaults) less 0.6% (...)`."""
    whole = fs.usage.capacity
    if fs.margin is None:
        return f"given by the policy; {_lowest_line(fs)}"
    line = lowest(fs.lines, whole, pulls_fail(whole))
    known = _kubelet(state)
    source = "" if known is None or line not in fs.lines else f", of {known.source}"
    return (
        f"auto: {percent(line.kept_at, whole)} ({line.setting}{source}) less a margin of "
        f"{percent(fs.margin, whole)} ({_learned(fs, state)})"
    )


def warnings(state: State) -> list[str]:
    """Returns warnings for the operator about marks at which kubelet acts first."""
    return list(dict.fromkeys((*_line_warnings(state), *_age_warnings(state))))


def percent(count: int, whole: int) -> str:
    return f"{100 * count / whole:.1f}%" if whole else "0.0%"


def _lowest_line(fs: FilesystemState) -> str:
    if not fs.lines:
        return "kubelet has no line here"
    line = fs.lines[0]
    return f"kubelet acts above {percent(line.kept_at, fs.usage.capacity)} ({line.setting})"


def _learned(fs: FilesystemState, state: State) -> str:
    recent = state.disks.overshoot(fs.usage.mountpoint).recent
    if not recent:
        return "usage has not crossed a high mark here yet"
    far = percent(max(recent), fs.usage.capacity)
    times = "the last crossing" if len(recent) == 1 else f"the last {len(recent)} crossings"
    return f"usage ran up to {far} past the mark in {times}"


def _kubelet(state: State) -> KubeletConfig | None:
    """The kubelet configuration that the marks are derived from."""
    return state.disks.bounds.kubelet if state.disks.bounds else None


def _line_warnings(state: State) -> Iterator[str]:
    kubelet = _kubelet(state)
    source = kubelet.source if kubelet else ""
    for fs in state.disks.filesystems.values():
        whole, inodes = fs.usage.capacity, fs.usage.total_inodes
        yield from _first(fs, "high", fs.high, fs.lines, whole, source)
        if inodes:
            yield from _first(fs, "inodes.high", fs.inodes_high, fs.inode_lines, inodes, source)


def _first(
    fs: FilesystemState, mark: str, high: int, lines: tuple[Line, ...], whole: int, source: str
) -> Iterator[str]:
    for_ever = impossible(lines, whole)
    for line in for_ever:
        yield (
            f"kubelet acts on {fs.usage.mountpoint} whatever is removed: {line.setting} "
            f"({source}) is crossed from {percent(line.crossed_at, whole)} on"
        )
    below = [line for line in lines if line.crossed_at <= high and line not in for_ever]
    if below:
        settings = " and ".join(
            f"{line.setting} from {percent(line.crossed_at, whole)} on" for line in below
        )
        yield (
            f"watermarks.{mark} is {percent(high, whole)} on {fs.usage.mountpoint}, and kubelet "
            f"acts first there: {settings} ({source}); it knows no exclusions. Lower ours, raise "
            "kubelet's, or set watermarks: auto"
        )


def _age_warnings(state: State) -> Iterator[str]:
    policy, known = state.operator.policy, _kubelet(state)
    if policy is not None and known is not None and known.maximum_image_age and policy.exclusions:
        age = duration(known.maximum_image_age)
        yield (
            f"kubelet removes every image unused for {age} (imageMaximumGCAge, {known.source}), "
            "excluded ones too: it knows no exclusions"
        )
