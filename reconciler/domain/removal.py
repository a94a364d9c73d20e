"""One removal with everything that it was decided on. It is created right before the call and is
part of every fact about the removal, so that nothing about it must be looked up later."""

from __future__ import annotations

from dataclasses import dataclass, field

from .humanize import image_name
from .inventory import Image
from .ledger import ImageRecord
from .watermark import FilesystemState


@dataclass(frozen=True, slots=True)
class Removal:
    """An image that is about to be removed, by full id, and why."""

    image: Image
    names: tuple[str, ...]  # by which the image can be pulled again
    cause: str  # plan.Cause's value
    expected: int  # bytes, as estimated from the listed size
    most: int  # bytes that an image of that size can free at most
    why: str = ""  # in a clause
    explanation: str = ""  # a line with every factor of its score
    record: ImageRecord = field(default_factory=lambda: ImageRecord(0.0))
    listed_at: float | None = None  # when the listing that it was decided on began
    filesystems: tuple[FilesystemState, ...] = ()  # as they were right before the call

    @property
    def short_name(self) -> str:
        """The image's first name, or else a short form of its id."""
        return image_name(self.names, self.image.id)

    @property
    def filesystem(self) -> FilesystemState | None:
        """The filesystem that it is for: the furthest over its low mark."""
        return max(
            self.filesystems, key=lambda fs: (fs.bytes_over_low, fs.used_percent), default=None
        )
