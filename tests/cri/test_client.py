"""`CriClient` on a real unix socket, with the fake runtime at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import grpc.aio
import pytest

from reconciler.cri.client import CriClient, open_client, socket_path
from reconciler.cri.failures import failure
from reconciler.domain.inventory import ContainerState, EventKind, Volume, image_key
from reconciler.domain.runtime import (
    EventsUnsupported,
    NoSuchObject,
    RuntimeFailure,
    RuntimeRefused,
    RuntimeTooLate,
    RuntimeUnavailable,
)
from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.habits import (
    ALL,
    CONTAINERD_1_6,
    CONTAINERD_2,
    CONTAINERD_2_4,
    CRIO,
    Habits,
)
from reconciler.fake_runtime.node import Node, Refused, layer
from reconciler.fake_runtime.server import FakeRuntimeServer
from tests.builders import HANGS

from ..builders import T0, digest

APP = "reg.example/app:v1"
DATA = "reg.example/data:v1"


def a_node(habits: Habits = CONTAINERD_2) -> Node:
    """A node with one pod of one running container."""
    node = Node(habits)
    node.publish(APP, [layer("app", 1000)])
    node.pull(APP, T0)
    pod = node.run_pod("web", T0)
    node.start(node.create(pod.id, APP, T0).id, T0)
    return node


@asynccontextmanager
async def served(node: Node, path: Path) -> AsyncIterator[tuple[FakeRuntimeServer, CriClient]]:
    """The node on a socket, and a client of it."""
    where = str(path / "cri.sock")
    async with FakeRuntimeServer(node, where, lambda: T0) as runtime, open_client(where) as client:
        yield runtime, client


def counted(runtime: FakeRuntimeServer) -> list[str]:
    """The names of the list methods that were called, as they are called."""
    called: list[str] = []

    def noting(name: str) -> Any:
        async def note(request: Any) -> None:
            called.append(name)

        return note

    for name in ("ListImages", "ListContainers", "ListPodSandbox"):
        runtime.faults[name] = noting(name)
    for name in ("StreamImages", "StreamContainers", "StreamPodSandboxes"):
        runtime.faults[name] = noting(name)
    return called


def failing(code: str, text: str) -> Any:
    """A fault: every call is answered with this error."""

    async def fail(request: Any) -> None:
        raise Refused(code, text)

    return fail


# --- listings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("habits", ALL.values(), ids=ALL.keys())
async def test_a_listing_is_the_node(habits: Habits, tmp_path: Path) -> None:
    """Every image, container and sandbox of the node is in the listing, and nothing else."""
    node = a_node(habits)
    async with served(node, tmp_path) as (_, client):
        listing = await client.list_all()
    assert {image.key: image.tags for image in listing.images} == {
        key: tuple(image.tags) for key, image in node.images.items()
    }
    assert {container.id: container.state for container in listing.containers} == {
        key: container.state for key, container in node.containers.items()
    }
    assert {sandbox.id for sandbox in listing.sandboxes} == node.sandboxes.keys()


@pytest.mark.parametrize("habits", [CONTAINERD_2, CONTAINERD_2_4], ids=["unary", "streamed"])
@pytest.mark.parametrize("poorer_last", [True, False])
@pytest.mark.parametrize("bare", [True, False], ids=["one-id-bare", "ids-alike"])
async def test_an_image_in_two_entries_loses_neither_its_pin_nor_a_name(
    habits: Habits, poorer_last: bool, bare: bool, tmp_path: Path
) -> None:
    """The entry that is read last must not stand for the whole image: the other may be pinned, or
    have the name that an exclusion or a container means. So also where one writes the id bare, and
    when the list is sent again."""
    node = a_node(habits)
    (app,) = (one for one in node.images.values() if APP in one.tags)
    app.pinned = True
    node.tag(app, DATA)
    async with served(node, tmp_path) as (runtime, client):
        images = runtime.calls.images

        def twice(request: Any) -> Any:
            for one in images(request):
                rich = pb.Image(id=one.id, repo_tags=one.repo_tags[:1], size=one.size, pinned=True)
                poor = pb.Image(
                    id=image_key(one.id) if bare else one.id,
                    repo_tags=one.repo_tags,
                    repo_digests=one.repo_digests,
                )
                yield from (rich, poor) if poorer_last else (poor, rich)

        runtime.calls.images = twice  # type: ignore[method-assign] # for as long as this lasts
        listed = (await client.list_all()).images
        assert (await client.list_all()).images == listed
    assert len(listed) == len(node.images)
    (found,) = (one for one in listed if one.key == app.hex_id)
    assert sorted(found.tags) == [APP, DATA]
    assert found.digests == tuple(app.digests)
    assert (found.size, found.pinned) == (app.compressed, True)


@pytest.mark.parametrize("habits", ALL.values(), ids=ALL.keys())
async def test_the_rule_of_identity_finds_the_true_image_on_every_runtime(
    habits: Habits, tmp_path: Path
) -> None:
    """image_id, else image_ref: after its tag moved a container still leads to its own image."""
    node = a_node(habits)
    before = next(iter(node.containers.values())).image
    node.publish(APP, [layer("app, pushed again", 1000)])
    node.pull(APP, T0)
    async with served(node, tmp_path) as (_, client):
        listing = await client.list_all()
    (container,) = listing.containers
    assert image_key(container.image_id or container.image_ref) == before.hex_id


async def test_a_listing_is_stamped_by_the_clock_that_decisions_are_made_by(tmp_path: Path) -> None:
    """A last use stamped by a wall clock that was set back would be old enough at once."""
    where = str(tmp_path / "cri.sock")
    ticks = iter((500.0, 501.0))
    clocked = open_client(where, clock=lambda: next(ticks))
    async with FakeRuntimeServer(a_node(), where, lambda: T0), clocked as client:
        listing = await client.list_all()
    assert (listing.began_at, listing.ended_at) == (500.0, 501.0)


async def test_lists_are_streamed_where_the_runtime_can(tmp_path: Path) -> None:
    """A list of 11,000 containers breaks containerd's 16 MiB message; streamed it arrives."""
    async with served(a_node(CONTAINERD_2_4), tmp_path) as (runtime, client):
        called = counted(runtime)
        await client.list_all()
    assert called == ["StreamImages", "StreamContainers", "StreamPodSandboxes"]


