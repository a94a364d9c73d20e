"""Digest names that mislead: which of them a registry may have, and by which an image can be
pulled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.inventory import Image
from reconciler.domain.origin import can_be_pulled, names_before, names_to_pull
from reconciler.domain.protections.protection import Kind
from tests.builders import MIB, digest, image, state_of

from .test_decision import kind_that_keeps

HEX = digest("manifest")

# As the runtimes list them; our measurement, but for nerdctl's (its source).
FROM_NO_REGISTRY = {
    "ctr-import": f"docker.io/library/import-2026-11-28@sha256:{HEX}",
    "nerdctl-load": f"docker.io/library/overlayfs@sha256:{HEX}",
    "podman-build": f"localhost/built@sha256:{HEX}",
    "buildah-build": f"localhost/team/built@sha256:{HEX}",
    "none": "<none>@<none>",
    "no-repository": f"<none>@sha256:{HEX}",
    "no-digest": "reg.example/app@<none>",
    "short-digest": f"reg.example/app@sha256:{HEX[:40]}",
    "upper-case": f"reg.example/App@sha256:{HEX}",
}
MAY_BE_PULLED = {
    "registry": f"reg.example/app@sha256:{HEX}",
    "port": f"localhost:5000/app@sha256:{HEX}",
    "address": f"[fc00::3]:5000/app@sha256:{HEX}",
    "short": f"nginx@sha256:{HEX}",
    "base-name": f"docker.io/library/import-tool@sha256:{HEX}",
    "team-of-that-name": f"docker.io/import-2026-11-28/app@sha256:{HEX}",
    "host-of-that-name": f"localhost.example/app@sha256:{HEX}",
    "sha512": f"reg.example/app@sha512:{HEX}{HEX}",
}


def listed(*digests: str, tags: tuple[str, ...] = ("reg.example/app:v1",)) -> Image:
    return Image(f"sha256:{digest('app')}", tags, digests, 100 * MIB)


@pytest.mark.parametrize("name", FROM_NO_REGISTRY.values(), ids=FROM_NO_REGISTRY)
def test_an_image_stays_that_no_registry_has_by_its_only_digest_name(name: str) -> None:
    """It was imported or built here: once it went, no pod could have it again."""
    one = listed(name)
    assert kind_that_keeps(state_of([one]), one) is Kind.UNPULLABLE


@pytest.mark.parametrize("name", MAY_BE_PULLED.values(), ids=MAY_BE_PULLED)
def test_an_image_may_go_that_a_registry_may_have(name: str) -> None:
    """What could be a registry's is taken for one, or nothing would ever go."""
    one = listed(name)
    assert kind_that_keeps(state_of([one]), one) is None


@pytest.mark.parametrize("name", FROM_NO_REGISTRY.values(), ids=FROM_NO_REGISTRY)
def test_one_true_digest_name_is_enough_to_be_pulled_by(name: str) -> None:
    """An image that was imported, and pulled as well: containerd lists both names."""
    one = listed(name, MAY_BE_PULLED["registry"])
    assert kind_that_keeps(state_of([one]), one) is None
    assert names_to_pull(one, ()) == ("reg.example/app:v1", MAY_BE_PULLED["registry"])


def test_what_an_import_left_without_its_tag_is_no_registrys_for_having_had_one() -> None:
    """On containerd a removal takes the tag, and the name that `ctr` made up stays."""
    left = (FROM_NO_REGISTRY["ctr-import"],)
    assert not can_be_pulled(left, ("reg.example/app:v1",))


CUT = {
    "localhost:5000/keep/app": f"localhost@sha256:{HEX}",
    "registry:5000/app": f"registry@sha256:{HEX}",
    "reg.example:443/keep/app": f"reg.example@sha256:{HEX}",
    "[fc00::3]:5000/app": f"[fc00@sha256:{HEX}",
}


@pytest.mark.parametrize(("repository", "cut"), CUT.items(), ids=CUT)
def test_a_name_that_cri_o_cut_is_made_good_by_what_is_remembered(
    repository: str, cut: str
) -> None:
    """Its tag moved; `localhost@sha256:...` brings back nothing, the repository's digest does."""
    one, remembered = listed(cut, tags=()), (f"{repository}:v1",)
    whole = f"{repository}@sha256:{HEX}"
    assert names_before(one.names, remembered) == (whole,)
    assert names_to_pull(one, remembered) == (whole,)
    assert can_be_pulled(one.digests, remembered)


def test_a_cut_name_that_nothing_is_remembered_of_brings_back_nothing() -> None:
    """No name at all is better than one that means another image, or none."""
    assert names_to_pull(listed(CUT["localhost:5000/keep/app"], tags=()), ()) == ()
    assert not can_be_pulled((CUT["[fc00::3]:5000/app"],), ())  # no name, nothing to go by
    assert names_before((CUT["localhost:5000/keep/app"],), (f"localhost@sha256:{HEX}",)) == ()


def test_a_name_without_a_host_is_not_taken_for_a_cut_one() -> None:
    """cri-dockerd lists what Docker Hub has without its host."""
    one = listed(f"nginx@sha256:{HEX}", tags=())
    assert names_to_pull(one, ("nginx:1.29",)) == one.digests


def test_names_that_came_with_the_image_are_not_shown_twice() -> None:
    """containerd keeps the digest name of a tag that moved."""
    app = image("app:v1")
    assert names_before(app.digests, app.tags) == ()
    assert names_to_pull(replace(app, tags=()), app.tags) == app.digests
