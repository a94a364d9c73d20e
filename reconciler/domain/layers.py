"""What part of its size is an image's own: layers that others hold too are shared out.

CRI tells which layers an image has (ImageStatus, `diff_ids`), never how big they are
(docs/runtimes.md). So an image's size is taken to be spread evenly over its layers, and each layer
counts for its part of the images that hold it here: the fair share. That is a guess, so an image
counts for the mean of its fair share and its whole size, which did better than either alone
(docs/eviction.md). An image whose layers are not known counts whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class FairShares:
    """The images on the node by their layers; a share is reckoned anew only where it changed."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[str, ...]] = {}
        self._holders: Counter[str] = Counter()
        self._shares: dict[str, float] = {}
        self._shared: dict[str, set[str]] = {}  # layer -> keys of the images that hold it

    def put(self, key: str, layers: Iterable[str]) -> None:
        """An image is here, with these layers (none: not known)."""
        self.drop(key)
        held = tuple(dict.fromkeys(layers))
        if not held:
            return
        self._layers[key] = held
        for layer in held:
            self._shared.setdefault(layer, set()).add(key)
            self._holders[layer] += 1
        self._forget(held)

    def drop(self, key: str) -> None:
        """An image is gone."""
        held = self._layers.pop(key, ())
        self._forget(held)
        self._shares.pop(key, None)
        for layer in held:
            self._shared[layer].discard(key)
            self._holders[layer] -= 1
            if not self._holders[layer]:
                del self._holders[layer], self._shared[layer]

    def share(self, key: str) -> float:
        """The part of its size that counts as an image's own: more than 1/2, at most 1."""
        known = self._shares.get(key)
        if known is not None:
            return known
        held = self._layers.get(key)
        if not held:
            return 1.0
        holders = self._holders
        fair = sum(1.0 / holders[layer] for layer in held) / len(held)
        share = self._shares[key] = (1.0 + fair) / 2.0
        return share

    def neighbours(self, key: str) -> set[str]:
        """Keys of the images whose share depends on this one."""
        return {other for layer in self._layers.get(key, ()) for other in self._shared[layer]}

    def _forget(self, layers: Iterable[str]) -> None:
        for layer in layers:
            for key in self._shared.get(layer, ()):
                self._shares.pop(key, None)
