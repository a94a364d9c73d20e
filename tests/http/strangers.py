"""Unwanted clients, in a process of their own: idle ones connect and send nothing, slow ones send a
byte now and then, greedy ones send the next request as soon as they are answered. A client that is
disconnected comes back. They leave when the block ends."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from tests.builders import HANGS

AGAIN = 0.05  # seconds until a disconnected client comes back
DRIP = 0.2  # seconds between the bytes of a slow client
IMAGES = "/api/v1/images"

Visit = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Strangers:
    """Clients of each kind, from `with` to its end; `answered` counts the answers that the greedy
    ones got, by status."""

    def __init__(
        self, port: int, idle: int = 0, slow: int = 0, greedy: int = 0, path: str = IMAGES
    ) -> None:
        kinds = [f"--idle={idle}", f"--slow={slow}", f"--greedy={greedy}"]
        self._command = [sys.executable, "-m", __name__, str(port), *kinds, "--path", path]
        self.answered: dict[str, int] = {}

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            printed, _ = self._process.communicate(timeout=HANGS)
            self.answered = json.loads(printed)
        finally:
            self._process.kill()


async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in f"GET {IMAGES} HTTP/1.1\r\nHost: localhost\r\nX-Slow: {'x' * 10_000}".encode():
        writer.write(bytes([byte]))
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRIP):
                if not await reader.read(1):
                    return


def greedy(path: str, answered: dict[str, int]) -> Visit:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].split("\r\n")[0])
            await reader.readexactly(length)
            code = head.split()[1]
            answered[code] = answered.get(code, 0) + 1

    return visit


async def come_and_go(port: int, visit: Visit) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await visit(reader, writer)
            finally:
                writer.transport.abort()
        await asyncio.sleep(AGAIN)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    for kind in ("idle", "slow", "greedy"):
        parser.add_argument(f"--{kind}", type=int, default=0)
    parser.add_argument("--path", default=IMAGES)
    wanted = parser.parse_args()
    answered: dict[str, int] = {}
    kinds: list[tuple[Visit, int]] = [
        (idle, wanted.idle),
        (slow, wanted.slow),
        (greedy(wanted.path, answered), wanted.greedy),
    ]
    tasks = [
        asyncio.create_task(come_and_go(wanted.port, visit))
        for visit, count in kinds
        for _ in range(count)
    ]
    print("there", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(answered))


if __name__ == "__main__":
    asyncio.run(main())