async def test_a_runtime_without_streams_is_asked_for_them_once(tmp_path: Path) -> None:
    """Three refused calls for every listing would be most of its cost on a small node."""
    async with served(a_node(CONTAINERD_2), tmp_path) as (runtime, client):
        called = counted(runtime)
        await client.list_all()
        await client.list_all()
    unary = ["ListImages", "ListContainers", "ListPodSandbox"]
    assert called == ["StreamImages", *unary, *unary]


async def test_a_runtime_that_was_upgraded_is_asked_for_streams_again(tmp_path: Path) -> None:
    """Every reconnect asks for the version, and what was remembered of the old one is dropped."""
    node = a_node(CONTAINERD_2)
    async with served(node, tmp_path) as (runtime, client):
        await client.list_all()
        node.habits = CONTAINERD_2_4
        assert (await client.version()).version == "2.4.0"
        called = counted(runtime)
        await client.list_all()
    assert called == ["StreamImages", "StreamContainers", "StreamPodSandboxes"]


async def test_a_failing_stream_fails_the_listing_instead_of_shortening_it(tmp_path: Path) -> None:
    """Half a list of containers reads as "the others are gone", and their images as unused."""
    node = a_node(CONTAINERD_2_4)
    async with served(node, tmp_path) as (runtime, client):

        async def half(request: Any, context: Any) -> AsyncIterator[pb.StreamContainersResponse]:
            yield pb.StreamContainersResponse(containers=list(runtime.calls.containers(request)))
            await context.abort(grpc.StatusCode.INTERNAL, "out of breath")

        runtime.stream_containers = half  # type: ignore[method-assign] # it breaks off
        await runtime.stop()
        await runtime.start()
        with pytest.raises(RuntimeRefused, match=r"StreamContainers at .*INTERNAL: out of breath"):
            await client.list_all()


