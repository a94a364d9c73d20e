"""The token of `--token-file`: who brings it may ask for something, and may read from elsewhere."""

from __future__ import annotations

import base64
import binascii
import hmac
from pathlib import Path

import anyio


class Token:
    """The file is read each time: it may be rotated. None: there is no token, and nobody has it."""

    def __init__(self, file: Path | None) -> None:
        self.file = file

    async def in_header(self, authorization: str, basic: bool = True) -> bool:
        """Whether an Authorization header brings it: as Bearer token or, if `basic`, as the
        password of any user, which is how a browser asks a person for it."""
        scheme, _, brought = authorization.strip().partition(" ")
        brought = brought.strip()
        if scheme.lower() == "basic" and basic:
            brought = _password(brought)
        elif scheme.lower() != "bearer":
            return False
        token = await self._read()
        return bool(token) and hmac.compare_digest(brought.encode(), token.encode())

    async def _read(self) -> str:
        if self.file is None:
            return ""
        try:
            return (await anyio.Path(self.file).read_text()).strip()
        except (OSError, UnicodeDecodeError):
            return ""


def _password(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
