"""What happens to images: pushed, pulled, imported, tagged, untagged, pinned, removed by others."""

from __future__ import annotations

from reconciler.fake_runtime.node import Stored, layer

from .pod_moves import Dice
from .world import MIB, World

REGISTRY = "registry.example.com"
NAMES = (
    f"{REGISTRY}/app0:v1",
    f"{REGISTRY}/app0:v2",
    f"{REGISTRY}/app1:v1",
    f"{REGISTRY}/team/app2:latest",
    f"{REGISTRY}/app4:v1",
    f"{REGISTRY}/app5:v1",
    f"{REGISTRY}/team/app6:v1",
    f"{REGISTRY}:5000/team/app3:v1",
    f"{REGISTRY}:5000/team/app3:v2",
    "docker.io/library/nginx:1.27",
    "registry.k8s.io/kube-proxy:v1.34",
    "registry.k8s.io/kube-proxy:v1.33",
    "registry.k8s.io/coredns/coredns:v1",
)
PAUSES = ("registry.k8s.io/pause:3.10", f"{REGISTRY}/infra/sandbox:1")
SIZES = (MIB // 2, 40 * MIB, 150 * MIB, 150 * MIB, 300 * MIB)


def an_image(world: World, dice: Dice) -> Stored | None:
    images = list(world.node.images.values())
    return dice.pick(images) if images else None


def text_of(world: World, image: Stored, dice: Dice) -> str:
    """One of the ways to ask for an image that is here."""
    return dice.pick([*image.tags, *image.digests, world.node.habits.id_text(image.hex_id)])


def publish(world: World, dice: Dice) -> None:
    """A tag means another image in the registry from now on."""
    name = dice.pick((*NAMES, *PAUSES))
    size = dice.pick(SIZES)
    layers = [layer(f"{name} {dice.number(0, 3)}", size)]
    world.node.publish(name, [layer("base", 20 * MIB), *layers] if size > MIB else layers)
    world.note("published", name)


def pull(world: World, dice: Dice) -> None:
    name = dice.pick(NAMES)
    if name not in world.node.registry:
        publish_as(world, name, dice)
    image = world.node.pull(name, world.wall())
    world.note(f"pulled {name}:", image.hex_id)


def publish_as(world: World, name: str, dice: Dice) -> None:
    number = dice.number(0, 3)
    world.node.publish(name, [layer(f"{name} {number}", dice.pick(SIZES))])


def move_tag(world: World, dice: Dice) -> None:
    """A new image is pushed and pulled under the tag that a container was made by."""
    asked = [one.asked for one in world.node.containers.values() if one.asked in NAMES]
    if asked:
        name = dice.pick(asked)
        number = dice.number(4, 9)
        world.node.publish(name, [layer(f"{name} {number}", dice.pick(SIZES))])
        image = world.node.pull(name, world.wall())
        world.note(f"moved {name}:", image.hex_id)


def pull_by_digest(world: World, dice: Dice) -> None:
    name = dice.pick(NAMES)
    if name not in world.node.registry:
        publish_as(world, name, dice)
    path = name.rpartition(":")[0]
    image = world.node.pull(f"{path}@sha256:{world.node.registry[name].manifest}", world.wall())
    world.note(f"pulled {path} by digest:", image.hex_id)


def load(world: World, dice: Dice) -> None:
    """Imported, without a registry: only CRI-O lists a digest for it."""
    name = dice.pick(NAMES)
    image = world.node.import_image(name, [layer(f"import {name}", dice.pick(SIZES))])
    world.note(f"imported {name}:", image.hex_id)


def retag(world: World, dice: Dice) -> None:
    image = an_image(world, dice)
    if image is not None:
        name = dice.pick((*NAMES, *PAUSES))
        world.node.tag(image, name)
        world.note(f"tagged {name}:", image.hex_id)


def untag(world: World, dice: Dice) -> None:
    image = an_image(world, dice)
    if image is not None and image.tags and (len(image.tags) > 1 or image.digests):
        name = image.tags[dice.number(0, len(image.tags) - 1)]
        world.node.untag(image, name)
        world.note(f"untagged {name}:", image.hex_id)


def vanish(world: World, dice: Dice) -> None:
    """Kubelet or a person removes an image behind our back; kubelet only what is unused."""
    image = an_image(world, dice)
    if image is None:
        return
    if dice.number(0, 3) and next(world.node.users_of(image), None) is not None:
        return
    del world.node.images[image.hex_id]
    world.note("vanished:", image.hex_id)


def pin(world: World, dice: Dice) -> None:
    image = an_image(world, dice)
    if image is not None:
        image.pinned = not image.pinned and dice.number(0, 2) == 0
        world.note(f"pinned {image.pinned}:", image.hex_id)
