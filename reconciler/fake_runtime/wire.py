"""The workload half of CRI on the wire: each method of `workload.proto` under its CRI path, for a
driver that makes pods and for a server that answers whole messages."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor

from ._pb import workload_pb2 as pb

LIMIT = 256 << 20  # bytes of one message, both ways
OPTIONS = (
    ("grpc.max_receive_message_length", LIMIT),
    ("grpc.max_send_message_length", LIMIT),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)


def methods() -> dict[str, MethodDescriptor]:
    """All methods by name; no two services share one."""
    services = pb.DESCRIPTOR.services_by_name.values()
    return {method.name: method for service in services for method in service.methods}


def path_of(method: MethodDescriptor) -> str:
    """Where a method is found: /runtime.v1.ImageService/ListImages."""
    return f"/runtime.v1.{method.containing_service.name}/{method.name}"


class Driver:
    """A blocking client that does what kubelet does: `driver.call("PullImage", image=...)`."""

    def __init__(self, socket_path: str) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket_path}", options=OPTIONS)
        self._methods = methods()

    def call(self, name: str, deadline: float = 60.0, **fields: Any) -> Any:
        """One unary call; `deadline` in seconds. Raises grpc.RpcError."""
        method = self._methods[name]
        request, response = (
            getattr(pb, method.input_type.name),
            getattr(pb, method.output_type.name),
        )
        invoke = self._channel.unary_unary(
            path_of(method), request.SerializeToString, response.FromString
        )
        return invoke(request(**fields), timeout=deadline)

    def close(self) -> None:
        self._channel.close()
