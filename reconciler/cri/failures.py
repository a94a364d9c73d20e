"""gRPC's errors as our failures: what failed, at which socket, what to do."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from ..domain.runtime import (
    EventsUnsupported,
    NoSuchObject,
    RuntimeFailure,
    RuntimeRefused,
    RuntimeTooLate,
    RuntimeUnavailable,
)

Code = grpc.StatusCode

_GONE = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED}


@contextmanager
def translated_errors(call: str, path: str) -> Iterator[None]:
    """Turns a gRPC error into our failure; `call` is the method's name, `path` the socket."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise failure(call, path, error.code(), error.details() or "") from error


def failure(call: str, path: str, code: grpc.StatusCode, details: str) -> RuntimeFailure:
    """The failure that says what to do next."""
    if code in _GONE:
        why = unreachable(path) or f"{code.name}: {details}"
        kind = RuntimeTooLate if code is Code.DEADLINE_EXCEEDED else RuntimeUnavailable
        return kind(f"{call} at {path}: {why}")
    text = f"{call} at {path}: {code.name}: {details}"
    if code is Code.UNIMPLEMENTED and "unknown service" in details:
        return RuntimeUnavailable(f"{text}; the socket answers, its CRI plugin does not")
    if code is Code.UNIMPLEMENTED and call == "GetContainerEvents":
        return EventsUnsupported(f"this runtime has no container events ({details})")
    if code is Code.NOT_FOUND:
        return NoSuchObject(text)
    return RuntimeRefused(text, code.name)


def unreadable(call: str, path: str) -> RuntimeRefused:
    """The failure for an answer that does not decode; grpc returns None then, and only logs why."""
    return RuntimeRefused(
        f"{call} at {path}: the answer is not a message we can read", "UNREADABLE"
    )


def unreachable(path: str) -> str | None:
    """Why a socket cannot be reached, in words; None: the file system shows no reason."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return "no such socket; is the runtime running, and its socket mounted here?"
    except OSError as error:
        return f"{error.strerror}; this needs to run as a user who may use the socket (root)"
    if not stat.S_ISSOCK(found.st_mode):
        return "not a socket; name the runtime's socket with --runtime-endpoint"
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return "permission denied; this needs to run as a user who may use the socket (root)"
    return None
