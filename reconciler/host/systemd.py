"""Notifies systemd, where it started us (Type=notify): ready, alive, stopping.

The protocol is one datagram of `NAME=value` lines to the socket in $NOTIFY_SOCKET (sd_notify(3)).
Alive is sent from the same beat that /healthz looks at: while the event loop is stuck nothing is
sent, and WatchdogSec in the unit file has the process killed and started again. That matters
more than it seems: a subscriber that is frozen freezes containerd 2.x for every client
(docs/runtimes.md).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Notifies systemd, if it is there; a socket that is gone is no reason to stop."""

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._ready = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        return cls(environ.get("NOTIFY_SOCKET"))

    def ready(self) -> None:
        """The daemon watches this node. Sent once, however often it is called."""
        if not self._ready:
            self._ready = True
            self._send("READY=1")

    def alive(self) -> None:
        """The event loop turned; due more often than the unit's WatchdogSec."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The daemon stops; a removal in flight may still take minutes (TimeoutStopSec)."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as out:
            out.sendto(text.encode(), self._address)
