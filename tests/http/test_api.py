"""What /api/v1 answers, and which commands it refuses."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.applications import Starlette

from reconciler.domain.decision import decide
from reconciler.domain.facts import Fact, Paused, ReclaimAsked, Resumed
from reconciler.domain.pattern import parse_pattern
from reconciler.domain.plan import Plan
from reconciler.domain.policy import Mode, Place, Required
from reconciler.domain.state import State
from reconciler.http import server
from reconciler.http.health import Pulse
from reconciler.http.status import BIG
from reconciler.http.view import View
from reconciler.store.history import Entry, History
from reconciler.telemetry.metrics import Metrics
from reconciler.telemetry.recent import Recent
from tests.builders import (
    DAY,
    GIB,
    HANGS,
    T0,
    container,
    exclusion,
    image,
    policy,
    sandbox,
    state_of,
)
from tests.test_history import ONE

from .asgi import ask, listen

NOW = T0 + DAY
USED, FREE, EXCLUDED = (image(n, GIB) for n in ("used:v1", "free:v1", "keep/me:v1"))
READING = [
    ("status", "Status"),
    ("images", "ImageList"),
    ("images/used:v1", "Image"),
    ("plan", "Plan"),
    ("events", "EventList"),
    ("history", "History"),
    ("policy", "Policy"),
    ("usage", "Usage"),
]


class Application:
    """The HTTP application on a state of our own, and the facts it submitted to the loop."""

    def __init__(
        self,
        folder: Path,
        state: State,
        token: str | None = None,
        open_to_token: bool = False,
    ) -> None:
        self.submitted: list[Fact] = []
        self.latest: tuple[float, Plan] | None = None
        self.recent = Recent()
        self.recent.sampled(state)
        self.recent.add({"event": "removed", "level": "info", "timestamp": "2027-01-15T08:00:00Z"})
        history = History(folder)
        history.add([ONE])
        history.close()

        async def entries(count: int, since: float, image: str) -> tuple[Entry, ...]:
            return history.newest(count, since, image)

        token_file = folder / "token" if token is not None else None
        if token_file is not None:
            token_file.write_text(f"{token}\n")
        self.token_file = token_file
        self.app: Starlette = server.application(
            View(
                state=state,
                pulse=Pulse(lambda: 0.0),
                metrics=Metrics(),
                recent=self.recent,
                clock=lambda: NOW,
                history=entries,
                submit=self.submitted.append,
                latest=lambda: self.latest,
                began_at=T0,
                token_file=token_file,
                open_to_token=open_to_token,
            )
        )


def state(mode: Mode = Mode.ENFORCE) -> State:
    rules = (exclusion("reg.example/keep/**", reason="cold start"),)
    required = (Required(parse_pattern("reg.example/gone"), Place("policy.yaml", 9, 3)),)
    in_force = policy(mode=mode, exclusions=rules, required=required)
    return state_of([USED, FREE, EXCLUDED], [container("c", USED)], [sandbox()], in_force=in_force)


@pytest.fixture
def seen(tmp_path: Path) -> Application:
    return Application(tmp_path, state())


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def exactly(schema: Any) -> Any:
    """A schema by which objects have no field that it does not name; those that it names are
    required as it is."""
    if isinstance(schema, list):
        return [exactly(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: exactly(value) for key, value in schema.items()}
    if "properties" in schema and isinstance(schema.get("properties"), dict):
        found |= {"additionalProperties": False}
    return found


@pytest.mark.parametrize(("path", "schema"), READING)
async def test_every_answer_is_what_the_openapi_document_says(
    seen: Application, path: str, schema: str
) -> None:
    """Whoever generated a client from the document can read every answer: no field is missing that
    it promises, and none is there that it hides."""
    document = exactly((await ask(seen.app, "/api/v1/openapi.json")).json)
    whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    answered = await ask(seen.app, f"/api/v1/{path}")
    assert answered.code == 200
    assert answered.json["kind"] == schema
    jsonschema.validate(answered.json, whole, jsonschema.Draft202012Validator)


async def test_the_openapi_document_names_every_route_and_no_other(seen: Application) -> None:
    """No path is served that the document hides, and none is promised that is not served."""
    document = (await ask(seen.app, "/api/v1/openapi.json")).json
    served: dict[str, set[str]] = {}
    for route in seen.app.routes:
        path = str(getattr(route, "path", "")).replace("{query:path}", "{query}")
        methods: set[str] = getattr(route, "methods", set()) - {"HEAD"}
        if path.startswith("/api/"):
            served[path] = {method.lower() for method in methods}
    assert served == {path: set(methods) for path, methods in document["paths"].items()}
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known


async def test_a_big_nodes_status_is_the_loops_own_plan(tmp_path: Path) -> None:
    """Planning for thousands of images for every request would hold up the loop."""
    many = [image(f"app{number}:v1") for number in range(BIG + 1)]
    big = state_of(many)
    seen = Application(tmp_path, big)
    seen.latest = (NOW - 20, decide(big, big.operator.policy, NOW - DAY))
    answered = (await ask(seen.app, "/api/v1/status")).json
    assert answered["counts"]["kept"] == len(many)  # they were young when the loop made its plan
    small = Application(tmp_path, state())
    small.latest = seen.latest
    assert (await ask(small.app, "/api/v1/status")).json["counts"]["candidates"] == 1


async def test_a_plan_from_before_the_last_listing_is_not_shown(tmp_path: Path) -> None:
    """A listing had failed, and half a second after the next one the plan had no image yet."""
    listed = state()
    listed.runtime.listed_at = NOW - 0.4
    seen = Application(tmp_path, listed)
    seen.latest = (NOW - 0.5, decide(State(T0), None, NOW - 0.5))
    plan = (await ask(seen.app, "/api/v1/plan")).json
    assert len(plan["candidates"]) + len(plan["kept"]) == 3


async def test_times_are_those_of_the_clock_that_people_have(
    seen: Application, tmp_path: Path
) -> None:
    """NTP set the clock an hour on while the daemon ran: log and answers agree on the time."""
    before = (await ask(seen.app, "/api/v1/images/free:v1")).json
    (tmp_path / "set").mkdir()
    later = state()
    later.wall_ahead = 3600.0
    after = (await ask(Application(tmp_path / "set", later).app, "/api/v1/images/free:v1")).json
    for then, now in ((before, after), (before["image"], after["image"])):
        at = "firstSeen" if "firstSeen" in then else "at"
        gap = datetime.fromisoformat(now[at]) - datetime.fromisoformat(then[at])
        assert gap.total_seconds() == 3600


async def test_every_image_is_listed_with_its_verdict_and_what_keeps_it(seen: Application) -> None:
    """Why is this image still here? The list says it for each."""
    answered = await ask(seen.app, "/api/v1/images")
    verdicts = {
        one["id"]: (one["verdict"], [p["kind"] for p in one["protections"]])
        for one in answered.json["items"]
    }
    assert verdicts[USED.id] == ("kept", ["in-use"])
    assert verdicts[FREE.id] == ("candidate", [])
    assert verdicts[EXCLUDED.id] == ("kept", ["excluded"])


async def test_one_image_is_shown_with_who_uses_it(seen: Application) -> None:
    """Every kind has its verdict, and every user a name."""
    answered = (await ask(seen.app, "/api/v1/images/used:v1")).json
    assert [(one["kind"], one["name"]) for one in answered["usedBy"]] == [("container", "c")]
    assert len(answered["image"]["protections"]) == 12


async def test_an_unknown_or_ambiguous_image_is_an_error_with_words(
    tmp_path: Path,
) -> None:
    """A typo is answered with what to do, and several matches with the choice."""
    twins = [image("app:v1"), image("app:v2")]
    seen = Application(tmp_path, state_of(twins))
    assert (await ask(seen.app, "/api/v1/images/nginx")).code == 404
    several = await ask(seen.app, "/api/v1/images/reg.example/app")
    assert several.code == 409
    assert {one["id"] for one in several.json["choices"]} == {one.id for one in twins}


async def test_a_missing_required_image_is_shown_with_the_rules_place(seen: Application) -> None:
    """The image that must be here and is not: which rule says so, and where it is."""
    answered = (await ask(seen.app, "/api/v1/status")).json
    assert answered["requiredMissing"] == [
        {"pattern": "reg.example/gone", "place": "policy.yaml:9:3"}
    ]


async def test_the_history_is_filtered_by_image_and_time(seen: Application) -> None:
    """Why is this image gone? Only its removal is listed."""
    assert len((await ask(seen.app, "/api/v1/history?image=app")).json["items"]) == 1
    assert (await ask(seen.app, "/api/v1/history?image=other")).json["items"] == []
    assert (await ask(seen.app, "/api/v1/history?since=2000")).json["items"] == []


@pytest.mark.parametrize(
    "asked",
    [
        "history?count=nonsense",
        "history?count=1001",
        "history?count=-1",
        "history?count=%C2%B2",  # a digit to Python, and no number
        f"history?since={'9' * 5000}",
        f"history?image={'x' * 513}",
        "events?after=1e9",
        "images?limit=many",
        f"images?continue={'x' * 513}",
        f"images/{'x' * 513}",
    ],
)
async def test_an_invalid_query_is_not_read_as_another(seen: Application, asked: str) -> None:
    """A wrong value is answered with what was expected, not with what was not asked for."""
    answered = await ask(seen.app, f"/api/v1/{asked}")
    assert answered.code == 400
    assert "expected" in answered.json["error"]


@pytest.mark.parametrize("last", ["9" * 5000, "\u00b2", "-1", "x", "", "7000"])
async def test_a_page_with_an_unknown_last_line_gets_all_lines(
    seen: Application, last: str
) -> None:
    """After a restart a browser sends another process's number; a stranger may send anything."""
    received = await listen(seen.app, "/api/v1/stream", 2, {"Last-Event-ID": last})
    assert received[1][1]["event"] == "removed"


