"""The OpenAPI document of /api/v1: its paths, parameters and answers. The answers' schemas are in
`schemas.py`; a test checks every answer against them."""

from __future__ import annotations

from .. import __version__
from ..report import Json
from .schemas import STRING, WHOLE, ref, schemas


def openapi() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "reconciler",
            "version": __version__,
            "description": "What a node's image garbage collector knows, decides and did. Reading "
            "is free on loopback, and elsewhere only possible with --api token and the token: as "
            "Bearer token, or as a password.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {f"/api/v1/{path}": methods for path, methods in _paths().items()},
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _paths() -> Json:
    return {
        "status": _get("Status", "How full the disks are, what the daemon does, what holds it."),
        "images": _get(
            "ImageList",
            "Every image in the order of ids, its verdict and what keeps it.",
            _parameter("limit", "query", WHOLE, "at most how many; 0 or not given: all"),
            _parameter("continue", "query", STRING, "`metadata.continue` of the page before"),
        ),
        "images/{query}": _get(
            "Image",
            "One image by name, tag, digest, id or id prefix: every verdict and every user.",
            _parameter("query", "path", STRING, "name, digest or id"),
            unknown=True,
        ),
        "plan": _get("Plan", "What would be removed now, in which order, and why the others stay."),
        "events": _get(
            "EventList",
            "The newest log lines.",
            _parameter("after", "query", WHOLE, "the number of the last line seen"),
        ),
        "history": _get(
            "History",
            "Removals, newest first.",
            _parameter("count", "query", WHOLE, "at most how many (100; up to 1000)"),
            _parameter("since", "query", WHOLE, "seconds since 1970"),
            _parameter("image", "query", STRING, "part of a name, or the beginning of an id"),
        ),
        "policy": _get("Policy", "The policy in force, with the place of every rule."),
        "usage": _get("Usage", "Usage over time of every image filesystem."),
        "stream": _stream(),
        "openapi.json": _get("OpenAPI", "This document."),
        "pause": _post("Remove nothing until resumed or restarted."),
        "resume": _post("End the pause."),
        "reclaim": _post("Reclaim to the low mark now, without waiting for the high one."),
    }


def _get(schema: str, text: str, *parameters: Json, unknown: bool = False) -> Json:
    responses: Json = {"200": _json_answer(text, schema)}
    if parameters:
        responses["400"] = _json_answer("An invalid value.", "Error")
    if unknown:
        responses["404"] = _json_answer("No such image.", "Error")
        responses["409"] = _json_answer("Several images match.", "Error")
    return {"get": {"summary": text, "parameters": list(parameters), "responses": responses}}


def _stream() -> Json:
    text = "Server-sent events: `status` every second, `line` for every log line."
    answer = {"description": text, "content": {"text/event-stream": {"schema": STRING}}}
    return {"get": {"summary": text, "responses": {"200": answer}}}


def _post(text: str) -> Json:
    responses = {
        "202": _json_answer("Accepted; the loop does it in its next pass.", "Done"),
        "401": _json_answer("The token is missing or wrong.", "Error"),
        "403": _json_answer("The daemon was started without a token file.", "Error"),
        "409": _json_answer("Not in this mode.", "Error"),
    }
    return {"post": {"summary": text, "security": [{"token": []}], "responses": responses}}


def _json_answer(text: str, schema: str) -> Json:
    return {"description": text, "content": {"application/json": {"schema": ref(schema)}}}


def _parameter(name: str, where: str, schema: Json, text: str) -> Json:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": text,
        "schema": schema,
    }
