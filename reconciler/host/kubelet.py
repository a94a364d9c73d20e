"""kubelet's configuration, as far as it can be seen from here, and the part that governs images.

kubelet reads one file, then every *.conf below --config-dir in the order of their paths, each
merged over the earlier ones as a JSON merge patch (kubernetes cmd/kubelet/app/server.go); an
evictionHard that is given replaces its defaults as a whole, unless kubelet is set to merge them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..domain.kubelet_lines import (
    AS_SHIPPED,
    DEFAULTS,
    HARD,
    SIGNALS,
    SOFT,
    KubeletConfig,
    NodeFilesystem,
    Threshold,
)
from ..policy.values import parse_duration, parse_gc_high, parse_threshold
from ..regular_file import read_text

KIND = "KubeletConfiguration"
# Where kubeadm, EKS, AKS, GKE and OpenShift keep the file; and directories of drop-ins that k3s,
# RKE2, EKS and others pass as --config-dir.
FILES = (
    Path("/var/lib/kubelet/config.yaml"),
    Path("/etc/kubernetes/kubelet/config.json"),
    Path("/etc/kubernetes/kubelet/kubelet-config.json"),
    Path("/etc/default/kubeletconfig.json"),
    Path("/home/kubernetes/kubelet-config.yaml"),
    Path("/etc/kubernetes/kubelet.conf"),
)
DROPINS = (
    Path("/etc/kubernetes/kubelet.conf.d"),
    Path("/etc/kubernetes/kubelet/config.json.d"),
    Path("/etc/kubernetes/kubelet/config.d"),
    Path("/var/lib/rancher/k3s/agent/etc/kubelet.conf.d"),
    Path("/var/lib/rancher/rke2/agent/etc/kubelet.conf.d"),
)
# On kubelet's own filesystem: in a pod what kubelet itself mounts there, else its directory.
ON_NODEFS = (Path("/dev/termination-log"), Path("/var/lib/kubelet"))
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look. `file` and `directory` are what somebody named; None: where distributions
    keep them."""

    file: Path | None = None
    directory: Path | None = None

    def found(self) -> tuple[list[Path], list[Path]]:
        """The files to read, and the directories of drop-ins."""
        files = [self.file] if self.file else [path for path in FILES if _may_be_file(path)]
        if self.directory:
            return files, [self.directory]
        return files, [] if self.file else list(DROPINS)


def _may_be_file(path: Path) -> bool:
    """Whether a file is at a path, or may be there: if this user may not look, reading it fails."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def read(places: Places) -> tuple[KubeletConfig, tuple[str, ...]]:
    """Returns what files say, with kubelet's defaults for the remainder, and what was wrong."""
    merged: dict[str, Any] = {}
    sources: list[str] = []
    troubles: list[str] = []
    files, directories = places.found()

    def take(path: Path, name: str) -> bool:
        """Whether it was read, and is kubelet's: others keep a kubeconfig at OpenShift's path."""
        nonlocal merged
        try:
            given = _document(path)
        except _Unreadable as error:
            if not (error.absent and path == places.file):
                troubles.append(f"{path} {error}; what it says is unknown")
            return False
        if given is None:
            return False
        merged = _merged(merged, given)
        sources.append(name)
        return True

    any(take(path, str(path)) for path in files)  # only the first is kubelet's
    for path in _dropins(directories, troubles):
        take(path, path.name)
    source = ", ".join(sources) if sources else DEFAULTS
    config, wrong = config_of(merged, source)
    return config, (*troubles, *wrong)


def config_of(found: Json, source: str) -> tuple[KubeletConfig, tuple[str, ...]]:
    """Returns what a KubeletConfiguration says of images, and what in it can't be read: there the
    default counts."""
    wrong: list[str] = []

    def value(key: str, parse: Any, default: Any) -> Any:
        given = found.get(key)
        if given is None:
            return default
        try:
            return parse(str(given).lower() if isinstance(given, bool) else str(given))
        except ValueError as error:
            wrong.append(f"{source}: {key}: {error}; assuming kubelet's default")
            return default

    high = value("imageGCHighThresholdPercent", parse_gc_high, KubeletConfig().image_gc_high)
    age = value("imageMaximumGCAge", parse_duration, 0.0)
    hard = _thresholds(found.get(HARD), HARD, source, wrong)
    if hard is None:
        hard = AS_SHIPPED
    elif found.get("mergeDefaultEvictionSettings") is True:
        given_signals = set(found[HARD])
        hard = (*hard, *(one for one in AS_SHIPPED if one.signal not in given_signals))
    soft = _thresholds(found.get(SOFT), SOFT, source, wrong) or ()
    return KubeletConfig(source, high, age, (*hard, *soft)), tuple(wrong)


def nodefs(places: tuple[Path, ...] = ON_NODEFS) -> NodeFilesystem | None:
    """The filesystem of kubelet's own directory; None: it can't be seen from here."""
    for path in places:
        try:
            size = os.statvfs(path)
            return NodeFilesystem(path.stat().st_dev, size.f_blocks * size.f_frsize)
        except OSError:
            continue
    return None


def _thresholds(
    given: object, setting: str, source: str, wrong: list[str]
) -> tuple[Threshold, ...] | None:
    """The thresholds on filesystems; None: not given."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        expected = "expected signals and values; assuming kubelet's default"
        wrong.append(f"{source}: {setting}: {expected}")
        return None
    found = []
    for signal in SIGNALS:
        if signal in given:
            try:
                threshold = parse_threshold(setting, signal, str(given[signal]))
            except ValueError as error:
                wrong.append(f"{source}: {setting} {signal}: {error}; kubelet would not start")
                continue
            found += [threshold] if threshold is not None else []
    return tuple(found)


class _Unreadable(Exception):
    """Why a file is not read; the text continues after its path. `absent`: there is none."""

    def __init__(self, text: str, *, absent: bool = False) -> None:
        super().__init__(text)
        self.absent = absent


def _document(path: Path) -> dict[str, Any] | None:
    """Returns a file's first document, which is all that kubelet reads; None: another kind."""
    try:
        text = read_text(path)
        if path.stat().st_nlink == 0:
            raise _Unreadable(
                "was replaced, and what is mounted here is the old one: mount it again"
            )
    except FileNotFoundError:
        raise _Unreadable("is not there", absent=True) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _Unreadable(f"can't be read ({getattr(error, 'strerror', None) or error})") from error
    from .yaml_text import NotUsable, first_document

    try:
        found = first_document(text)
    except NotUsable as error:
        raise _Unreadable(f"is {error}") from error
    if found is not None and not isinstance(found, dict):
        raise _Unreadable(f"is not a {KIND}")
    return None if found and found.get("kind", KIND) != KIND else found or {}


def _dropins(directories: list[Path], troubles: list[str]) -> list[Path]:
    """Every *.conf below, in the order in which kubelet reads them."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            why = f"can't be read ({error.strerror}); what it says is unknown"
            troubles.append(f"{error.filename} {why}")

    found = []
    for directory in directories:
        named = [
            Path(folder, name)
            for folder, _, names in os.walk(directory, onerror=note)
            for name in names
            if name.endswith(".conf")
        ]
        found += sorted(path for path in named if _may_be_file(path))
    return found


def _merged(whole: dict[str, Any], patch: Json) -> dict[str, Any]:
    """A JSON merge patch (RFC 7386)."""
    result = dict(whole)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            result[key] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result
