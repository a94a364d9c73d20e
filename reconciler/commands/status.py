"""`reconciler status`: what the daemon of this node does right now, in a few lines."""

from __future__ import annotations

import sys

from ..domain.humanize import counted, image_name, size_text
from ..report import Json, to_text, used_text
from ..settings import Settings
from .daemon import NoDaemon, ask_daemon
from .tables import heading


def status(settings: Settings, output: str) -> int:
    """Prints the daemon's status; 1 when none answers, or when it is not ready."""
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
    told = [
        f"reconciler {document['version']}, up since {document['startedAt']}, "
        f"{'ready' if not document['notReady'] else 'NOT READY'}"
    ]
    told += [f"  not ready: {reason}" for reason in document["notReady"]]
    for fs in document["filesystems"]:
        told += [filesystem_line(fs), f"  high mark {fs['highFrom']}"]
    told += [
        f"{fs['mountpoint']}: not measured, it {fs['why']}" for fs in document.get("unmeasured", ())
    ]
    told.append(_doing(document))
    told.append(
        f"images: {counts['images']}, of which {counts['candidates']} unprotected and "
        f"{counts['kept']} kept; {counted(counts['containers'], 'container')}, "
        f"{counted(counts['sandboxes'], 'sandbox', 'sandboxes')}"
    )
    told += [f"next in line: {name_of(one)}" for one in document["next"][:1]]
    told.append(f"runtime: {runtime['name']} {runtime['version']}, {_events(runtime)}")
    told.append(_pods(document["pods"]))
    told += [f"  missing: {sentence}" for sentence in document["pods"]["missing"]]
    told.append(f"policy: {policy['source']}, mode {document['mode']}")
    told += [f"  refused: {problem}" for problem in policy["problems"]]
    told += [
        f"  required and missing: {one['pattern']} ({one['place']})"
        for one in document["requiredMissing"]
    ]
    return told


def filesystem_line(fs: Json) -> str:
    """One filesystem: how full, and where the marks are."""
    used = used_text(fs["usedPercent"], fs.get("dfPercent") or fs["usedPercent"])
    text = f"{fs['mountpoint']}: {used} of {size_text(fs['capacityBytes'])} used"
    text += f", {fs['pressure']}; high {size_text(fs['highBytes'])}, low "
    text += size_text(fs["lowBytes"])
    inodes = fs["inodesUsedPercent"]
    return text if inodes is None else f"{text}; {inodes:.1f}% of the inodes"


def name_of(image: Json) -> str:
    """What to call an image of a document."""
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
        return f"pods: {pods['count']} bound here, told by {pods['source']} since {pods['since']}"
    kept = f"; {pods['count']} told before are kept" if pods["count"] else ""
    return f"pods: known from the runtime alone ({pods['trouble'] or 'nobody was asked'}){kept}"


def _events(runtime: Json) -> str:
    listed = runtime["listedAt"] or "never"
    events = "events open" if runtime["events"] == "open" else f"no events ({runtime['events']})"
    return f"{events}, last listed {listed}"
