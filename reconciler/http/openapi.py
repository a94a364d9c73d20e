"""The OpenAPI document of /api/v1. Shapes are those of `reconciler.report` and `documents`; a test
holds every answer against them."""

from __future__ import annotations

from .. import __version__
from ..report import Json

_STRING: Json = {"type": "string"}
_TIME: Json = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Json = {"type": ["string", "null"], "format": "date-time"}
_MAYBE_STRING: Json = {"type": ["string", "null"]}
_NUMBER: Json = {"type": "number"}
_MAYBE_NUMBER: Json = {"type": ["number", "null"]}
_WHOLE: Json = {"type": "integer"}
_MAYBE_WHOLE: Json = {"type": ["integer", "null"]}
_FLAG: Json = {"type": "boolean"}


def openapi() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "reconciler",
            "version": __version__,
            "description": "What a node's image garbage collector knows, decides and did. Reading "
            "is free on loopback, and answered elsewhere only with --api token, to who brings the "
            "token: as Bearer token, or as a password.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {f"/api/v1/{path}": methods for path, methods in _paths().items()},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _paths() -> Json:
    return {
        "status": _get("Status", "How full, what it does, what holds it."),
        "images": _get(
            "ImageList",
            "Every image in the order of ids, its verdict and what keeps it.",
            _parameter("limit", "query", _WHOLE, "how many at the most; 0, or none given: all"),
            _parameter("continue", "query", _STRING, "`metadata.continue` of the page before"),
        ),
        "images/{query}": _get(
            "Image",
            "One image by name, tag, digest, id or id prefix: every verdict and every user.",
            _parameter("query", "path", _STRING, "name, digest or id"),
            unknown=True,
        ),
        "plan": _get("Plan", "What would go now, in which order, and why all else stays."),
        "events": _get(
            "EventList",
            "The newest log lines.",
            _parameter("after", "query", _WHOLE, "the number of the last line seen"),
        ),
        "history": _get(
            "History",
            "Removals, newest first.",
            _parameter("count", "query", _WHOLE, "how many at the most (100; up to 1000)"),
            _parameter("since", "query", _WHOLE, "seconds since 1970"),
            _parameter("image", "query", _STRING, "part of a name, or the beginning of an id"),
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
        responses["400"] = _json_answer("A value that cannot be.", "Error")
    if unknown:
        responses["404"] = _json_answer("No such image.", "Error")
        responses["409"] = _json_answer("Several images answer to it.", "Error")
    return {"get": {"summary": text, "parameters": list(parameters), "responses": responses}}


def _stream() -> Json:
    text = "Server-sent events: `status` every second, `line` for every log line."
    answer = {"description": text, "content": {"text/event-stream": {"schema": _STRING}}}
    return {"get": {"summary": text, "responses": {"200": answer}}}


def _post(text: str) -> Json:
    responses = {
        "202": _json_answer("It will be done by the loop's next turn.", "Done"),
        "401": _json_answer("The token is missing or wrong.", "Error"),
        "403": _json_answer("The daemon was started without a token file.", "Error"),
        "409": _json_answer("Not in this mode.", "Error"),
    }
    return {"post": {"summary": text, "security": [{"token": []}], "responses": responses}}


def _json_answer(text: str, schema: str) -> Json:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": text, "content": {"application/json": {"schema": reference}}}


def _parameter(name: str, where: str, schema: Json, text: str) -> Json:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": text,
        "schema": schema,
    }


def _object(**properties: Json) -> Json:
    """All properties are there in every answer; more may come with a later version."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _kind(kind: str, **properties: Json) -> Json:
    head = {"apiVersion": {"const": "reconciler/v1"}, "kind": {"const": kind}}
    return _object(**head, at=_TIME, **properties)


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> Json:
    hold = {"oneOf": [{"type": "null"}, _object(reason=_STRING, detail=_STRING)]}
    names = _list(_STRING)
    image = {"id": _STRING, "names": names, "sizeBytes": _WHOLE}
    seen = {"firstSeen": _TIME, "lastUsed": _MAYBE_TIME}
    protections = _list(_ref("Protection"))
    filesystems = _list(_ref("Filesystem"))
    health = {"source": _MAYBE_STRING, "valid": _FLAG, "problems": names}
    return {
        "Error": _object(apiVersion=_STRING, kind={"const": "Error"}, error=_STRING),
        "Done": _object(apiVersion=_STRING, kind={"const": "Done"}),
        "OpenAPI": {"type": "object"},
        "Filesystem": _filesystem(),
        "Protection": _protection(),
        "Candidate": _object(
            rank=_WHOLE,
            **image,
            goes=_FLAG,
            cause=_MAYBE_STRING,
            why=_STRING,
            account=_STRING,
            **seen,
            score=_ref("Score"),
        ),
        "Score": _score(),
        "ImageRow": _object(
            **image,
            pinned=_FLAG,
            verdict={"enum": ["kept", "candidate"]},
            protections=protections,
            users=_WHOLE,
            usedBy=names,
            uses=_WHOLE,
            **seen,
        ),
        "Removal": _removal(),
        "Status": _kind(
            "Status",
            version=_STRING,
            node=_MAYBE_STRING,
            startedAt=_TIME,
            mode=_MAYBE_STRING,
            pressure={"enum": ["calm", "reclaiming"]},
            paused={"oneOf": [{"type": "null"}, _object(since=_TIME)]},
            hold=hold,
            remover=_object(this=_FLAG, other=_MAYBE_STRING, trouble=_MAYBE_STRING),
            filesystems=filesystems,
            unmeasured=_list(_object(mountpoint=_STRING, why=_STRING)),
            runtime=_object(
                name=_MAYBE_STRING,
                version=_MAYBE_STRING,
                events=_STRING,
                listedAt=_MAYBE_TIME,
                trouble=_MAYBE_STRING,
            ),
            pods=_object(
                source={"enum": ["socket", "kubelet", "api", None]},
                since=_MAYBE_TIME,
                count=_WHOLE,
                trouble=_MAYBE_STRING,
                missing=names,
            ),
            policy=_object(**health),
            notReady=names,
            counts=_object(
                images=_WHOLE,
                containers=_WHOLE,
                sandboxes=_WHOLE,
                candidates=_WHOLE,
                kept=_WHOLE,
                untold=_WHOLE,
            ),
            next=_list(_ref("Candidate")),
            requiredMissing=_list(_object(pattern=_STRING, place=_STRING)),
            control=_FLAG,
        ),
        "ImageList": _kind("ImageList", metadata=_page(), items=_list(_ref("ImageRow"))),
        "Image": _kind(
            "Image",
            image=_ref("ImageRow"),
            usedBy=_list(
                _object(
                    id=_STRING,
                    kind={"enum": ["container", "sandbox"]},
                    name=_MAYBE_STRING,
                    sandbox=_MAYBE_STRING,
                    state=_MAYBE_STRING,
                )
            ),
        ),
        "Plan": _kind(
            "Plan",
            mode=_STRING,
            hold=hold,
            filesystems=filesystems,
            candidates=_list(_ref("Candidate")),
            kept=_list(_object(**image, protections=protections)),
        ),
        "EventList": _kind(
            "EventList",
            items=_list(_object(number=_WHOLE, event=_STRING, level=_STRING, timestamp=_STRING)),
        ),
        "History": _kind("History", items=_list(_ref("Removal"))),
        "Policy": _kind(
            "Policy",
            **health,
            values={"type": "object"},
            rules=_list(
                _object(
                    kind={"enum": ["exclusion", "importance", "expendable", "required"]},
                    pattern=_STRING,
                    file=_STRING,
                    line=_WHOLE,
                    column=_WHOLE,
                    reason=_MAYBE_STRING,
                    until=_MAYBE_STRING,
                    inForce=_FLAG,
                    tier=_MAYBE_STRING,
                    unusedForSeconds=_MAYBE_NUMBER,
                )
            ),
        ),
        "Usage": _kind(
            "Usage",
            filesystems={
                "type": "object",
                "description": "[seconds since 1970, used, high and low bytes, used inodes]",
                "additionalProperties": _list(_list(_NUMBER)),
            },
        ),
    }


def _page() -> Json:
    """As Kubernetes tells a page of a list; `continue` is empty on the last one."""
    page = _object(**{"continue": _STRING, "remainingItemCount": _WHOLE})
    return page | {"required": ["continue"]}


def _filesystem() -> Json:
    return _object(
        mountpoint=_STRING,
        capacityBytes=_WHOLE,
        usedBytes=_WHOLE,
        usedPercent=_NUMBER,
        dfPercent=_NUMBER,
        owedBytes=_WHOLE,
        highBytes=_WHOLE,
        lowBytes=_WHOLE,
        marginBytes=_MAYBE_WHOLE,
        highFrom=_STRING,
        inodesUsedPercent=_MAYBE_NUMBER,
        pressure={"enum": ["calm", "reclaiming"]},
    )


def _protection() -> Json:
    return _object(
        kind=_STRING, holds=_FLAG, detail=_STRING, rule={"oneOf": [{"type": "null"}, _rule()]}
    )


def _score() -> Json:
    """`keep` is the product of tierWeight, standing, usesPerHour and sizeFactor."""
    newer = _object(name=_STRING, firstSeen=_TIME)
    return _object(
        keep=_NUMBER,
        tier=_STRING,
        tierWeight=_NUMBER,
        tierRule={"oneOf": [{"type": "null"}, _rule()]},
        standing=_NUMBER,
        supersededBy={"oneOf": [{"type": "null"}, newer]},
        usesPerHour=_NUMBER,
        sizeFactor=_NUMBER,
        pullBytes=_WHOLE,
        ownShare={"const": 1.0},
    )


def _rule() -> Json:
    """Where a rule of the operator's stands, and what it says."""
    return _object(file=_STRING, line=_WHOLE, column=_WHOLE, pattern=_STRING, reason=_MAYBE_STRING)


def _removal() -> Json:
    return _object(
        at=_TIME,
        id=_STRING,
        names=_list(_STRING),
        outcome={"enum": ["removed", "refused", "untagged"]},
        cause=_STRING,
        why=_STRING,
        account=_MAYBE_STRING,
        error=_MAYBE_STRING,
        sizeBytes=_WHOLE,
        expectedBytes=_WHOLE,
        freedBytes=_MAYBE_WHOLE,
        freedAbout=_FLAG,
        tookSeconds=_NUMBER,
        firstSeen=_TIME,
        lastUsed=_MAYBE_TIME,
        lastUser=_MAYBE_STRING,
        uses=_WHOLE,
        listedAt=_MAYBE_TIME,
        mountpoint=_STRING,
        usedBeforeBytes=_WHOLE,
        usedAfterBytes=_WHOLE,
        highBytes=_WHOLE,
        lowBytes=_WHOLE,
    )
