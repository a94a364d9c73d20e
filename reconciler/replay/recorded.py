"""A node's own past as a file: written by `reconciler record`, replayed by `reconciler simulate`.

The daemon keeps which image was started when, never what ran in it. No runtime reports how big
a layer is, so every image counts whole, as if it shared nothing with others.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..domain.inventory import Image
from ..domain.ledger import ImageRecord
from ..domain.ranking.keepscore import UNPACKING
from ..domain.ranking.tag_series import series_of_tag
from ..domain.reference import InvalidReference, parse_reference
from ..store.ledger_log import Log
from .trace import Start, Trace

API_VERSION, KIND = "reconciler/v1", "Record"
WARM = 0.25  # of the time until the last start: what the node had before is not in the record
Json = dict[str, Any]


class RecordInvalid(Exception):
    """A file that is not a record; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a record says of the node itself, if the node could be asked."""

    crio: bool = False
    capacity: int | None = None  # bytes of the image filesystem
    used: int | None = None  # bytes in use on it when the record was made


def document(log: Log, node: Node, now: float, *, anonymize: bool) -> Json:
    """A record of all starts and pulls in the log. When anonymized it has no names, ids and time of
    day; which images are versions of one application is kept."""
    keys = sorted({key for *_, key in log.starts} | {key for _, key in log.pulls})
    number = {key: index for index, key in enumerate(keys)}
    times = [at for at, *_ in log.starts] + [at for at, _ in log.pulls]
    begin = min(times, default=now)
    base = begin if anonymize else 0.0
    mask = _Mask() if anonymize else None
    unknown = ImageRecord(first_seen=begin)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "anonymized": anonymize,
        "from": begin - base,
        "to": now - base,
        "crio": node.crio,
        "capacityBytes": node.capacity,
        "otherBytes": _other(log, node),
        "images": [_image(key, log.images.get(key, unknown), mask) for key in keys],
        "starts": [
            [round(at - base, 1), None if end is None else round(end - base, 1), number[key]]
            for at, end, key in log.starts
        ],
        "pulls": [[round(at - base, 1), number[key]] for at, key in log.pulls],
    }


def _other(log: Log, node: Node) -> int:
    """Bytes on the disk that belong to no image, by the estimated size of its images."""
    if node.used is None:
        return 0
    listed = sum(log.images[key].size for key in log.present)
    return max(0, node.used - int(listed * (1.0 if node.crio else 1.0 + UNPACKING)))


def _image(key: str, record: ImageRecord, mask: _Mask | None) -> Json:
    names = list(record.names)
    if mask is not None:
        key, names = mask.of("image", key), [mask.name(name) for name in names]
    return {"key": key, "names": names, "sizeBytes": record.size}


class _Mask:
    """Replaces every text by another, the same for the same, that does not reveal it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def of(self, kind: str, text: str) -> str:
        if (kind, text) not in self._known:
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
            self._known[kind, text] = f"{count:064x}" if kind == "image" else f"{kind}-{count}"
        return self._known[kind, text]

    def name(self, name: str) -> str:
        """Another name; names share repository or stream exactly where the originals do."""
        try:
            reference = parse_reference(name)
        except InvalidReference:
            return self.of("name", name)
        repository = "registry.invalid/" + self.of("repository", reference.repository)
        if reference.tag is None:
            return f"{repository}@{reference.digest and self._digest(reference.digest)}"
        stream = self.of("stream", f"{reference.repository}:{series_of_tag(reference.tag)}")
        version = self.of("version", f"{reference.repository}:{reference.tag}")
        # x.y.z: the last number is what differs within a stream.
        return f"{repository}:{stream.replace('-', '')}.0.{version.rpartition('-')[2]}"

    def _digest(self, digest: str) -> str:
        return "sha256:" + self.of("image", f"digest {digest}")


def read(path: Path) -> tuple[Trace, Node]:
    """A record's trace and its node. Raises RecordInvalid, OSError."""
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict) or (record.get("apiVersion"), record.get("kind")) != (
            API_VERSION,
            KIND,
        ):
            raise RecordInvalid(f"{path}: expected a record as `reconciler record` writes it")
        return trace_of(record), Node(bool(record["crio"]), record["capacityBytes"])
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise RecordInvalid(f"{path}: this record does not make sense: {error!r}") from error


def trace_of(record: Json) -> Trace:
    """The trace in a record. Raises KeyError, TypeError, ValueError for impossible values."""
    begin, end, crio = float(record["from"]), float(record["to"]), bool(record["crio"])
    if not (math.isfinite(begin) and math.isfinite(end) and begin <= end):
        raise ValueError("it ends before it begins")
    images = [_listed(image) for image in record["images"]]
    starts = []
    for at, ended, number in record["starts"]:
        if not 0 <= int(number) < len(images):
            raise ValueError(f"start of an image that is not in it: {number}")
        lasted = (end if ended is None else float(ended)) - float(at)
        starts.append(Start(float(at) - begin, max(0.0, lasted), int(number)))
    starts.sort(key=lambda one: (one.at, one.lasted, one.image))
    sizes = [float(image.size) for image in images]
    packed = [size / UNPACKING for size in sizes] if crio else sizes
    unpacked = sizes if crio else [size * UNPACKING for size in sizes]
    layers: list[tuple[int, ...]] = [(number,) for number in range(len(images))]
    span = end - begin
    return Trace(
        "record",
        packed,
        unpacked,
        layers,
        images,
        starts,
        warm=WARM * starts[-1].at if starts else 0.0,
        end=span,
        lingers=0.0,
        crio=crio,
        other=max(0.0, float(record["otherBytes"])),
    )


def _listed(image: Json) -> Image:
    """An image as the runtime listed it. Layers in records of earlier versions are ignored."""
    tags = tuple(str(name) for name in image["names"] if "@" not in name)
    digests = tuple(str(name) for name in image["names"] if "@" in name)
    return Image(f"sha256:{image['key']}", tags, digests, int(image["sizeBytes"]))
