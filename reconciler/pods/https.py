"""GET over HTTPS as a service account: TLS that is always verified, and a token that is read for
every request, since it rotates.

httpcore and not httpx: importing httpx loads rich, click and pygments where they are installed.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpcore

from .. import __version__
from ..domain.humanize import size_text
from ..regular_file import read_text
from .source import PodsUnavailable

CONNECT = 5.0  # seconds for each step of making a connection
SILENCE = 10.0  # seconds without a byte of an answer
LARGEST = 64 << 20  # bytes of an answer


class Broken(PodsUnavailable):
    """An answer began and did not end, or no byte of it came for too long."""


@dataclass(frozen=True, slots=True)
class Server:
    """Which server to ask, and as which account. `mistrusted` turns what TLS says of a certificate
    that is not trusted into a text for people."""

    who: str  # for people
    host: str
    port: int
    token: Path
    ca: Path
    mistrusted: Callable[[str], str]

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Https:
    """Connections to one server, for as long as the context lasts."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # Verifies the chain and the name, and trusts no CA yet. Not ssl.create_default_context: an
        # empty file would mean all of the web's CAs, and Python 3.13 asks there for more than the
        # CAs of many clusters have.
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with translated_errors(server):
            try:
                trust.load_verify_locations(cadata=read_text(server.ca))
            except (ValueError, ssl.SSLError) as error:
                raise PodsUnavailable(f"{server.ca} is no certificate: {error}") from error
        self._pool = httpcore.AsyncConnectionPool(trust, max_connections=1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._pool.aclose()

    @contextlib.asynccontextmanager
    async def open(
        self, target: str, accept: str, silence: float = SILENCE
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Yields an answer's status, and its body as it comes in; `silence` is how many seconds may
        pass without a byte. A 401 is tried once more, with the token read again. Raises
        PodsUnavailable, and Broken from within."""
        timeout = {"connect": CONNECT, "write": CONNECT, "pool": CONNECT, "read": SILENCE}
        server = self._server
        with translated_errors(server):
            host = server.host.encode("ascii")
            url = httpcore.URL(scheme="https", host=host, port=server.port, target=target)
            for again in (True, False):
                headers = [
                    ("Host", str(server)),
                    ("Accept", accept),
                    ("Authorization", f"Bearer {read_text(server.token).strip()}"),
                    ("User-Agent", f"reconciler/{__version__}"),
                ]
                extensions = {"timeout": timeout}
                async with self._pool.stream(
                    "GET", url, headers=headers, extensions=extensions
                ) as answer:
                    if answer.status == 401 and again:
                        continue
                    timeout["read"] = silence  # httpcore looks here before each read
                    with translated_errors(server, Broken):
                        yield answer.status, answer.aiter_stream()
                    return

    async def get(self, target: str, accept: str) -> tuple[int, bytes]:
        """Returns a whole answer. Raises PodsUnavailable."""
        async with self.open(target, accept) as (status, chunks):
            body = bytearray()
            async for chunk in chunks:
                body += chunk
                if len(body) > LARGEST:
                    most = size_text(LARGEST)
                    raise PodsUnavailable(f"{self._server.who} answers with over {most}")
        return status, bytes(body)


@contextlib.contextmanager
def translated_errors(
    server: Server, kind: type[PodsUnavailable] = PodsUnavailable
) -> Iterator[None]:
    """Turns what a call raises into PodsUnavailable with a text for people."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        OSError,  # ssl.SSLError is one
        UnicodeError,  # a token or a host that is none
    ) as error:
        raise kind(_why(server, error)) from error


def _why(server: Server, error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return server.mistrusted(cause.verify_message)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, httpcore.TimeoutException):
        return f"{server.who} does not answer at {server}"
    return f"{server.who} at {server}: {str(error) or type(error).__name__}"
