"""Which layers an image has: asked by id, and named so that sharing shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.cri.translate import layers
from reconciler.domain.runtime import RuntimeRefused
from reconciler.embedded.habits import CONTAINERD_2, CRIO, Habits
from reconciler.embedded.node import Node, layer

from ..builders import T0
from .test_client import failing, served

BASE, DEPS, ONE, TWO = (layer(name, 1000) for name in ("base", "deps", "one", "two"))


def told(*diff_ids: object) -> str:
    return json.dumps({"imageSpec": {"rootfs": {"type": "layers", "diff_ids": list(diff_ids)}}})


def test_layers_are_shared_exactly_as_far_as_the_images_begin_alike() -> None:
    """A layer lies on disk under all those below it: the same layer on another base is another."""
    first, second, third = told("a", "b", "c"), told("a", "b", "d"), told("x", "b", "c")
    assert layers(first)[:2] == layers(second)[:2]
    assert layers(first)[2] != layers(second)[2]
    assert set(layers(first)).isdisjoint(layers(third))
    assert len(set(layers(told("a", "a", "a")))) == 3


@pytest.mark.parametrize(
    "info",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 5000,
        json.dumps({"imageSpec": None}),
        json.dumps({"imageSpec": {"rootfs": {"diff_ids": "abc"}}}),
        told("a", 5),
        told(None),
    ],
)
def test_an_answer_that_makes_no_sense_tells_no_layers(info: str) -> None:
    """Then the size alone has to do; it is no error."""
    assert layers(info) == ()


@pytest.mark.parametrize("habits", [CONTAINERD_2, CRIO], ids=["containerd", "cri-o"])
async def test_the_runtime_is_asked_by_id(tmp_path: Path, habits: Habits) -> None:
    """Two images that share a base and dependencies say so, in either runtime's form of an id."""
    node = Node(habits)
    for name, own in (("reg.example/a:v1", ONE), ("reg.example/b:v1", TWO)):
        node.publish(name, [BASE, DEPS, own])
        node.pull(name, T0)
    async with served(node, tmp_path) as (runtime, client):
        listed = (await client.list_all()).images
        first, second = [
            await client.layers_of(image.id)
            for image in listed
            if any(tag in image.tags for tag in ("reg.example/a:v1", "reg.example/b:v1"))
        ]
        assert len(first) == len(second) == 3
        assert first[:2] == second[:2]
        assert first[2] != second[2]
        runtime.faults["ImageStatus"] = failing("UNKNOWN", "no")
        with pytest.raises(RuntimeRefused):
            await client.layers_of(listed[0].id)
