"""Which requests are answered, and what a browser may do with the answers."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from reconciler.http.guard import is_local

from .asgi import ask
from .test_api import Application, state


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
    """A name that somebody has made to resolve here is none of them."""
    assert is_local(host) is local


async def test_a_strangers_name_for_loopback_is_not_answered(tmp_path: Path) -> None:
    """A web page whose name was made to resolve to 127.0.0.1 reads nothing through the browser."""
    seen = Application(tmp_path, state())
    answered = await ask(seen.app, "/api/v1/status", headers={"Host": "evil.example:9723"})
    assert answered.code == 421
    assert b"localhost" in answered.body
    assert (await ask(seen.app, "/api/v1/status", headers={"Host": "localhost"})).code == 200


@pytest.mark.parametrize("at", ["10.0.0.7", "fd00::7", "::ffff:10.0.0.7", "", "not an address"])
async def test_the_pods_address_answers_probes_to_strangers_and_nothing_else(
    tmp_path: Path, at: str
) -> None:
    """kubelet and Prometheus ask there; what images a node has is nobody's business."""
    seen = Application(tmp_path, state(), "s3cret")
    bearer = {"Authorization": "Bearer s3cret"}
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await ask(seen.app, path, at=at)).code in (200, 503)
    for path in ("/", "/page/page.js", "/api/v1/status", "/api/v1/images", "/none"):
        answered = await ask(seen.app, path, headers=bearer, at=at)
        assert answered.code == 403
        assert b"port-forward" in answered.body
    assert (await ask(seen.app, "/api/v1/pause", "POST", bearer, at=at)).code == 403
    assert seen.submitted == []


@pytest.mark.parametrize("at", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_loopback_is_answered_by_each_of_its_names(tmp_path: Path, at: str) -> None:
    """A port that is forwarded arrives on loopback, and on a dual-stack socket as either."""
    assert (await ask(Application(tmp_path, state()).app, "/api/v1/status", at=at)).code == 200


async def test_what_is_opened_on_purpose_asks_for_the_token(tmp_path: Path) -> None:
    """It is answered on every address with the token; a browser asks for it as a password."""
    seen = Application(tmp_path, state(), "s3cret", open_to_token=True)
    at = "10.0.0.7"
    for path in ("/", "/page/page.js", "/api/v1/status", "/api/v1/stream"):
        refused = await ask(seen.app, path, at=at)
        assert refused.code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
    password = base64.b64encode(b"anybody:s3cret").decode()
    for header in ("Bearer s3cret", f"Basic {password}"):
        sent = {"Authorization": header}
        assert (await ask(seen.app, "/api/v1/status", headers=sent, at=at)).code == 200
    for header in ("Bearer wrong", "Basic s3cret", "Basic !", f"Digest {password}", "s3cret"):
        sent = {"Authorization": header}
        assert (await ask(seen.app, "/api/v1/status", headers=sent, at=at)).code == 401


async def test_a_token_that_is_not_ascii_opens_as_it_was_written(tmp_path: Path) -> None:
    """curl and browsers send it in UTF-8, as it is in the file."""
    seen = Application(tmp_path, state(), "s3cr\u00e9t", open_to_token=True)
    written = "s3cr\u00e9t".encode().decode("latin-1")  # a header's characters are its bytes
    password = base64.b64encode("anybody:s3cr\u00e9t".encode()).decode()
    for header in (f"Bearer {written}", f"Basic {password}"):
        sent = {"Authorization": header}
        assert (await ask(seen.app, "/api/v1/status", headers=sent, at="10.0.0.7")).code == 200


async def test_a_password_that_a_browser_remembers_commands_nothing(tmp_path: Path) -> None:
    """A foreign page can make the browser send it along; only the page itself sends a token."""
    seen = Application(tmp_path, state(), "s3cret", open_to_token=True)
    password = base64.b64encode(b"anybody:s3cret").decode()
    sent = {"Authorization": f"Basic {password}"}
    assert (await ask(seen.app, "/api/v1/pause", "POST", sent, at="10.0.0.7")).code == 401
    assert (await ask(seen.app, "/api/v1/pause", "POST", sent)).code == 401
    assert seen.submitted == []


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/status", "/page/page.js", "/none"])
async def test_every_answer_lets_the_browser_load_nothing_from_elsewhere(
    tmp_path: Path, path: str
) -> None:
    """No request leaves the node, whatever a name on the page contains."""
    answered = await ask(Application(tmp_path, state()).app, path)
    policy = answered.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answered.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/v1/status", "/page/page.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_what_is_read_is_only_read(tmp_path: Path, path: str, method: str) -> None:
    """These paths answer GET; anything else is refused before it is handled."""
    answered = await ask(Application(tmp_path, state()).app, path, method)
    assert answered.code == 405


@pytest.mark.parametrize(
    "path", ["/page/../server.py", "/page/..%2fserver.py", "/page//etc/passwd"]
)
async def test_no_file_but_the_pages_own_is_served(tmp_path: Path, path: str) -> None:
    """Nothing outside of the page can be read with a path that leaves it."""
    assert (await ask(Application(tmp_path, state()).app, path)).code == 404