@pytest.mark.parametrize(
    ("habits", "mebibytes"), [(CONTAINERD_2, 5), (CRIO, 5), (CONTAINERD_2, 78)]
)
async def test_a_big_nodes_list_arrives_whole(
    habits: Habits, mebibytes: int, tmp_path: Path
) -> None:
    """grpc accepts no more than 4 MiB by default; CRI-O sends up to 80."""
    node = a_node(habits)
    heavy = "x" * (1 << 18)  # one label of 256 KiB
    pod = next(iter(node.sandboxes))
    for _ in range(mebibytes * 4):
        node.create(pod, APP, T0, labels={"heavy": heavy})
    async with served(node, tmp_path) as (_, client):
        listing = await client.list_all()
    assert len(listing.containers) == mebibytes * 4 + 1


async def test_values_are_kept_between_listings_only_while_nothing_changed(tmp_path: Path) -> None:
    """An exit between two listings must be seen; what stayed as it was costs nothing."""
    node = a_node()
    pod = next(iter(node.sandboxes))
    other = node.create(pod, APP, T0)
    async with served(node, tmp_path) as (_, client):
        before = {one.id: one for one in (await client.list_all()).containers}
        node.start(other.id, T0)
        node.exit(other.id, T0)
        after = {one.id: one for one in (await client.list_all()).containers}
    assert after.pop(other.id).state is ContainerState.EXITED
    (kept,) = after
    assert after[kept] is before[kept]


async def test_an_upgraded_runtimes_new_fields_are_taken_up(tmp_path: Path) -> None:
    """containerd 2.3 begins to report image_id, also for containers older than the upgrade."""
    node = a_node(CONTAINERD_2)
    async with served(node, tmp_path) as (_, client):
        (before,) = (await client.list_all()).containers
        node.habits = CONTAINERD_2_4
        (after,) = (await client.list_all()).containers
    assert (before.id, before.image_id) == (after.id, "")
    assert after.image_id == after.image_ref


async def test_nothing_of_one_runtime_is_taken_for_another(tmp_path: Path) -> None:
    """Same socket, same ids, another runtime: recognised by what a listing says, not by memory."""
    where = str(tmp_path / "cri.sock")
    other = Node(CRIO)
    for name in ("reg.example/first:1", "reg.example/second:1"):
        other.publish(name, [layer(name, 1)])
        other.pull(name, T0 + 9)
    pod = other.run_pod("db", T0 + 9)
    other.start(other.create(pod.id, "reg.example/second:1", T0 + 9).id, T0 + 9)
    async with open_client(where) as client:
        async with FakeRuntimeServer(a_node(), where):
            (before,) = (await client.list_all()).containers
        async with FakeRuntimeServer(other, where):
            try:
                listing = await client.list_all()
            except RuntimeUnavailable:  # it was sent while the first one's connection broke
                listing = await client.list_all()
    (container,) = listing.containers
    (sandbox,) = listing.sandboxes
    assert container.id == before.id  # the fake runtime counts, real ones draw lots
    assert container.image_id == other.containers[container.id].image.hex_id
    assert sandbox.name == "default/db"


# --- questions about one thing -------------------------------------------------------------------


async def test_volumes_and_pause_images_are_asked_for_by_id(tmp_path: Path) -> None:
    """What no list reports is asked for by id; the manifest is that of the moment of mounting."""
    node = a_node()
    node.publish(DATA, [layer("data", 10)])
    data = node.pull(DATA, T0)
    pod = next(iter(node.sandboxes))
    made = node.create(pod, APP, T0, volumes={"/data": DATA})
    async with served(node, tmp_path) as (_, client):
        volumes = await client.volumes_of(made.id)
        pause = await client.pause_of(pod)
    manifest = data.digests[0].partition("@")[2]
    assert volumes == (Volume(DATA, manifest),)
    assert node.pause_name in (pause or ())


async def test_a_sandbox_that_runs_on_no_image_is_recognised(tmp_path: Path) -> None:
    """A VM's: held back for want of its pause image, no image would ever go."""
    node = a_node(replace(CONTAINERD_2_4, pauseless=True))
    pod = node.run_pod("vm", T0)
    async with served(node, tmp_path) as (_, client):
        assert await client.pause_of(pod.id) is None


