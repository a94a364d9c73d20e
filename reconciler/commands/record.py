"""`reconciler record --out FILE`: this node's starts and pulls, for `reconciler simulate`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from ..domain.humanize import counted
from ..domain.runtime import RuntimeFailure
from ..replay.recorded import Node, document
from ..settings import Settings
from ..sources.usage_probe import measure
from ..store.database import CannotRead
from ..store.ledger import Ledger
from .survey import connect


async def record(settings: Settings, out: Path, *, anonymize: bool) -> int:
    """Writes the file; returns 1 if there is nothing to write or it cannot be written. The runtime
    is asked for the disk; without an answer the record has none."""
    try:
        log = Ledger.read_log(settings.state_dir)
    except CannotRead as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 1
    if log is None or not log.starts:
        text = (
            f"no starts are recorded in {settings.state_dir}; the daemon keeps them while it runs"
        )
        print(f"error: {text}", file=sys.stderr)
        return 1
    recorded = document(log, await node_of(settings), time.time(), anonymize=anonymize)
    text = json.dumps(recorded, separators=(",", ":"))
    try:
        fresh = out.parent / f".{out.name}.new"  # also for `/`, which fails as not a file
        with fresh.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(out)
    except OSError as error:
        print(f"error: {out} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    days = (recorded["to"] - recorded["from"]) / 86400
    starts, images = len(recorded["starts"]), len(recorded["images"])
    what = f"{counted(starts, 'start')} of {counted(images, 'image')} in {days:.1f} days"
    print(f"{out}: {what}" + (", without names" if anonymize else ""))
    return 0


async def node_of(settings: Settings) -> Node:
    """What is known of the disk and the runtime right now, which may be nothing."""
    try:
        async with connect(settings) as client:
            version = await client.version()
            mountpoints = await client.image_mountpoints()
    except (RuntimeFailure, ValueError):
        return Node()
    try:
        usage = measure(mountpoints[0])
    except (IndexError, OSError):
        return Node(version.sizes_are_unpacked)
    return Node(version.sizes_are_unpacked, usage.capacity, usage.used)
