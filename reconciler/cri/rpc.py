"""A channel to a runtime's socket and the methods we call on it, by their paths on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import anyio.lowlevel
import grpc.aio

from ._pb import runtime_pb2 as pb
from ._pb.lists_pb2 import Items
from .failures import translated_errors, unreadable

MESSAGE_LIMIT = 80 << 20  # bytes; CRI-O's own limit, containerd's is 16 MiB (docs/runtimes.md)

# No keepalive: neither runtime sets a policy for it, so grpc-go's default of one ping in 5 minutes
# applies and a busier client is disconnected (GOAWAY too_many_pings, our measurement). A unix
# socket reports a dead peer by itself. The reconnect backoff is short, since grpc's own grows to
# 120 s; its "minimum" is how long one attempt may take, and a busy runtime is slow at the
# handshake.
OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(path: str) -> grpc.aio.Channel:
    """A channel to a unix socket; nothing is connected before the first call."""
    return grpc.aio.insecure_channel(f"unix:{path}", options=OPTIONS)


class Methods:
    """The methods of one service of `runtime.v1`, by name, made from its descriptor. Lists are
    answered by `Items`, whose items are still encoded."""

    def __init__(self, channel: grpc.aio.Channel, service: str) -> None:
        self._calls: dict[str, Any] = {}
        for method in pb.DESCRIPTOR.services_by_name[service].methods:
            make = channel.unary_stream if method.server_streaming else channel.unary_unary
            request = getattr(pb, method.input_type.name)
            lists = method.name.startswith(("List", "Stream"))
            response = Items if lists else getattr(pb, method.output_type.name)
            path = f"/{method.containing_service.full_name}/{method.name}"
            self._calls[method.name] = make(path, request.SerializeToString, response.FromString)

    def __getitem__(self, name: str) -> Any:
        return self._calls[name]


async def answered(call: Awaitable[Any]) -> Any:
    """Waits for a unary call. When cancelled, grpc raises a CancelledError of its own, which a
    cancel scope of anyio does not recognise; a checkpoint raises the scope's."""
    try:
        return await call
    except asyncio.CancelledError:
        await anyio.lowlevel.checkpoint()
        raise


async def asked(methods: Methods, path: str, method: str, request: Any, deadline: float) -> Any:
    """Makes one unary call and returns its answer; `path` is the socket, for people. Raises
    RuntimeUnavailable and RuntimeRefused."""
    with translated_errors(method, path):
        answer = await answered(methods[method](request, timeout=deadline))
    if answer is None:
        raise unreadable(method, path)
    return answer
