"""`reconciler run` as a process beside a real containerd, with what it logs as values."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .images import until

POLICY = """apiVersion: reconciler/v1
kind: ImagePolicy
mode: {mode}
watermarks: {{high: {high}, low: {low}}}
minimumAge: {minimum_age}
minimumSize: {minimum_size}
exclusions: {exclusions}
"""


class Daemon:
    """The daemon with a policy and a state directory of its own in `folder`."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self._endpoint, self._folder = endpoint, folder
        folder.mkdir(parents=True, exist_ok=True)
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
    ) -> None:
        """Saves the policy as an editor does: another file, renamed over it."""
        rules = [{"images": [pattern], "reason": "the story's"} for pattern in exclusions or []]
        text = POLICY.format(
            mode=mode,
            high=high,
            low=low,
            minimum_age=minimum_age,
            minimum_size=minimum_size,
            exclusions=json.dumps(rules),
        )
        fresh = self.policy.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.policy)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any other command of ours on the same node."""
        return subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments, *self._flags()],
            capture_output=True,
            text=True,
            timeout=60,
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

    def start(self) -> None:
        """Starts it and waits until it has listed the runtime."""
        listed = len(self.lines("runtime"))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "run", *self._flags(), *RUN_FLAGS],
                stdout=log,
                stderr=log,
            )
        until(lambda: len(self.lines("runtime")) > listed, 30, f"not ready: {self.tail()}")

    def stop(self) -> None:
        """SIGTERM: it ends by itself, with 0."""
        process, self._process = self._process, None
        assert process is not None
        process.terminate()
        assert process.wait(60) == 0, self.tail()

    def kill(self) -> None:
        """kill -9."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait(30)

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
        """The last line of an event, once there are so many."""
        until(lambda: len(self.lines(event)) >= count, seconds, f"no {event}: {self.tail()}")
        return self.lines(event)[-1]

    def _flags(self) -> list[str]:
        state = str(self._folder / "state")
        return ["-r", self._endpoint, "--policy", str(self.policy), "--state-dir", state]


RUN_FLAGS = ["--listen", "127.0.0.1:0", "--log-format", "json"]
