"""A unix socket in front of a runtime's, in a process of its own, that notes when a RemoveImage
passes on its way to the runtime.

The bytes are passed on before anything is noted. A RemoveImage is recognized by its message: an
image's id and nothing else.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

SIGN = b"\0\0\0\0\x4b\x0a\x49\x0a\x47sha256:"  # gRPC's length, and the lengths of what is nested
CHUNK = 1 << 18  # bytes read at once


def relay(listen_at: str, runtime: str) -> None:
    """Passes bytes on, both ways, until it is ended."""
    watching = selectors.DefaultSelector()
    front = socket.socket(socket.AF_UNIX)
    front.bind(listen_at)
    front.listen(16)
    watching.register(front, selectors.EVENT_READ)
    other: dict[socket.socket, socket.socket] = {}
    clients: set[socket.socket] = set()
    print(flush=True)
    while True:
        for key, _ in watching.select():
            if key.fileobj is front:
                client, _ = front.accept()
                behind = socket.socket(socket.AF_UNIX)
                behind.connect(runtime)
                other[client], other[behind] = behind, client
                clients.add(client)
                watching.register(client, selectors.EVENT_READ)
                watching.register(behind, selectors.EVENT_READ)
                continue
            one = key.fileobj
            assert isinstance(one, socket.socket)
            if one not in other:
                continue
            data = one.recv(CHUNK)
            if not data:
                for end in (one, other.pop(one)):
                    watching.unregister(end)
                    other.pop(end, None)
                    end.close()
                continue
            other[one].sendall(data)
            if one in clients and SIGN in data:
                print(json.dumps(time.monotonic()), flush=True)


class Wire:
    """The relay as a child; `removal` waits for the next RemoveImage that passes."""

    def __init__(self, home: Path, runtime: Path) -> None:
        self.socket = home / "w.sock"
        self._command = [sys.executable, "-m", "tests.bench.wire", str(self.socket), str(runtime)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def removal(self, seconds: float) -> float:
        """When the next RemoveImage passed, by the monotonic clock. Raises TimeoutError."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            if not waiting.select(seconds):
                raise TimeoutError(f"no RemoveImage within {seconds} s")
        return float(json.loads(self._process.stdout.readline()))


if __name__ == "__main__":
    relay(*sys.argv[1:])
