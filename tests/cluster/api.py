"""A client of the API server for the harness: JSON over TLS, as the cluster's admin."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .certificates import Certificates
from .sandbox import NODE

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Refused(Exception):
    """The API server refused; `status` is its code."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class Api:
    """One connection for each thread that asks."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._context: ssl.SSLContext | None = None
        self._mine = threading.local()

    def get(self, path: str) -> Json:
        return self.ask("GET", path)

    def create(self, path: str, what: Mapping[str, Any]) -> Json:
        return self.ask("POST", path, what)

    def patch(self, path: str, what: Mapping[str, Any], kind: str = MERGE) -> Json:
        return self.ask("PATCH", path, what, kind)

    def delete(self, path: str, grace: int = 0) -> None:
        """Asks for a deletion; fine where there is nothing."""
        options = {"gracePeriodSeconds": grace, "propagationPolicy": "Background"}
        try:
            self.ask("DELETE", path, options)
        except Refused as refused:
            if refused.status != 404:
                raise

    def exists(self, path: str) -> bool:
        try:
            self.get(path)
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    def answers(self, path: str) -> bool:
        """Whether a GET works; any error may be over soon."""
        try:
            self._send("GET", path, None, "")
        except (OSError, http.client.HTTPException, Refused):
            return False
        return True

    def ask(
        self,
        method: str,
        path: str,
        what: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> Json:
        """One request; repeated on a new connection where the old one was cut."""
        body = None if what is None else json.dumps(what).encode()
        try:
            answer = self._send(method, path, body, kind)
        except (OSError, http.client.HTTPException):
            answer = self._send(method, path, body, kind)
        found: Json = json.loads(answer)
        return found

    def watch(self, path: str, over: threading.Event) -> Iterator[tuple[float, str, Json]]:
        """What is there and then every change, with when it came in; a watch that ended is begun
        again with a list, so that something may come twice."""
        while not over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, Refused, ValueError):
                listed = self.get(path)
                for item in listed["items"]:
                    yield time.time(), "ADDED", item
                version = listed["metadata"]["resourceVersion"]
                yield from self._changes(f"{path}?watch=1&resourceVersion={version}", over)
            over.wait(0.2)

    def _changes(self, path: str, over: threading.Event) -> Iterator[tuple[float, str, Json]]:
        with contextlib.closing(self._connection(timeout=1.0)) as connection:
            connection.request("GET", path)
            connection.sock.settimeout(None)
            answer = connection.getresponse()
            for line in answer:
                change = json.loads(line)
                if change["type"] == "ERROR":
                    return
                yield time.time(), change["type"], change["object"]
                if over.is_set():
                    return

    def _send(self, method: str, path: str, body: bytes | None, kind: str) -> bytes:
        connection: http.client.HTTPSConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = self._connection(timeout=30.0)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            data = answer.read()
        except BaseException:
            connection.close()
            self._mine.connection = None
            raise
        if answer.status >= 300:
            raise Refused(answer.status, data[:500].decode(errors="replace"))
        return data

    def _connection(self, timeout: float) -> http.client.HTTPSConnection:
        if self._context is None:
            path = self._certificates.path
            self._context = ssl.create_default_context(cafile=path("ca.crt"))
            self._context.load_cert_chain(path("admin.crt"), path("admin.key"))
        return http.client.HTTPSConnection(NODE, 443, timeout=timeout, context=self._context)


def seconds(timestamp: str) -> float:
    """A time as the API server and our log write it, as seconds since 1970."""
    return dt.datetime.fromisoformat(timestamp).timestamp()
