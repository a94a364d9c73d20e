"""`reconciler status`: what the daemon of this node does right now, in a few lines."""

from __future__ import annotations

import sys

from ..domain.humanize import counted, image_name, size_text
from ..report import Json, to_text, used_text
from ..settings import Settings
from .daemon import NoDaemon, ask_daemon
from .tables import heading


def status(settings: Settings, output: str) -> int:
    """Prints the daemon's status; returns 1 if none answers or it is not ready."""
    try:
        document = ask_daemon(settings, "status")
    except NoDaemon as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 1
    if output == "json":
        print(to_text(document))
    else:
        for line in lines(document):
            heading(line)
    return 1 if document["notReady"] else 0


def lines(document: Json) -> list[str]:
    """The status in sentences."""
    runtime, counts, policy = document["runtime"], document["counts"], document["policy"]
    found = [
        f"reconciler {document['version']}, up since {document['startedAt']}, "
        f"{'ready' if not document['notReady'] else 'NOT READY'}"
    ]
    found += [f"  not ready: {reason}" for reason in document["notReady"]]
    for fs in document["filesystems"]:
        found += [filesystem_line(fs), f"  high mark {fs['highFrom']}"]
    found += [
        f"{fs['mountpoint']}: not measured, it {fs['why']}" for fs in document.get("unmeasured", ())
    ]
    found.append(_doing(document))
    found.append(
        f"images: {counts['images']}, of which {counts['candidates']} unprotected and "
        f"{counts['kept']} kept; {counted(counts['containers'], 'container')}, "
        f"{counted(counts['sandboxes'], 'sandbox', 'sandboxes')}"
    )
    found += [f"next in line: {name_of(one)}" for one in document["next"][:1]]
    found.append(f"runtime: {runtime['name']} {runtime['version']}, {_events(runtime)}")
    found.append(_pods(document["pods"]))
    found += [f"  missing: {sentence}" for sentence in document["pods"]["missing"]]
    found.append(f"policy: {policy['source']}, mode {document['mode']}")
    found += [f"  refused: {problem}" for problem in policy["problems"]]
    found += [
        f"  required and missing: {one['pattern']} ({one['place']})"
        for one in document["requiredMissing"]
    ]
    return found


def filesystem_line(fs: Json) -> str:
    """One filesystem: how full, and where the marks are."""
    used = used_text(fs["usedPercent"], fs.get("dfPercent") or fs["usedPercent"])
    text = f"{fs['mountpoint']}: {used} of {size_text(fs['capacityBytes'])} used"
    text += f", {fs['pressure']}; high {size_text(fs['highBytes'])}, low "
    text += size_text(fs["lowBytes"])
    inodes = fs["inodesUsedPercent"]
    return text if inodes is None else f"{text}; {inodes:.1f}% of the inodes"


def name_of(image: Json) -> str:
    """The name of an image in a document."""
    return image_name(image["names"], image["id"])


def _doing(document: Json) -> str:
    if document["paused"] is not None:
        return f"PAUSED by the operator since {document['paused']['since']}"
    if document["hold"] is not None:
        hold = document["hold"]
        return f"removes nothing now ({hold['reason']}): {hold['detail']}"
    if document["mode"] == "observe":
        return "observes: it reports what it would remove, and removes nothing"
    if document["pressure"] == "reclaiming":
        return "reclaiming: removing one image at a time until the low mark"
    return "calm: nothing needs to go"


def _pods(pods: Json) -> str:
    if pods["source"] is not None:
        return (
            f"pods: {pods['count']} bound here, reported by {pods['source']} since {pods['since']}"
        )
    kept = f"; {pods['count']} reported before are kept" if pods["count"] else ""
    return f"pods: known from the runtime alone ({pods['trouble'] or 'nobody was asked'}){kept}"


def _events(runtime: Json) -> str:
    listed = runtime["listedAt"] or "never"
    events = "events open" if runtime["events"] == "open" else f"no events ({runtime['events']})"
    return f"{events}, last listed {listed}"
