"""The token of `--token-file`: it allows commands, and reading from other machines."""

from __future__ import annotations

import base64
import binascii
import hmac
from pathlib import Path

import anyio.to_thread

from ..regular_file import read_text


class Token:
    """Reads the file for each request: it may be rotated. None: there is no token to check."""

    def __init__(self, file: Path | None) -> None:
        self.file = file

    async def refusal(self, authorization: str, basic: bool = True) -> str | None:
        """What to answer unless an Authorization header carries the token: as Bearer token or, if
        `basic`, as the password of any user, which is how a browser asks a person for it."""
        if self.file is None:
            return "this daemon takes no commands: it was started without --token-file"
        try:
            token = (await anyio.to_thread.run_sync(read_text, self.file)).strip()
        except OSError as error:
            return f"the daemon cannot read its --token-file: {error.strerror}"
        except UnicodeDecodeError:
            return "the daemon's --token-file is not text"
        given = _given(authorization, basic)
        if token and hmac.compare_digest(given, token.encode()):
            return None
        also = " or, as a password," if basic else ""
        return f"expected Authorization: Bearer{also} and the token of --token-file"


def _given(authorization: str, basic: bool) -> bytes:
    """The bytes that were sent as token; the text of a header has a character for each."""
    scheme, _, credentials = authorization.strip().partition(" ")
    given = credentials.strip().encode("latin-1")
    if scheme.lower() == "bearer":
        return given
    return _password(given) if basic and scheme.lower() == "basic" else b""


def _password(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
