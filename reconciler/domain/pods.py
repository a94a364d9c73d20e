"""Pods that are bound to this node, as somebody beside the runtime tells of them: which images they
need, before the runtime has made anything of them.

Who can tell is in docs/runtimes.md: kubelet's Pods API, kubelet's `/pods`, the API server.
"""

from __future__ import annotations

from dataclasses import dataclass

INIT, MAIN, EPHEMERAL = "init container", "container", "ephemeral container"
VOLUME = "image volume"


@dataclass(frozen=True, slots=True)
class Need:
    """One image that one container or image volume of a pod is made from."""

    image: str  # as the pod's spec has it
    kind: str  # MAIN, INIT, EPHEMERAL or VOLUME
    name: str  # of the container or volume
    pull_policy: str = ""  # "Always", "IfNotPresent", "Never"; empty: not told

    @property
    def by(self) -> str:
        """For people: "container app", "init container wait", "image volume models"."""
        return f"{self.kind} {self.name}"

    @property
    def never_pulled(self) -> bool:
        """Whether kubelet starts it only from an image that is here."""
        return self.pull_policy == "Never"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod bound to this node. `finished` (phase Succeeded or Failed): nothing is made for it
    any more."""

    uid: str
    name: str  # namespace/name
    needs: tuple[Need, ...] = ()
    finished: bool = False
