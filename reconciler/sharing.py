"""Equal texts as one object: a node has thousands of containers and few images.

Not `sys.intern`: what is interned there stays for good on Python 3.12, which came to 122 MiB in
500,000 pods (our measurement).
"""

from __future__ import annotations

MOST = 20_000  # texts: those of some 5,000 images with a tag and a digest each


class Shared:
    """The texts seen lately. Full, it forgets them all: what is listed again is taken in again,
    and what is gone is gone."""

    def __init__(self, most: int = MOST) -> None:
        self._texts: dict[str, str] = {}
        self._most = most

    def __call__(self, text: str) -> str:
        """The same text, as the object that others have who asked before."""
        if len(self._texts) >= self._most and text not in self._texts:
            self._texts.clear()
        return self._texts.setdefault(text, text)

    def __len__(self) -> int:
        return len(self._texts)


shared = Shared()  # one for all: what a pod asks for is what an image is called
