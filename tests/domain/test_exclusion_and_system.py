"""The operator's exclusions and the built-in list of Kubernetes images."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.exclusion import Exclusions
from reconciler.domain.reference import parse_reference
from reconciler.domain.system import is_sandbox_name, system_repository
from tests.builders import T0, exclusion, image

PATTERNS = [
    "reg.example/app",
    "reg.example/app:v*",
    "reg.example/**",
    "**/other",
    "reg.example/other:v1",
    "sha256:" + image("app:v1").key[:12],
    "nginx",
    "reg.example",
    "*:w",
    "reg.example/a*",
]


@given(
    st.lists(st.sampled_from(PATTERNS), max_size=6), st.sampled_from(["app:v1", "other:v1", "x:w"])
)
def test_the_index_finds_what_a_plain_search_finds(patterns: list[str], name: str) -> None:
    """Bucketing thousands of rules never loses the one that protects."""
    rules = [exclusion(pattern, line) for line, pattern in enumerate(patterns)]
    one = image(name)
    plain = next(((r, m) for r in rules if (m := r.pattern.match(one)) is not None), None)
    assert Exclusions(rules).protecting(one, T0) == plain


def test_a_rule_protects_through_its_last_day_and_not_after() -> None:
    """`until` is the last day of protection, in UTC."""
    last = dt.datetime.fromtimestamp(T0, dt.UTC).date()
    rules = Exclusions([exclusion("reg.example/app", until=last)])
    end = dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), dt.UTC).timestamp()
    assert rules.protecting(image("app:v1"), end - 1) is not None
    assert rules.protecting(image("app:v1"), end) is None


@pytest.mark.parametrize(
    "name",
    [
        "registry.k8s.io/pause:3.10",
        "k8s.gcr.io/pause-amd64:3.1",
        "602401143452.dkr.ecr.us-east-1.amazonaws.com/eks/pause:3.5",
        "localhost/kubernetes/pause:0.1.0",
        "docker.io/rancher/mirrored-pause:3.6",
        "registry.aliyuncs.com/google_containers/pause:3.9",
        "gcr.io/gke-release/pause-win:1.6",
        "openshift/origin-pod:v3",
        "swr.cn-north-4.myhuaweicloud.com/op_svc/cce-pause:3.1",
        "cce-pause:2.0",
        "mirror.corp/rancher/mirrored-pause:3.6",
    ],
)
def test_sandbox_images_are_known_under_any_registry(name: str) -> None:
    """The most deleted image of all is known by name wherever it is mirrored."""
    assert is_sandbox_name(parse_reference(name))


@pytest.mark.parametrize("name", ["team/pauser:1", "team/pause-service:1", "team/unpause:1"])
def test_an_app_that_sounds_like_pause_is_no_sandbox_image(name: str) -> None:
    """The list does not keep other people's images for ever."""
    assert not is_sandbox_name(parse_reference(name))


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("registry.k8s.io/kube-apiserver:v1.34.0", True),
        ("mirror.corp/k8s/kube-proxy:v1", True),
        ("quay.io/calico/node:v3", True),
        ("registry.k8s.io/etcd:3.6", True),
        ("602401143452.dkr.ecr.eu-west-1.amazonaws.com/amazon-k8s-cni:v1", True),
        ("quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:" + "a" * 64, True),
        ("my.repo/etcd:3.6.5-0", True),  # kubeadm config images list --image-repository my.repo
        ("my.repo/coredns:v1.12.1", True),
        ("my.repo:5000/kube-scheduler:v1.34.0", True),
        ("mirror.corp/rancher/mirrored-coredns-coredns:1.12", True),
        ("mirror.corp/rancher/hardened-calico:v3", True),
        ("mirror.corp/rancher/klipper-lb:v0.4", True),
        ("mirror.corp/rancher/rke2-runtime:v1.34.0-rke2r1", True),
        ("mirror.corp/rancher/local-path-provisioner:v0.0.31", True),
        ("rancher/klipper-helm:v0.9", True),
        ("quay.io/k0sproject/apiserver-network-proxy-agent:v0.33", True),
        ("mirror.corp/k0sproject/kube-proxy:v1", True),
        ("mirror.corp/deep/k0sproject/envoy-distroless:v1", True),
        ("nginx:1.27", False),
        ("team/etcd:1", False),
        ("team/hardened-nginx:1", False),
        ("mirror.corp/team/mirrored-:1", False),
        ("mirror.corp/k0sproject:1", False),
        ("mirror.corp/team/etcd-backup:1", False),
        ("mirror.corp/coredns/plugin:1", False),
        ("team/proxy:1", False),
    ],
)
def test_system_images_are_distinguished_from_others(name: str, system: bool) -> None:
    """kubeadm's images under a mirror count; `library/*` and look-alikes do not."""
    assert (system_repository(parse_reference(name)) is not None) is system
