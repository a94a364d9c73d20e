"""Another subscriber to a runtime's container events, next to the daemon: reads and records all."""

from __future__ import annotations

import contextlib
import functools
import threading
from types import TracebackType
from typing import Any, Self

import grpc

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.wire import OPTIONS, methods, path_of
from tests.workload import Workload

from .images import until


class Subscriber:
    """Subscribed from `with` to its end; `received` are (container or sandbox id, kind)."""

    def __init__(self, socket_path: str) -> None:
        self.received: list[tuple[str, int]] = []
        self.unsupported = False
        self._channel = grpc.insecure_channel(f"unix:{socket_path}", options=OPTIONS)
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._version()
        self._call = self._invoke("GetContainerEvents", self._channel.unary_stream)(
            pb.GetEventsRequest()
        )
        self._reader.start()
        for _ in range(3):  # nothing confirms a subscription; calls made after it nearly do
            self._version()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call.cancel()
        self._reader.join(10)
        self._channel.close()

    def begin_to_receive(self, workload: Workload) -> None:
        """Reads past what was left from before: on 1.7 events wait for the next subscriber, and one
        or two go to those that have left. Pods come and go until one has sent all its events."""

        def whole(pod: str) -> bool:
            return self.unsupported or [one for one, _ in list(self.received)].count(pod) == 4

        for _ in range(10):
            pod = workload.run_pod()
            workload.remove_pod(pod)
            with contextlib.suppress(AssertionError):
                until(functools.partial(whole, pod), 2, "events are missing")
                return
        raise AssertionError("ten pods came and went, and of none were all events received")

    def _read(self) -> None:
        try:
            for event in self._call:
                self.received.append((event.container_id, event.container_event_type))
        except grpc.RpcError as error:
            self.unsupported = error.code() is grpc.StatusCode.UNIMPLEMENTED

    def _version(self) -> None:
        self._invoke("Version", self._channel.unary_unary)(pb.VersionRequest(), timeout=10)

    def _invoke(self, name: str, kind: Any) -> Any:
        method = methods()[name]
        response = getattr(pb, method.output_type.name)
        request = getattr(pb, method.input_type.name)
        return kind(path_of(method), request.SerializeToString, response.FromString)
