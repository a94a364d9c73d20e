"""Small worlds for tests of the core: images, containers and states in one line each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from reconciler.domain.absorb import absorb
from reconciler.domain.facts import (
    Listed,
    PolicyLoaded,
    RemovalBegun,
    RemovalFinished,
    UsageSampled,
)
from reconciler.domain.inventory import (
    Container,
    ContainerState,
    FilesystemUsage,
    Image,
    Listing,
    Sandbox,
    Template,
    UsageSample,
    Volume,
)
from reconciler.domain.pattern import parse_pattern
from reconciler.domain.pods import MAIN, Need, Pod
from reconciler.domain.policy import Exclusion, Expendable, Mark, Mode, Place, Policy, Watermarks
from reconciler.domain.removal import Removal
from reconciler.domain.runtime import RuntimeVersion
from reconciler.domain.space import Gain
from reconciler.domain.state import State
from reconciler.domain.templates import template_of

T0 = 1_800_000_000.0  # when every story begins
HANGS = 120.0  # seconds after which a wait has failed, on a machine however busy
DAY = 86400.0
GIB = 1 << 30
MIB = 1 << 20
CONTAINERD = RuntimeVersion("containerd", "1.7.24", (1, 7, 24))
CONTAINERD_2 = RuntimeVersion("containerd", "2.1.9", (2, 1, 9))
CRIO = RuntimeVersion("cri-o", "1.37.0", (1, 37, 0))


def digest(seed: str) -> str:
    return hashlib.sha256(seed.encode()).hexdigest()


def image(name: str, size: int = 100 * MIB, pinned: bool = False, digests: bool = True) -> Image:
    """An image `name` ("app:v1") of an id of its own, with a digest name if `digests`."""
    repository = name.partition(":")[0]
    named = (f"reg.example/{repository}@sha256:{digest('m' + name)}",) if digests else ()
    return Image(f"sha256:{digest(name)}", (f"reg.example/{name}",), named, size, pinned)


def container(name: str, of: Image | str, sandbox: str = "box", **fields: object) -> Container:
    """A running container made from an image; a text stands for the reference that is reported."""
    ref = of if isinstance(of, str) else of.id
    asked = of if isinstance(of, str) else (of.tags or (of.id,))[0]
    values: dict[str, object] = {"volumes": ()} | fields
    return Container(
        digest(f"container {name}"),
        digest(f"sandbox {sandbox}"),
        name,
        asked,
        ref,
        "",
        ContainerState.RUNNING,
        T0,
        **values,  # type: ignore[arg-type] # fields of Container, by name
    )


def sandbox(
    name: str = "box",
    pause: tuple[str, ...] | None = ("reg.example/pause:3.10",),
    template: Template | None = None,
    **fields: object,
) -> Sandbox:
    """A pod's sandbox; of the template in its name, unless another is given."""
    made = template or template_of("default", name, {})
    return Sandbox(digest(f"sandbox {name}"), f"default/{name}", T0, pause, template=made, **fields)  # type: ignore[arg-type] # fields of Sandbox, by name


def pod(name: str, *images: str, policy: str = "IfNotPresent", **fields: object) -> Pod:
    """A pod that a source reports; its containers are app0, app1 and so on."""
    needs = (Need(one, MAIN, f"app{n}", policy) for n, one in enumerate(images))
    return Pod(f"uid {name}", f"shop/{name}", tuple(needs), **fields)  # type: ignore[arg-type] # fields of Pod, by name


def volume(name: str, manifest: str = "") -> Volume:
    return Volume(name, manifest)


def listed(
    images: Iterable[Image] = (),
    containers: Iterable[Container] = (),
    sandboxes: Iterable[Sandbox] = (),
    at: float = T0,
    version: RuntimeVersion = CONTAINERD,
) -> Listed:
    listing = Listing(at, at, tuple(images), tuple(containers), tuple(sandboxes))
    return Listed(listing, version)


def usage(percent: float, at: float = T0, capacity: int = 100 * GIB) -> UsageSampled:
    used = int(capacity * percent / 100)
    return UsageSampled(UsageSample(at, (FilesystemUsage("/images", 1, capacity, used),)))


def exclusion(pattern: str, line: int = 8, **fields: object) -> Exclusion:
    return Exclusion(parse_pattern(pattern), Place("policy.yaml", line, 5), **fields)  # type: ignore[arg-type] # fields of Exclusion, by name


def expendable(pattern: str = "reg.example/**") -> Expendable:
    """What it matches may be removed below the marks too, unless something protects it then."""
    return Expendable(parse_pattern(pattern), Place("policy.yaml", 12, 5), 0.0)


def policy(**fields: object) -> Policy:
    """Enforce, marks 80/78, no system list unless asked for."""
    defaults = {"mode": Mode.ENFORCE, "system_enabled": False, "watermarks": marks(80, 78)}
    values: dict[str, object] = defaults | fields
    return Policy(**values)  # type: ignore[arg-type] # fields of Policy, by name


def marks(high: float, low: float) -> Watermarks:
    """In percent; those of inodes are 85/83."""
    return Watermarks(Mark(percent=high), Mark(percent=low), Mark(percent=85), Mark(percent=83))


def state_of(
    images: Iterable[Image] = (),
    containers: Iterable[Container] = (),
    sandboxes: Iterable[Sandbox] = (),
    full: float = 90,
    in_force: Policy | None = None,
    version: RuntimeVersion = CONTAINERD,
    seen: float = T0,
) -> State:
    """A state in which all was listed at `seen` and the disk is `full` percent full."""
    state = State(began_at=T0)
    absorb(PolicyLoaded(T0, in_force or policy()), state)
    absorb(listed(images, containers, sandboxes, seen, version), state)
    absorb(usage(full), state)
    return state


def removal(one: Image, expected: int = 1, most: int = 1) -> Removal:
    """A removal that a crossing asked for."""
    return Removal(one, one.names, "watermark", expected, most)


def begun(at: float, one: Image) -> RemovalBegun:
    """A removal is sent."""
    return RemovalBegun(at, removal(one))


def finished(
    at: float, one: Image, gone: bool, error: str | None = None, took: float = 0.1
) -> RemovalFinished:
    """Its outcome, on a filesystem that was not measured."""
    return RemovalFinished(at, removal(one), gone, error, took)


def gains_of(freed: int | None, short: bool = True) -> tuple[Gain, ...]:
    """What the one filesystem gained, of which bytes are short or not; None: not measured."""
    if freed is None:
        return ()
    return (Gain("/images", freed, 0, 80 * GIB, 2 * GIB, short, False),)
