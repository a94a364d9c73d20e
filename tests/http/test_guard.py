"""Whom the face answers, and what a browser may do with what it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.http.guard import is_local

from .asgi import ask
from .test_api import Face, state


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST:9723", True),
        ("127.0.0.1:9723", True),
        ("127.8.8.8", True),
        ("[::1]:9723", True),
        ("[::1]", True),
        ("::1", True),
        ("", True),
        ("evil.example", False),
        ("localhost.evil.example:9723", False),
        ("10.0.0.1:9723", False),
        ("0.0.0.0", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_only_this_machines_own_names_are_local(host: str, local: bool) -> None:
    """A name that somebody has made to point here is none of them."""
    assert is_local(host) is local


async def test_a_strangers_name_for_loopback_is_not_answered(tmp_path: Path) -> None:
    """A web page whose name was made to mean 127.0.0.1 reads nothing through the browser."""
    seen = Face(tmp_path, state())
    answered = await ask(seen.app, "/api/v1/status", headers={"Host": "evil.example:9723"})
    assert answered.code == 421
    assert b"localhost" in answered.body
    assert (await ask(seen.app, "/api/v1/status", headers={"Host": "localhost"})).code == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/status", "/page/page.js", "/none"])
async def test_every_answer_tells_the_browser_to_load_nothing_from_elsewhere(
    tmp_path: Path, path: str
) -> None:
    """No request leaves the node, whatever a name on the page contains."""
    answered = await ask(Face(tmp_path, state()).app, path)
    policy = answered.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answered.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/v1/status", "/page/page.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_what_is_read_is_only_read(tmp_path: Path, path: str, method: str) -> None:
    """The face answers GET; anything else is refused before it is looked at."""
    answered = await ask(Face(tmp_path, state()).app, path, method)
    assert answered.code == 405


@pytest.mark.parametrize("path", ["/page/../face.py", "/page/..%2fface.py", "/page//etc/passwd"])
async def test_no_file_but_the_pages_own_is_served(tmp_path: Path, path: str) -> None:
    """Nothing beside the page can be read by a crooked path."""
    assert (await ask(Face(tmp_path, state()).app, path)).code == 404