async def test_the_configured_pause_image_is_known_where_a_runtime_reports_it(
    tmp_path: Path,
) -> None:
    """containerd 1.x and CRI-O name it, 2.x does not."""
    for number, habits in enumerate((CONTAINERD_1_6, CRIO, CONTAINERD_2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        node = a_node(habits)
        expected = node.pause_name if habits.reports_configured_pause else None
        async with served(node, folder) as (_, client):
            assert await client.configured_pause() == expected


async def test_only_image_filesystems_are_measured(tmp_path: Path) -> None:
    """CRI-O names a container filesystem too; each mountpoint is reported once."""
    node = a_node(CRIO)
    async with served(node, tmp_path) as (_, client):
        assert await client.image_mountpoints() == (node.mountpoint,)


async def test_what_is_gone_is_distinguished_from_what_failed(tmp_path: Path) -> None:
    """A container that ended between list and question calls for a new listing, not for a hold."""
    async with served(a_node(), tmp_path) as (_, client):
        with pytest.raises(NoSuchObject, match=r"ContainerStatus at .*not found"):
            await client.volumes_of(digest("gone"))
        with pytest.raises(NoSuchObject, match=r"PodSandboxStatus at .*not found"):
            await client.pause_of(digest("gone"))


# --- removal -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "aa63", APP, "sha256:", "sha256:" + "a" * 63, "A" * 64, "a" * 65, " " + "a" * 64],
)
async def test_only_a_full_id_can_be_removed(text: str, tmp_path: Path) -> None:
    """containerd removes a lone image for an empty text, and any that a short one begins: such a
    text is never sent, no matter who asks."""
    node = a_node()
    async with served(node, tmp_path) as (runtime, client):
        with pytest.raises(ValueError, match="only a full image id"):
            await client.remove_image(text)
        assert runtime.calls.removals == []
        assert len(node.images) == 2


async def test_a_full_id_is_sent_exactly_as_listed(tmp_path: Path) -> None:
    """CRI-O answers OK to the other form, and removes nothing."""
    for number, habits in enumerate((CONTAINERD_2, CRIO)):
        folder = tmp_path / str(number)
        folder.mkdir()
        node = a_node(habits)
        node.publish(DATA, [layer("data", 10)])
        node.pull(DATA, T0)
        async with served(node, folder) as (runtime, client):
            listing = await client.list_all()
            (data,) = (image for image in listing.images if DATA in image.tags)
            await client.remove_image(data.id)
            assert [one.text for one in runtime.calls.removals] == [data.id]
        assert data.key not in node.images


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"])
async def test_every_code_becomes_a_failure_that_says_what_to_do(
    code: grpc.StatusCode, tmp_path: Path
) -> None:
    """None escapes as grpc's own, which nobody above would catch: it would end the daemon."""
    gone = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}
    async with served(a_node(), tmp_path) as (runtime, client):
        runtime.faults["Version"] = failing(code.name, "because")
        with pytest.raises(RuntimeFailure, match=f"Version at .*{code.name}: because") as caught:
            await client.version()
    if code.name in gone:
        late = code.name == "DEADLINE_EXCEEDED"
        assert caught.type is (RuntimeTooLate if late else RuntimeUnavailable)
    elif code.name == "NOT_FOUND":
        assert caught.type is NoSuchObject
    else:
        assert isinstance(caught.value, RuntimeRefused)
        assert caught.value.code == code.name


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"])
async def test_every_code_at_the_end_of_the_events_is_a_failure_too(
    code: grpc.StatusCode, tmp_path: Path
) -> None:
    """Only UNIMPLEMENTED means that there are no events; all else is a stream to open again."""
    async with served(a_node(), tmp_path) as (runtime, client):
        runtime.faults["GetContainerEvents"] = failing(code.name, "because")
        with pytest.raises(RuntimeFailure, match="because") as caught:
            await anext(client.container_events())
    assert (caught.type is EventsUnsupported) == (code.name == "UNIMPLEMENTED")


