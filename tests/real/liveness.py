"""The part of kubelet and of systemd: checks whether the daemon lives, with the periods of the
files in config/, and kills and restarts it when it does not."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.config.test_shipped_files import pod, unit

from .daemon import Daemon


class Warden(threading.Thread):
    """Watches a running daemon from `with` to its end; `killed_after` is None until it killed,
    then the seconds since the start. Restarts once, and stops watching after that."""

    def __init__(self, watched: Daemon) -> None:
        super().__init__(daemon=True)
        self.watched = watched
        self.killed_after: float | None = None
        self._began = time.monotonic()
        self._over = threading.Event()

    def wait_for_a_freeze(self) -> bool:
        """Returns True when the daemon is to be killed, False when `end` was called."""
        raise NotImplementedError

    def run(self) -> None:
        if self.wait_for_a_freeze():
            self.watched.kill()
            self.killed_after = time.monotonic() - self._began
            self.watched.start()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Stops watching; waits for a restart that has begun."""
        self._over.set()
        self.join(60)


class Kubelet(Warden):
    """The shipped DaemonSet's liveness probe: `failureThreshold` failures in a row, then SIGTERM,
    and SIGKILL after the probe's own grace period. (kubelet sends both through the runtime;
    another story shows that containerd still stops containers while it creates none.)"""

    def __init__(self, watched: Daemon) -> None:
        super().__init__(watched)
        self._probe = pod()["containers"][0]["livenessProbe"]

    def wait_for_a_freeze(self) -> bool:
        failures, due = 0, time.monotonic()
        while failures < self._probe["failureThreshold"]:
            due += self._probe["periodSeconds"]  # a ticker: how long a probe took does not count
            if self._over.wait(due - time.monotonic()):
                return False
            status, _ = self.watched.get("/healthz", self._probe["timeoutSeconds"])
            failures = 0 if 200 <= status < 400 else failures + 1
        self.watched.send(signal.SIGTERM)  # a frozen process does not handle it
        return not self._over.wait(self._probe["terminationGracePeriodSeconds"])


class Systemd(Warden):
    """The shipped unit's watchdog: SIGKILL when $NOTIFY_SOCKET was silent for WatchdogSec."""

    def __init__(self, watched: Daemon, folder: Path) -> None:
        super().__init__(watched)
        self._patience = float(unit()["WatchdogSec"])
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(0.2)
        watched.environment["NOTIFY_SOCKET"] = str(folder / "notify")

    def end(self) -> None:
        super().end()
        self._socket.close()

    def wait_for_a_freeze(self) -> bool:
        alive_at = time.monotonic()
        while time.monotonic() - alive_at < self._patience:
            if self._over.is_set():
                return False
            with contextlib.suppress(TimeoutError):
                if b"WATCHDOG=1" in self._socket.recv(4096):
                    alive_at = time.monotonic()
        return True
