"""Kubernetes' own images by name, where size and use bound what a name means."""

from __future__ import annotations

import pytest

from reconciler.domain.absorb import absorb
from reconciler.domain.decision import HoldReason, decide, explain
from reconciler.domain.inventory import Image
from reconciler.domain.protections.protection import Kind
from reconciler.domain.reference import parse_reference
from reconciler.domain.system import system_repository
from tests.builders import DAY, GIB, MIB, T0, container, digest, listed, policy, sandbox, state_of


@pytest.mark.parametrize(
    ("name", "bounded"),
    [
        ("registry.k8s.io/kube-proxy:v1", False),  # nobody else can have put it there
        ("quay.io/k0sproject/kube-proxy:v1", False),
        ("gke.gcr.io/anything:v1", False),
        ("mirror.corp/kube-proxy:v1", True),
        ("mirror.corp/etcd:v1", True),
    ],
)
def test_a_name_under_any_registry_means_no_image_of_50_gib(name: str, bounded: bool) -> None:
    """It is anybody's to give, and what is larger than any of Kubernetes' images is none."""
    assert (system_repository(parse_reference(name), large=True) is None) is bounded


TENANTS, OWN = "mirror.corp/tenant/pause:v1", "registry.k8s.io/pause:3.10"


@pytest.mark.parametrize(
    ("name", "size", "ran", "kept"),
    [
        (TENANTS, 50 * GIB, False, False),
        (TENANTS, 50 * GIB, True, False),
        (TENANTS, GIB, True, False),
        (TENANTS, GIB, False, True),  # OpenShift's has some 300 MiB: no container is made of it
        (TENANTS, 8 * MIB, True, True),  # somebody tried what it does
        (OWN, 50 * GIB, True, True),
    ],
)
def test_size_and_use_distinguish_a_pause_image_from_a_program_of_that_name(
    name: str, size: int, ran: bool, kept: bool
) -> None:
    """A name alone would keep every version of somebody's program, and fill the disk with them."""
    tags, digests = (name,), (f"{name.rpartition(':')[0]}@sha256:{digest('m')}",)
    pause = Image(f"sha256:{digest('p')}", tags, digests, size)
    boxes = [sandbox("other", pauseless=True)] if ran else []
    made = [container("c", pause, "other")] if ran else []
    state = state_of([pause], made, boxes, in_force=policy(minimum_age=0.0), seen=T0 - DAY)
    absorb(listed([pause], sandboxes=[sandbox("other", pauseless=True)], at=T0), state)
    holds = {one.kind: one.holds for one in explain(pause, state, policy(), T0 + 1)}
    assert holds[Kind.SANDBOX] is kept


def test_a_tenants_pause_does_not_end_the_search_for_the_true_one() -> None:
    """Sandboxes run, and nothing says on what but a name that is somebody's program: it holds."""
    big = Image(f"sha256:{digest('p')}", (TENANTS,), (f"m.corp/p@sha256:{digest('m')}",), 50 * GIB)
    state = state_of([big], sandboxes=[sandbox(pause=())], in_force=policy(minimum_age=0.0))
    hold = decide(state, state.operator.policy, T0 + 1).hold
    assert hold is not None
    assert hold.reason is HoldReason.SANDBOX_IMAGE_UNKNOWN