async def test_a_runtime_without_events_says_so(tmp_path: Path) -> None:
    """containerd 1.6: the daemon lives on listings, and knows it."""
    async with served(a_node(CONTAINERD_1_6), tmp_path) as (_, client):
        with pytest.raises(EventsUnsupported, match="not implemented"):
            await anext(client.container_events())


@pytest.mark.parametrize("call", ["GetContainerEvents", "Version"])
def test_a_runtime_still_coming_up_is_not_one_without_events(call: str) -> None:
    """A socket that answers before its CRI plugin is there: to be asked again soon, not in ten
    minutes."""
    text = "unknown service runtime.v1.RuntimeService"
    error = failure(call, "/x", grpc.StatusCode.UNIMPLEMENTED, text)
    assert type(error) is RuntimeUnavailable


@pytest.fixture
def hall() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="reconciler-test-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


async def unavailable(path: Path) -> str:
    """What the client says of a socket that does not answer."""
    async with open_client(str(path), patience=5) as client:
        with pytest.raises(RuntimeUnavailable) as caught:
            await client.version()
    return str(caught.value)


async def test_a_socket_that_is_not_there_is_named(hall: Path) -> None:
    """The most common mistake of all: another runtime, or a mount that is missing."""
    assert "/no.sock: no such socket" in await unavailable(hall / "no.sock")


async def test_a_plain_file_is_not_a_socket(hall: Path) -> None:
    """The configuration file instead of the socket."""
    file = hall / "config.toml"
    file.write_text("")
    assert "config.toml: not a socket" in await unavailable(file)


async def test_a_dead_runtimes_socket_is_distinguished_from_a_missing_one(hall: Path) -> None:
    """Killed, a runtime leaves its socket behind: nobody listens there."""
    path = hall / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    text = await unavailable(path)
    assert "UNAVAILABLE" in text
    assert "no such socket" not in text


async def test_a_socket_that_only_root_may_use_is_an_error_with_words(hall: Path) -> None:
    """Started without root the text says so, instead of "connection refused"."""
    path = hall / "root.sock"
    async with FakeRuntimeServer(a_node(), str(path)):
        path.chmod(0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            text = await unavailable(path)
        finally:
            os.seteuid(before)
    assert "permission denied; this needs to run as a user who may use the socket" in text


async def test_an_answer_that_does_not_decode_is_a_failure(tmp_path: Path) -> None:
    """grpc logs it and returns nothing: taken for an answer it would end the daemon, taken for
    an empty one it would say that no container is there."""

    async def garbage(request: Any, context: Any) -> bytes:
        return b"\xff\xff\xff"

    async def garbled(request: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"\xff\xff\xff"

    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    methods = {
        "Version": unary(garbage),
        "GetContainerEvents": stream(garbled),
        "StreamImages": stream(garbled),
    }
    server = grpc.aio.server()
    for service in ("RuntimeService", "ImageService"):
        generic = grpc.method_handlers_generic_handler(f"runtime.v1.{service}", methods)
        server.add_generic_rpc_handlers((generic,))
    path = str(tmp_path / "cri.sock")
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        async with open_client(path) as client:
            with pytest.raises(RuntimeRefused, match=r"Version at .*not a message we can read"):
                await client.version()
            with pytest.raises(
                RuntimeRefused, match=r"StreamImages at .*not a message we can read"
            ):
                await client.list_all()
            with pytest.raises(RuntimeRefused, match="not a message we can read"):
                await anext(client.container_events())
    finally:
        await server.stop(None)


async def test_one_item_that_does_not_decode_fails_the_whole_list(tmp_path: Path) -> None:
    """Items are decoded one by one: one left out would be a container that nobody knows of."""

    async def garbled(request: Any, context: Any) -> AsyncIterator[bytes]:
        good = pb.StreamImagesResponse(images=[pb.Image(id="sha256:" + "a" * 64)])
        yield good.SerializeToString() + b"\x0a\x03\xff\xff\xff"

    methods = {"StreamImages": grpc.unary_stream_rpc_method_handler(garbled)}
    server = grpc.aio.server()
    generic = grpc.method_handlers_generic_handler("runtime.v1.ImageService", methods)
    server.add_generic_rpc_handlers((generic,))
    path = str(tmp_path / "cri.sock")
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        async with open_client(path) as client:
            with pytest.raises(
                RuntimeRefused, match=r"list of Images at .*not a message we can read"
            ):
                await client.list_all()
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("unix:///run/x.sock", "/run/x.sock"),
        ("unix:/run/x.sock", "/run/x.sock"),
        ("/run/x.sock", "/run/x.sock"),
    ],
)
def test_endpoints_are_taken_as_crictl_takes_them(endpoint: str, path: str) -> None:
    """One spelling less is one node where the daemon does not start."""
    assert socket_path(endpoint) == path


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:1", "run/x.sock", "", "npipe://x"])
def test_an_endpoint_that_is_no_socket_is_refused(endpoint: str) -> None:
    """CRI over a network is not supported."""
    with pytest.raises(ValueError, match="expected unix:///PATH or an absolute path"):
        socket_path(endpoint)


