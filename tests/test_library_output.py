"""Every line that `run` writes is a line of its log, wherever it comes from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from tests.builders import HANGS

# A process like `run`, in which everything goes wrong that has its own way to write to stderr.
TROUBLED = """
import asyncio, gc, logging, sys, threading, warnings
from reconciler.telemetry import library_output, logs

logs.set_up(sys.argv[1] == "json", "info")
library_output.redirect_to_log()

logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.\\nTwo lines.")
for _ in range(50):
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.\\nTwo lines.")
logging.getLogger("httpcore").info("a token")
try:
    raise ValueError("in a library")
except ValueError:
    logging.getLogger("grpc").exception("Unexpected [%s]", "error")
logging.getLogger("broken").warning("%d", "no number")
warnings.warn("old ways")

def breaks():
    raise RuntimeError("in a thread")

thread = threading.Thread(target=breaks, name="disk")
thread.start()
thread.join()

class Left:
    def __del__(self):
        raise OSError("in a destructor")

Left()

async def forgets():
    async def fails():
        raise KeyError("in a task")
    task = asyncio.ensure_future(fails())
    await asyncio.sleep(0)
    del task
    gc.collect()

asyncio.run(forgets())
raise ExceptionGroup("tasks", [ValueError("at\\nthe end"), ExceptionGroup("more", [OSError("x")])])
"""
LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (warning|error  ) ([a-z-]+) ([a-z]+=.*)")


def troubled(form: str) -> tuple[int, list[str]]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, "-c", TROUBLED, form],
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
        env=environment,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def test_whatever_goes_wrong_is_a_line_of_json() -> None:
    """Libraries, warnings, threads, destructors, tasks and the end itself; a stranger's bytes are
    logged once, and what a library logs below a warning, tokens for example, not at all."""
    code, lines = troubled("json")
    logged = [json.loads(line) for line in lines]
    assert code == 1
    libraries = [one["library"] for one in logged if one["event"] == "library-trouble"]
    assert libraries == ["uvicorn.error", "grpc", "py.warnings", "asyncio"]
    assert logged[0]["detail"] == "Invalid HTTP request received. Two lines."
    assert logged[1]["detail"] == "Unexpected [error]: ValueError: in a library"
    unexpected = [one for one in logged if one["event"] == "unexpected-error"]
    wheres = ["thread disk", "the process"]
    assert [one["where"] for one in unexpected if "__del__" not in one["where"]] == wheres
    (destroyed,) = (one for one in unexpected if "__del__" in one["where"])
    assert destroyed["detail"] == "OSError: in a destructor"
    assert unexpected[-1]["detail"] == "ValueError: at the end; OSError: x"
    assert unexpected[0]["trace"][0].endswith("breaks")
    assert {one["level"] for one in logged} == {"warning", "error"}


def test_whatever_goes_wrong_is_a_line_of_text_in_our_shape() -> None:
    """No traceback over thirty lines, and none of `logging`'s own complaints."""
    code, lines = troubled("text")
    assert code == 1
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert len(lines) == 7


@pytest.mark.parametrize("flags", [("--listen", "nowhere"), ("--state-dir", "/dev/null/x")])
def test_what_keeps_run_from_starting_is_json_where_that_is_asked_for(flags: tuple[str]) -> None:
    """An invalid flag, and no place for the state."""
    command = [sys.executable, "-m", "reconciler", "run", "--log-format", "json"]
    command += ["--listen", "127.0.0.1:0", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=False)
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["event"] == "not-started"
    assert done.returncode == (2 if flags[0] == "--listen" else 1)
