"""The runtime's end of the model: it answers from a simulated node and misbehaves as asked to."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.calls import Calls
from reconciler.fake_runtime.node import Node
from reconciler.fake_runtime.server import _snake

from .oracle import Oracle
from .stream import Streams, blank
from .twice import in_two_entries

RUNTIME, IMAGES = "/c", "/i"  # the sockets of the two services, where they are two
LISTS = {"ListImages": "images", "ListContainers": "containers", "ListPodSandbox": "items"}


@dataclass
class Fault:
    """One way to misbehave, for the next `times` calls of a method (streamed lists go by the name
    of the unary one). `code`: answer that error, before or after having done what was asked.
    `late`: seconds until it is done; `slow`: seconds from then to the answer. `wrong`: for a list,
    "empty", "partial" or "stale"; for RemoveImage, "nothing"."""

    code: str = ""
    done: bool = False
    late: float = 0.0
    slow: float = 0.0
    wrong: str = ""
    times: int = 1


class Service:
    """The runtime; its own clock is the `wall`, the other one is the daemon's. `during` are
    surprises: things that happen while a call of that name is under way, "before" it is answered
    or "after"."""

    def __init__(
        self,
        node: Node,
        oracle: Oracle,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], float],
    ) -> None:
        self.node, self.oracle, self.clock, self.loop = node, oracle, clock, loop
        self.calls = Calls(node, wall)
        self.streams = Streams(node, wall, loop)
        self.faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self.during: defaultdict[tuple[str, str], list[Callable[[], None]]] = defaultdict(list)
        self.twice: dict[str, bool] = {}  # images that are listed in two entries (twice.py)
        self.down = False  # no socket, or nothing listens on it
        self.away: set[str] = set()  # of two sockets, those that are down
        self.lags: dict[str, float] = {}  # seconds that every answer of a socket takes
        self.image_socket = RUNTIME  # where images are to be asked for
        self.freed = 0  # bytes, by the last removal that was carried out
        self._stale: dict[str, Any] = {}  # list -> an earlier answer

    def unreachable(self, socket: str) -> bool:
        return self.down or socket in self.away

    def surprise(self, name: str, when: str) -> None:
        """Lets the next prepared surprise happen."""
        waiting = self.during.get((name, when))
        if waiting:
            waiting.pop(0)()

    def fault(self, name: str) -> Fault:
        """The next fault of a method; an empty one if there is none."""
        waiting = self.faults.get(name)
        if not waiting:
            return Fault()
        waiting[0].times -= 1
        return waiting.pop(0) if waiting[0].times <= 0 else waiting[0]

    def answer(self, name: str, request: Any, fault: Fault) -> Any:
        """What the runtime does and says. Raises Refused."""
        if name == "RemoveImage":
            self.oracle.arrived(request.image.image)
            self.freed = 0
            if fault.wrong == "nothing":
                return pb.RemoveImageResponse()
        used = self.node.used()
        answer = getattr(self.calls, _snake(name))(request)
        if name == "RemoveImage":
            self.freed = used - self.node.used()
        return self._falsified(name, answer, fault.wrong) if name in LISTS else answer

    def _falsified(self, name: str, answer: Any, wrong: str) -> Any:
        """A list, falsified as a fault says; the true one is kept to be the next stale one."""
        true, field = answer, LISTS[name]
        if name == "ListContainers":
            for one in answer.containers:
                if one.id in self.streams.unresolved:
                    blank(one)
        elif name == "ListImages" and self.twice:
            in_two_entries(answer.images, self.twice)
        if wrong == "empty":
            answer = type(answer)()
        elif wrong == "partial" and len(getattr(answer, field)) > 1:
            answer = type(answer)(**{field: list(getattr(answer, field))[::2]})
        elif wrong == "stale":
            answer = self._stale.get(name, answer)
        self._stale[name] = true
        return answer
