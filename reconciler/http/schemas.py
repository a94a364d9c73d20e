"""JSON Schemas of all answers of /api/v1, which `reconciler.report`, `documents` and `status` make.
Every property is present in every answer; a later version may add more."""

from __future__ import annotations

from ..report import Json

STRING: Json = {"type": "string"}
_TIME: Json = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Json = {"type": ["string", "null"], "format": "date-time"}
_MAYBE_STRING: Json = {"type": ["string", "null"]}
_NUMBER: Json = {"type": "number"}
_MAYBE_NUMBER: Json = {"type": ["number", "null"]}
WHOLE: Json = {"type": "integer"}
_MAYBE_WHOLE: Json = {"type": ["integer", "null"]}
_FLAG: Json = {"type": "boolean"}


def schemas() -> Json:
    """All schemas, by name."""
    hold = {"oneOf": [{"type": "null"}, _object(reason=STRING, detail=STRING)]}
    names = _list(STRING)
    image = {"id": STRING, "names": names, "sizeBytes": WHOLE}
    seen = {"firstSeen": _TIME, "lastUsed": _MAYBE_TIME}
    protections = _list(ref("Protection"))
    filesystems = _list(ref("Filesystem"))
    health = {"source": _MAYBE_STRING, "valid": _FLAG, "problems": names}
    return {
        "Error": _object(apiVersion=STRING, kind={"const": "Error"}, error=STRING),
        "Done": _object(apiVersion=STRING, kind={"const": "Done"}),
        "OpenAPI": {"type": "object"},
        "Filesystem": _filesystem(),
        "Protection": _protection(),
        "Candidate": _object(
            rank=WHOLE,
            **image,
            goes=_FLAG,
            cause=_MAYBE_STRING,
            why=STRING,
            account=STRING,
            **seen,
            score=ref("Score"),
        ),
        "Score": _score(),
        "ImageRow": _object(
            **image,
            pinned=_FLAG,
            verdict={"enum": ["kept", "candidate"]},
            protections=protections,
            users=WHOLE,
            usedBy=names,
            uses=WHOLE,
            **seen,
        ),
        "Removal": _removal(),
        "Status": _kind(
            "Status",
            version=STRING,
            node=_MAYBE_STRING,
            startedAt=_TIME,
            mode=_MAYBE_STRING,
            pressure={"enum": ["calm", "reclaiming"]},
            paused={"oneOf": [{"type": "null"}, _object(since=_TIME)]},
            hold=hold,
            remover=_object(this=_FLAG, other=_MAYBE_STRING, trouble=_MAYBE_STRING),
            filesystems=filesystems,
            unmeasured=_list(_object(mountpoint=STRING, why=STRING)),
            runtime=_object(
                name=_MAYBE_STRING,
                version=_MAYBE_STRING,
                events=STRING,
                listedAt=_MAYBE_TIME,
                trouble=_MAYBE_STRING,
            ),
            pods=_object(
                source={"enum": ["socket", "kubelet", "api", None]},
                since=_MAYBE_TIME,
                count=WHOLE,
                trouble=_MAYBE_STRING,
                missing=names,
            ),
            policy=_object(**health),
            notReady=names,
            counts=_object(
                images=WHOLE,
                containers=WHOLE,
                sandboxes=WHOLE,
                candidates=WHOLE,
                kept=WHOLE,
                unresolved=WHOLE,
            ),
            next=_list(ref("Candidate")),
            requiredMissing=_list(_object(pattern=STRING, place=STRING)),
            control=_FLAG,
        ),
        "ImageList": _kind("ImageList", metadata=_page(), items=_list(ref("ImageRow"))),
        "Image": _kind(
            "Image",
            image=ref("ImageRow"),
            usedBy=_list(
                _object(
                    id=STRING,
                    kind={"enum": ["container", "sandbox"]},
                    name=_MAYBE_STRING,
                    sandbox=_MAYBE_STRING,
                    state=_MAYBE_STRING,
                )
            ),
        ),
        "Plan": _kind(
            "Plan",
            mode=STRING,
            hold=hold,
            filesystems=filesystems,
            candidates=_list(ref("Candidate")),
            kept=_list(_object(**image, protections=protections)),
        ),
        "EventList": _kind(
            "EventList",
            items=_list(_object(number=WHOLE, event=STRING, level=STRING, timestamp=STRING)),
        ),
        "History": _kind("History", items=_list(ref("Removal"))),
        "Policy": _kind(
            "Policy",
            **health,
            values={"type": "object"},
            rules=_list(
                _object(
                    kind={"enum": ["exclusion", "importance", "expendable", "required"]},
                    pattern=STRING,
                    file=STRING,
                    line=WHOLE,
                    column=WHOLE,
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
    """The metadata of a page, as in Kubernetes lists; `continue` is empty on the last one."""
    page = _object(**{"continue": STRING, "remainingItemCount": WHOLE})
    return page | {"required": ["continue"]}


def _filesystem() -> Json:
    return _object(
        mountpoint=STRING,
        capacityBytes=WHOLE,
        usedBytes=WHOLE,
        usedPercent=_NUMBER,
        dfPercent=_NUMBER,
        owedBytes=WHOLE,
        highBytes=WHOLE,
        lowBytes=WHOLE,
        marginBytes=_MAYBE_WHOLE,
        highFrom=STRING,
        inodesUsedPercent=_MAYBE_NUMBER,
        pressure={"enum": ["calm", "reclaiming"]},
    )


def _protection() -> Json:
    return _object(
        kind=STRING, holds=_FLAG, detail=STRING, rule={"oneOf": [{"type": "null"}, _rule()]}
    )


def _score() -> Json:
    """`keep` is the product of tierWeight, standing, usesPerHour and sizeFactor."""
    newer = _object(name=STRING, firstSeen=_TIME)
    return _object(
        keep=_NUMBER,
        tier=STRING,
        tierWeight=_NUMBER,
        tierRule={"oneOf": [{"type": "null"}, _rule()]},
        standing=_NUMBER,
        supersededBy={"oneOf": [{"type": "null"}, newer]},
        usesPerHour=_NUMBER,
        sizeFactor=_NUMBER,
        pullBytes=WHOLE,
        ownShare={"const": 1.0},
    )


def _rule() -> Json:
    """Where a rule of the policy is, and what it says."""
    return _object(file=STRING, line=WHOLE, column=WHOLE, pattern=STRING, reason=_MAYBE_STRING)


def _removal() -> Json:
    return _object(
        at=_TIME,
        id=STRING,
        names=_list(STRING),
        outcome={"enum": ["removed", "refused", "untagged"]},
        cause=STRING,
        why=STRING,
        account=_MAYBE_STRING,
        error=_MAYBE_STRING,
        sizeBytes=WHOLE,
        expectedBytes=WHOLE,
        freedBytes=_MAYBE_WHOLE,
        freedAbout=_FLAG,
        tookSeconds=_NUMBER,
        firstSeen=_TIME,
        lastUsed=_MAYBE_TIME,
        lastUser=_MAYBE_STRING,
        uses=WHOLE,
        listedAt=_MAYBE_TIME,
        mountpoint=STRING,
        usedBeforeBytes=WHOLE,
        usedAfterBytes=WHOLE,
        highBytes=WHOLE,
        lowBytes=WHOLE,
    )


def _object(**properties: Json) -> Json:
    """All properties are present in every answer; a later version may add more."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _kind(kind: str, **properties: Json) -> Json:
    head = {"apiVersion": {"const": "reconciler/v1"}, "kind": {"const": kind}}
    return _object(**head, at=_TIME, **properties)


def ref(name: str) -> Json:
    """A reference to the schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}
