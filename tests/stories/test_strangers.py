"""Containers that no list of CRI holds: `nerdctl` and `ctr` made them next to Kubernetes' own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from reconciler.cri._pb import containerd_pb2 as pb
from reconciler.cri.rpc import open_channel
from reconciler.cri.strangers import METHOD, REQUEST, Strangers
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.facts import Listed
from reconciler.domain.inventory import Image, Listing, Stranger
from reconciler.domain.lookup import user_names
from reconciler.domain.missing import missing_in_use
from reconciler.domain.protections.protection import Kind
from reconciler.domain.runtime import RuntimeFailure, RuntimeRefused, RuntimeUnavailable
from reconciler.domain.state import State
from tests.builders import CONTAINERD, DAY, GIB, T0, image, policy, state_of

APP, OTHER = image("app:v1", GIB), image("other:v1", GIB)
MINE = Stranger("mine", "reg.example/app:v1")


def listed(state: State, at: float, *images: Image, strangers: tuple[Stranger, ...] = ()) -> None:
    absorb(Listed(Listing(at, at, images, (), (), strangers), CONTAINERD), state)


def kept(state: State, at: float) -> dict[str, Kind]:
    """The first reason to keep each image, by its id."""
    plan = decide(state, state.operator.policy, at)
    return {one.image.id: one.protections[0].kind for one in plan.kept}


def test_what_a_stranger_was_made_from_is_in_use_until_it_ends() -> None:
    """By whatever name the image was asked for; and it is young from then on."""
    state = state_of([APP, OTHER], seen=T0 - DAY)
    listed(state, T0, APP, OTHER, strangers=(MINE,))
    assert kept(state, T0 + 300) == {APP.id: Kind.IN_USE}
    assert user_names(APP.key, state) == ["container mine, not of Kubernetes"]
    listed(state, T0 + 300, APP, OTHER)
    assert kept(state, T0 + 301) == {APP.id: Kind.YOUNG}
    assert not kept(state, T0 + 500)


def test_a_tag_that_moves_takes_no_image_from_under_a_stranger() -> None:
    """Its name means the new one from then on; it runs on the old one."""
    state = state_of(in_force=policy(minimum_age=0.0))
    listed(state, T0, APP, strangers=(MINE,))
    newer = replace(image("app:v2", GIB), tags=APP.tags)
    listed(state, T0 + 1, replace(APP, tags=()), newer, strangers=(MINE,))
    assert kept(state, T0 + 2) == {APP.id: Kind.IN_USE, newer.id: Kind.IN_USE}


def test_an_image_that_is_gone_from_under_a_stranger_is_missed() -> None:
    """Whoever removed it: the container cannot be made again without it."""
    state = state_of(in_force=policy(minimum_age=0.0))
    listed(state, T0, APP, strangers=(MINE,))
    listed(state, T0 + 1, OTHER, strangers=(MINE,))
    (line,) = missing_in_use(state)
    assert "container mine, which CRI does not list, was made from it" in line


@pytest.mark.parametrize("name", ["never/heard-of:v1", "", "<none>@<none>"])
def test_a_stranger_of_an_unknown_image_holds_nothing(name: str) -> None:
    """Names of containerd's images need not be names at all: `ctr` takes any text."""
    state = state_of(in_force=policy(minimum_age=0.0))
    listed(state, T0, APP, strangers=(Stranger("mine", name),))
    plan = decide(state, state.operator.policy, T0 + 1)
    assert (plan.hold, plan.kept) == (None, ())


@asynccontextmanager
async def answering(answer: Any, path: str) -> AsyncIterator[list[Any]]:
    """A server of this one method; gives what was asked, and in which namespace."""
    asked: list[Any] = []

    async def answers(request: Any, context: Any) -> Any:
        asked.append((request, dict(context.invocation_metadata())["containerd-namespace"]))
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "as the test says")
        return answer

    service, _, method = METHOD.removeprefix("/").partition("/")
    handler = grpc.unary_unary_rpc_method_handler(
        answers,
        request_deserializer=pb.ListContainersRequest.FromString,
        response_serializer=pb.ListContainersResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield asked
    finally:
        await server.stop(None)


async def test_containerd_is_asked_for_those_of_kubernetes_that_cri_did_not_make(
    tmp_path: Path,
) -> None:
    """Its images in other namespaces are none of CRI's, and containers of CRI are listed anyway."""
    where = str(tmp_path / "c.sock")
    answer = pb.ListContainersResponse(containers=[pb.Container(id="mine", image=MINE.image)])
    async with answering(answer, where) as asked, open_channel(where) as channel:
        assert await Strangers(channel, where).listed(5.0) == (MINE,)
    assert asked == [(REQUEST, "k8s.io")]


@pytest.mark.parametrize("code", ["UNIMPLEMENTED", "PERMISSION_DENIED"])
async def test_a_runtime_that_reports_no_strangers_is_not_asked_again(
    code: str, tmp_path: Path
) -> None:
    """CRI-O, or a proxy before the socket: what CRI lists is all that can be known."""
    where = str(tmp_path / "c.sock")
    async with answering(grpc.StatusCode[code], where) as asked, open_channel(where) as channel:
        strangers = Strangers(channel, where)
        assert await strangers.listed(5.0) == ()
        assert await strangers.listed(5.0) == ()
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("code", "failure"), [("UNAVAILABLE", RuntimeUnavailable), ("INTERNAL", RuntimeRefused)]
)
async def test_a_question_after_strangers_that_fails_fails_the_listing(
    code: str, failure: type[RuntimeFailure], tmp_path: Path
) -> None:
    """A failed answer is never taken for there being none."""
    where = str(tmp_path / "c.sock")
    async with answering(grpc.StatusCode[code], where), open_channel(where) as channel:
        strangers = Strangers(channel, where)
        with pytest.raises(failure):
            await strangers.listed(5.0)
        assert strangers.supported