# --- events, cancellation, restarts --------------------------------------------------------------


async def test_events_arrive_translated_in_order(tmp_path: Path) -> None:
    """From the moment of subscribing on, each with its pod."""
    node = a_node()
    (container,) = node.containers
    async with served(node, tmp_path) as (_, client):
        events = client.container_events()
        node.exit(container, T0 + 1)
        node.remove(container, T0 + 2)
        received = [await anext(events) for _ in range(2)]
        await events.aclose()  # type: ignore[attr-defined] # a generator, though typed an iterator
    assert [(one.subject_id, one.kind, one.created_at) for one in received] == [
        (container, EventKind.STOPPED, T0 + 1),
        (container, EventKind.DELETED, T0 + 2),
    ]


async def until(holds: Callable[[], bool]) -> None:
    """Lets everybody else run until it holds; fails after seconds rather than hang."""
    with anyio.fail_after(HANGS):
        while not holds():
            await anyio.lowlevel.checkpoint()


async def test_a_cancelled_question_ends_in_the_scope_that_was_cancelled(tmp_path: Path) -> None:
    """grpc answers cancellation with an error of its own, which a scope of anyio does not
    recognise: it would escape, and end the daemon wherever a call was given up."""
    async with served(a_node(), tmp_path) as (runtime, client):
        asked = asyncio.Event()

        async def hang(request: Any) -> None:
            asked.set()
            await asyncio.Event().wait()

        async def cancel_when_asked(scope: anyio.CancelScope) -> None:
            await asked.wait()
            scope.cancel()

        runtime.faults["Version"] = hang
        async with anyio.create_task_group() as around:
            with anyio.CancelScope() as scope:
                around.start_soon(cancel_when_asked, scope)
                await client.version()
            assert scope.cancelled_caught
        runtime.faults.clear()
        assert (await client.version()).name == "containerd"  # and the client works on


async def test_a_left_event_stream_is_given_back(tmp_path: Path) -> None:
    """A subscriber that is gone but not unsubscribed blocks the node on containerd 2.x."""
    node = a_node()
    async with served(node, tmp_path) as (runtime, client):
        async with anyio.create_task_group() as group:

            async def read() -> None:
                async for _ in client.container_events():
                    pass

            group.start_soon(read)
            await until(lambda: runtime.subscribers == 1)
            group.cancel_scope.cancel()
        await until(lambda: runtime.subscribers == 0)
        assert (await client.version()).name == "containerd"


async def test_the_client_finds_a_restarted_runtime_by_itself(tmp_path: Path) -> None:
    """grpc's own backoff grows to two minutes; ours must not: a restart takes a second."""
    node = a_node()
    async with served(node, tmp_path) as (runtime, client):
        before = await client.list_all()
        await runtime.stop()
        with pytest.raises(RuntimeUnavailable):
            await client.list_all()
        await runtime.start()
        after = None
        with anyio.fail_after(HANGS):
            while after is None:
                with contextlib.suppress(RuntimeUnavailable):
                    after = await client.list_all()
    assert after is not None
    assert after.containers == before.containers
