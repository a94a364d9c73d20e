"""The pods bound to this node that a source of pods told of, and what they need.

- A source may fail, and its silence never means that there are no pods: what it told of is kept
  for `KEPT_FOR` seconds after the first word that it is lost.
- What it tells again, twice or in another order changes nothing.
- A complete list replaces all that was told; a word on one pod changes that one alone.
- A pod that is finished needs nothing any more.
- Removal waits for a source's first word until a moment after the start, and no longer.

What a pod's text means is the state's to say (`State.images_meant`), which pods have begun, the
decision's context.
"""

from __future__ import annotations

from collections.abc import Iterator

from .pods import Need, Pod

SOURCES = ("socket", "kubelet", "api")
KEPT_FOR = 600.0  # seconds that pods are kept after their source was lost
WAITED_FOR = 5.0  # seconds that removal waits for a source that has not told anything yet


class Awaited:
    """Pods by uid, and who tells of them."""

    def __init__(self, waited_until: float = 0.0) -> None:
        self.pods: dict[str, Pod] = {}
        self.source: str | None = None  # who tells now; None: nobody
        self.since: float | None = None  # since when it does
        self.trouble: str | None = None  # why nobody does
        self._lost_at: float | None = None
        self._waited_until = waited_until

    def replace_all(self, source: str, pods: tuple[Pod, ...], at: float) -> None:
        """A complete list: who is not in it is gone."""
        self.pods = {pod.uid: pod for pod in pods}
        if self.source != source:
            self.source, self.since = source, at
        self.trouble = self._lost_at = None

    def update(self, pod: Pod) -> None:
        """One pod, new or changed."""
        self.pods[pod.uid] = pod

    def forget(self, uid: str) -> None:
        """A pod that is gone."""
        self.pods.pop(uid, None)

    def lose(self, reason: str, at: float) -> None:
        """No source tells of pods now."""
        self.source = self.since = None
        self.trouble = reason
        if self._lost_at is None:
            self._lost_at = at

    def waits(self, now: float) -> float:
        """Seconds that removal still waits for a source to tell anything at all."""
        if self.source is not None or self.trouble is not None:
            return 0.0
        return max(0.0, self._waited_until - now)

    def starting(self, now: float) -> Iterator[Pod]:
        """The pods for which containers may still be made."""
        if self._expired(now):
            return iter(())
        return (pod for pod in self.pods.values() if not pod.finished)

    def knows(self, uid: str, now: float) -> bool:
        """Whether all that a pod needs is known."""
        return bool(uid) and uid in self.pods and not self._expired(now)

    def _expired(self, now: float) -> bool:
        """Whether nobody has told for so long that what was told counts no more."""
        return self._lost_at is not None and now - self._lost_at >= KEPT_FOR

    def needs(self, now: float) -> Iterator[tuple[Pod, Need]]:
        """Every image that a container or volume may still be made from."""
        for pod in self.starting(now):
            for need in pod.needs:
                yield pod, need
