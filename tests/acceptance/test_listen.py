"""An address that can't be listened on is an error for people."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.builders import HANGS


def test_a_port_in_use_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    """`run` ends with 1 and says which flag names another address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        command = [sys.executable, "-m", "reconciler", "run", "--listen", address]
        ended = subprocess.run(
            [*command, "--state-dir", str(tmp_path), "-r", str(tmp_path / "none.sock")],
            capture_output=True,
            text=True,
            timeout=HANGS,
            check=False,
        )
    assert ended.returncode == 1
    assert f"cannot listen on {address}" in ended.stderr
    assert "--listen" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
