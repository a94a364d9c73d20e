"""The pods bound to this node that a pod source reported, and the images that they need.

- A source may fail, and its silence never means that there are no pods: what it reported is kept
  for `KEPT_FOR` seconds after it was first known to be lost.
- Reports that are repeated or arrive in another order change nothing.
- A complete list replaces all earlier reports; a report on one pod changes that one alone.
- A pod that is finished needs nothing any more.
- Removal waits for a source's first report until a moment after the start, and no longer.

`State.images_meant` says what a pod's text means, `Context.has_begun` which pods have begun.
"""

from __future__ import annotations

from collections.abc import Iterator

from .pods import Need, Pod

SOURCES = ("socket", "kubelet", "api")
KEPT_FOR = 600.0  # seconds that pods are kept after their source was lost
WAITED_FOR = 5.0  # seconds that removal waits for a source that has reported nothing yet


class Awaited:
    """Pods by uid, and the pod source that reports them."""

    def __init__(self, waited_until: float = 0.0) -> None:
        self.pods: dict[str, Pod] = {}
        self.source: str | None = None  # that reports now; None: none does
        self.since: float | None = None  # since when it does
        self.trouble: str | None = None  # why none does
        self._lost_at: float | None = None
        self._waited_until = waited_until

    def replace_all(self, source: str, pods: tuple[Pod, ...], at: float) -> None:
        """Takes a complete list: pods not in it are gone."""
        self.pods = {pod.uid: pod for pod in pods}
        if self.source != source:
            self.source, self.since = source, at
        self.trouble = self._lost_at = None

    def update(self, pod: Pod) -> None:
        """Takes one pod, new or changed."""
        self.pods[pod.uid] = pod

    def forget(self, uid: str) -> None:
        """Removes a pod that is gone."""
        self.pods.pop(uid, None)

    def lose(self, reason: str, at: float) -> None:
        """No source reports pods now."""
        self.source = self.since = None
        self.trouble = reason
        if self._lost_at is None:
            self._lost_at = at

    def waits(self, now: float) -> float:
        """Returns the seconds that removal still waits for the first report of a source."""
        if self.source is not None or self.trouble is not None:
            return 0.0
        return max(0.0, self._waited_until - now)

    def starting(self, now: float) -> Iterator[Pod]:
        """Yields the pods for which containers may still be made."""
        if self._expired(now):
            return iter(())
        return (pod for pod in self.pods.values() if not pod.finished)

    def knows(self, uid: str, now: float) -> bool:
        """Whether all images that a pod needs are known."""
        return bool(uid) and uid in self.pods and not self._expired(now)

    def _expired(self, now: float) -> bool:
        """Whether no source has reported for so long that earlier reports no longer count."""
        return self._lost_at is not None and now - self._lost_at >= KEPT_FOR

    def needs(self, now: float) -> Iterator[tuple[Pod, Need]]:
        """Yields every image that a container or volume may still be made from."""
        for pod in self.starting(now):
            for need in pod.needs:
                yield pod, need