async def test_a_long_list_is_read_in_pages_that_miss_nothing(tmp_path: Path) -> None:
    """Each page says what to ask for next; together they are the list."""
    many = [image(f"app{number}:v1") for number in range(7)]
    seen = Application(tmp_path, state_of(many))
    found: list[str] = []
    after, left = "", 7
    while left:
        page = (await ask(seen.app, f"/api/v1/images?limit=3&continue={after}")).json
        found += [one["id"] for one in page["items"]]
        after, left = page["metadata"]["continue"], page["metadata"].get("remainingItemCount", 0)
    assert found == sorted(one.id for one in many)
    assert (await ask(seen.app, "/api/v1/images")).json["metadata"] == {"continue": ""}


@pytest.mark.parametrize("path", ["images", "plan"])
async def test_a_big_answer_is_the_same_compressed(seen: Application, path: str) -> None:
    """A browser gets it compressed, with the same content as curl."""
    plain = await ask(seen.app, f"/api/v1/{path}")
    packed = await ask(seen.app, f"/api/v1/{path}", headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert int(plain.headers["content-length"]) == len(plain.body)
    refused = await ask(seen.app, f"/api/v1/{path}", headers={"Accept-Encoding": "br, gzip;q=0"})
    assert refused.body == plain.body


async def test_a_policy_file_whose_name_is_no_text_is_shown_all_the_same(tmp_path: Path) -> None:
    """Its name made every answer of /api/v1/policy an error."""
    place = Place(os.fsdecode(b"/etc/reconciler/\xff.yaml"), 3, 5)
    required = Required(parse_pattern("reg.example/gone"), place)
    found = state_of([USED], in_force=policy(required=(required,)))
    seen = Application(tmp_path, found)
    answered = await ask(seen.app, "/api/v1/policy")
    assert answered.code == 200
    assert answered.body.isascii()


@pytest.mark.parametrize("path", ["pause", "resume", "reclaim"])
async def test_nothing_is_commanded_without_a_token_file(seen: Application, path: str) -> None:
    """By default the API changes nothing, whoever asks and whatever they send."""
    answered = await ask(seen.app, f"/api/v1/{path}", "POST", {"Authorization": "Bearer x"})
    assert answered.code == 403
    assert "--token-file" in answered.json["error"]
    assert seen.submitted == []


@pytest.mark.parametrize(
    "authorization", ["", "Bearer ", "Bearer wrong", "Basic s3cret", "Bearer é"]
)
async def test_a_wrong_token_commands_nothing(tmp_path: Path, authorization: str) -> None:
    """Only the file's own text is accepted; with an empty file nothing is."""
    for token in ("s3cret", ""):
        tried = Application(tmp_path, state(), token)
        answered = await ask(tried.app, "/api/v1/pause", "POST", {"Authorization": authorization})
        assert answered.code == 401
        assert tried.submitted == []


async def test_a_token_that_the_daemon_cannot_read_is_reported_as_such(tmp_path: Path) -> None:
    """An operator with the right token does not read that it is the wrong one."""
    seen = Application(tmp_path, state(), "s3cret")
    assert seen.token_file is not None
    seen.token_file.unlink()
    answered = await ask(seen.app, "/api/v1/pause", "POST", {"Authorization": "Bearer s3cret"})
    assert answered.code == 401
    assert "No such file" in answered.json["error"]


async def test_a_fifo_for_a_token_is_reported_and_blocks_no_thread(tmp_path: Path) -> None:
    """Each request waited in a thread for a writer that never came, until no thread was left."""
    seen = Application(tmp_path, state(), "s3cret")
    assert seen.token_file is not None
    seen.token_file.unlink()
    os.mkfifo(seen.token_file)
    asked = ask(seen.app, "/api/v1/pause", "POST", {"Authorization": "Bearer s3cret"})
    try:
        answered = await asyncio.wait_for(asyncio.ensure_future(asked), 30)
    finally:
        _write_to_whoever_reads(seen.token_file)
    assert answered.code == 401
    assert "expected a regular file, found a FIFO" in answered.json["error"]


def _write_to_whoever_reads(fifo: Path) -> None:
    """Ends a thread that waits for a writer: the tests after this one would wait with it."""
    os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))


