"""The fake runtime behaves as the protocol says: what is built on it is worth no more than this."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.inventory import ContainerEvent, EventKind
from reconciler.domain.runtime import ImageRuntime, NoSuchObject, RuntimeRefused
from tests.builders import T0, container, image, volume
from tests.engine.world import Clock, FakeRuntime

APP = image("app:v1")


def node() -> FakeRuntime:
    runtime = FakeRuntime(Clock())
    runtime.have(APP)
    return runtime


async def test_it_lists_images_before_containers_and_reports_no_volumes() -> None:
    """As every runtime: what no list contains must be asked for."""
    runtime: ImageRuntime = node()
    assert isinstance(runtime, FakeRuntime)
    made = replace(container("c", APP), volumes=(volume(APP.tags[0]),))
    runtime.during["between lists"] = lambda: runtime.run(made)
    listing = await runtime.list_all()
    assert listing.images == (APP,)
    assert listing.containers[0].id == made.id
    assert listing.containers[0].volumes is None
    assert await runtime.volumes_of(made.id) == made.volumes


async def test_it_removes_what_is_in_use_as_containerd_does_and_remembers_it() -> None:
    """No check for use: the truth is kept separately."""
    runtime = node()
    runtime.run(container("c", APP))
    await runtime.remove_image(APP.id)
    assert not runtime.images
    assert runtime.wrong == [APP.tags[0]]


async def test_a_removal_may_fail_before_and_after_it_was_done() -> None:
    """Neither an OK nor an error proves anything."""
    runtime = node()
    runtime.fails["remove_image"] = RuntimeRefused("no")
    with pytest.raises(RuntimeRefused):
        await runtime.remove_image(APP.id)
    assert runtime.images
    runtime.fails = {"removed": RuntimeRefused("late")}
    with pytest.raises(RuntimeRefused):
        await runtime.remove_image(APP.id)
    assert not runtime.images


async def test_what_is_gone_can_not_be_asked_about() -> None:
    """NOT_FOUND, as on a real one."""
    with pytest.raises(NoSuchObject):
        await node().volumes_of("c" * 64)
    with pytest.raises(NoSuchObject):
        await node().pause_of("b" * 64)


async def test_a_stream_gives_its_events_and_ends_as_it_was_asked() -> None:
    """An end, or a break."""
    runtime = node()
    one = ContainerEvent("c" * 64, EventKind.CREATED, T0)
    runtime.streams = [[one, None], [one, RuntimeRefused("broken")]]
    assert [event async for event in runtime.container_events()] == [one]
    with pytest.raises(RuntimeRefused):
        _ = [event async for event in runtime.container_events()]
