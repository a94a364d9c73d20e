"""Containers in containerd's Kubernetes namespace that CRI does not list: others made them, as
`nerdctl -n k8s.io run` and `ctr -n k8s.io run` do. containerd's own API lists them at the same
socket (docs/runtimes.md); another runtime, or a proxy that passes only CRI, answers that it has no
such call, and then they are unknown."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from ..domain.inventory import Stranger
from ._pb import containerd_pb2 as pb
from .failures import translated_errors, unreadable
from .rpc import answered

METHOD = "/containerd.services.containers.v1.Containers/List"
NAMESPACE = (("containerd-namespace", "k8s.io"),)
KIND = 'labels."io.cri-containerd.kind"'  # set on CRI's own
REQUEST = pb.ListContainersRequest(filters=[f"{KIND}!=container,{KIND}!=sandbox"])

_UNSUPPORTED = {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED}


class Strangers:
    """Asks for them with every listing, as long as the runtime supports it."""

    def __init__(self, channel: grpc.aio.Channel, path: str) -> None:
        response: Any = pb.ListContainersResponse
        self._list: Any = channel.unary_unary(
            METHOD, pb.ListContainersRequest.SerializeToString, response.FromString
        )
        self._path = path
        self.supported = True

    async def listed(self, deadline: float) -> tuple[Stranger, ...]:
        """All of them. Raises RuntimeUnavailable and RuntimeRefused."""
        if not self.supported:
            return ()
        with translated_errors("Containers.List", self._path):
            try:
                call = self._list(REQUEST, timeout=deadline, metadata=NAMESPACE)
                answer = await answered(call)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _UNSUPPORTED:
                    raise
                self.supported = False
                return ()
        if answer is None:
            raise unreadable("Containers.List", self._path)
        return tuple(Stranger(one.id, one.image) for one in answer.containers)
