"""What systemd hears, on a real datagram socket."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from reconciler import app
from reconciler.host.systemd import Notifier
from reconciler.http.health import Pulse


class Ear:
    """systemd's side of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address)

    def heard(self) -> list[str]:
        """Everything that was sent since the last call."""
        said = []
        while True:
            try:
                said.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    made = Ear(str(tmp_path / "notify"))
    yield made
    made.close()


def test_a_start_is_told_once_and_every_beat(ear: Ear, tmp_path: Path) -> None:
    """READY once, WATCHDOG each time, STOPPING at the end: in the words of sd_notify."""
    notifier = Notifier(str(tmp_path / "notify"))
    notifier.ready()
    notifier.ready()
    notifier.alive()
    notifier.alive()
    notifier.stopping()
    assert ear.heard() == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_an_abstract_socket_is_understood() -> None:
    """systemd may give an address that starts with @: a name in the abstract namespace."""
    name = f"reconciler-{uuid.uuid4().hex}"
    ear = Ear(f"\0{name}")
    Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}"}).ready()
    assert ear.heard() == ["READY=1"]
    ear.close()


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    """No variable, an empty one, or a socket that is gone: the daemon goes on all the same."""
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        notifier = Notifier.from_environment(environ)
        notifier.ready()
        notifier.alive()


async def test_a_loop_that_stands_still_is_silent(ear: Ear, tmp_path: Path) -> None:
    """The beat is on the event loop: while something holds the loop, systemd hears nothing."""
    notifier = Notifier(str(tmp_path / "notify"))
    async with anyio.create_task_group() as group:
        group.start_soon(app.beat, Pulse(lambda: 0.0), notifier)
        await anyio.wait_all_tasks_blocked()
        assert ear.heard() == ["READY=1", "WATCHDOG=1"]
        turns = [ear.heard() for _ in range(1000)]  # the loop does not turn here
        assert not any(turns)
        group.cancel_scope.cancel()
