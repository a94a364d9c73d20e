"""Pods that are bound to this node, as a pod source reports them: which images they need, before
the runtime has made anything for them.

docs/runtimes.md lists the sources: kubelet's Pods API, kubelet's `/pods`, the API server.
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
    pull_policy: str = ""  # "Always", "IfNotPresent", "Never"; empty: not reported

    @property
    def by(self) -> str:
        """For people: "container app", "init container wait", "image volume models"."""
        return f"{self.kind} {self.name}"

    @property
    def never_pulled(self) -> bool:
        """Whether kubelet uses only an image that is already here."""
        return self.pull_policy == "Never"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod bound to this node. `finished` (phase Succeeded or Failed): no more containers are
    made for it."""

    uid: str
    name: str  # namespace/name
    needs: tuple[Need, ...] = ()
    finished: bool = False
