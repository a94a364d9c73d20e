"""`reconciler run` as a process next to a real containerd, with its log lines as values."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reconciler.store import history, ledger_file
from reconciler.store.ledger import FILE

from .images import until

POLICY = """apiVersion: reconciler/v1
kind: ImagePolicy
mode: {mode}
watermarks:
  high: {high}
  low: {low}
  inodes: {{high: {inodes_high}, low: {inodes_low}}}
minimumAge: {minimum_age}
minimumSize: {minimum_size}
exclusions: {exclusions}
{more}
"""


class Daemon:
    """The daemon with a policy and a state directory of its own in `folder`."""

    def __init__(self, endpoint: str, folder: Path, *run_flags: str) -> None:
        self._endpoint, self._folder = endpoint, folder
        self.run_flags = list(run_flags)  # of `run` alone, over the ones that every story wants
        folder.mkdir(parents=True, exist_ok=True)
        self.environment: dict[str, str] = {}
        self.policy = folder / "policy.yaml"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def write_policy(
        self,
        high: str,
        low: str,
        exclusions: list[str] | None = None,
        minimum_age: str = "0s",
        minimum_size: str = "1Mi",
        mode: str = "enforce",
        inodes: tuple[str, str] = ("99%", "98%"),
        more: str = "",
        path: Path | None = None,
    ) -> Path:
        """Saves the policy as an editor does: another file, renamed over it. `more` are further
        lines of it; `path`: another file than the one the daemon reads."""
        rules = [{"images": [pattern], "reason": "the story's"} for pattern in exclusions or []]
        text = POLICY.format(
            mode=mode,
            high=high,
            low=low,
            inodes_high=inodes[0],
            inodes_low=inodes[1],
            minimum_age=minimum_age,
            minimum_size=minimum_size,
            exclusions=json.dumps(rules),
            more=more,
        )
        place = path or self.policy
        fresh = place.with_suffix(".new")
        fresh.write_text(text)
        return fresh.replace(place)

    def command(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Any other command of ours on the same node; `timeout` in seconds."""
        return subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments, *self._flags()],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.stop()

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process that was started has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and waits until it has listed the runtime."""
        listed = len(self.lines("runtime"))
        with self._log.open("ab") as log:
            flags = [*self._flags(), *RUN_FLAGS, *self.run_flags]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "run", *flags],
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
            )
        until(lambda: len(self.lines("runtime")) > listed, 30, lambda: f"not ready: {self.tail()}")

    def stop(self) -> None:
        """Sends SIGTERM and waits: it must end with 0."""
        process, self._process = self._process, None
        assert process is not None
        process.terminate()
        status = process.wait(60)
        assert status == 0, f"it ended with {status}: {self.tail()}"

    def kill(self) -> None:
        """Sends SIGKILL and waits."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait(30)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end: what it was doing stays half done until then."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def get(self, path: str, timeout: float = 5.0) -> tuple[int, str]:
        """What its HTTP API answers; status 0: nothing within `timeout` seconds."""
        address = self.lines("starting")[-1]["listen"]
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=timeout) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, name: str) -> float:
        """One sample of /metrics by its whole name, labels and all; 0 where there is none yet."""
        lines = self.get("/metrics")[1].splitlines()
        values = [line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == name]
        return float(values[0]) if values else 0.0

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """What it logged, or what it logged under one event's name."""
        if not self._log.exists():
            return []
        lines = [line for line in self._log.read_text().splitlines() if line.startswith("{")]
        parsed = [json.loads(line) for line in lines if line.endswith("}")]
        return [one for one in parsed if event is None or one["event"] == event]

    def tail(self) -> str:
        return self._log.read_text()[-3000:] if self._log.exists() else ""

    def wait_for(self, event: str, count: int = 1, seconds: float = 30) -> dict[str, Any]:
        """The last line of an event, once there are `count`."""
        until(
            lambda: len(self.lines(event)) >= count,
            seconds,
            lambda: f"{event} not {count} times: {self.tail()}",
        )
        return self.lines(event)[-1]

    def removed(self, image: str) -> bool:
        """Whether it has removed an image, by name, and seen that it is gone."""
        return any(image in line["names"] for line in self.lines("removed"))

    def uses(self, image: str) -> int:
        """The uses it had counted of an image, by name, when it removed it; it has ended since."""
        (entry,) = history.read(self._folder / "state", 1, image=image)
        return entry.uses

    def unanswered(self) -> frozenset[str]:
        """The images, without `sha256:`, whose removal it had recorded when it was killed, but not
        its outcome."""
        ledger = ledger_file.read_only(self._folder / "state" / FILE, time.time())
        return frozenset(key for key, one in ledger.removals.items() if one.answered_at is None)

    def _flags(self) -> list[str]:
        state = str(self._folder / "state")
        return ["-r", self._endpoint, "--policy", str(self.policy), "--state-dir", state]


RUN_FLAGS = ["--listen", "127.0.0.1:0", "--log-format", "json"]