async def test_the_token_commands_and_may_be_rotated(tmp_path: Path) -> None:
    """Pause, resume and reclaim reach the loop as facts; a new token is accepted at once."""
    seen = Application(tmp_path, state(), "first")
    for path in ("pause", "resume", "reclaim"):
        answered = await ask(seen.app, f"/api/v1/{path}", "POST", {"Authorization": "Bearer first"})
        assert answered.code == 202
    assert [type(fact) for fact in seen.submitted] == [Paused, Resumed, ReclaimAsked]
    assert seen.token_file is not None
    seen.token_file.write_text("second")
    old = await ask(seen.app, "/api/v1/pause", "POST", {"Authorization": "Bearer first"})
    assert old.code == 401
    assert (await ask(seen.app, "/api/v1/pause", "GET")).code == 405


async def test_reclaim_is_refused_in_mode_observe(tmp_path: Path) -> None:
    """With observe nothing is to be removed; the answer says what to do instead."""
    seen = Application(tmp_path, state(Mode.OBSERVE), "s3cret")
    answered = await ask(seen.app, "/api/v1/reclaim", "POST", {"Authorization": "Bearer s3cret"})
    assert answered.code == 409
    assert "observe" in answered.json["error"]
    assert seen.submitted == []


async def test_an_open_page_gets_the_status_and_every_line_once(seen: Application) -> None:
    """Live without reloading: the status at once, then the lines; a reader that comes back gets
    only what it missed."""
    first = await listen(seen.app, "/api/v1/stream", 2)
    assert [event for event, _ in first] == ["status", "line"]
    number = str(first[1][1]["number"])
    seen.recent.add({"event": "missed", "level": "info", "timestamp": "2027-01-15T08:00:01Z"})
    again = await listen(seen.app, "/api/v1/stream", 2, {"Last-Event-ID": number})
    assert again[1][1]["event"] == "missed"


async def test_pages_that_are_left_make_room_for_others(seen: Application) -> None:
    """A browser that comes and goes all day never uses up the places."""
    for _ in range(40):
        await listen(seen.app, "/api/v1/stream", 1)
    assert len(await asyncio.wait_for(listen(seen.app, "/api/v1/stream", 1), HANGS)) == 1
