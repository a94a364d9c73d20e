"""Images that pods bound here wait for stay, by what a pod source reported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.absorb import absorb
from reconciler.domain.awaited import KEPT_FOR, WAITED_FOR, Awaited
from reconciler.domain.decision import decide, objection
from reconciler.domain.facts import PodGone, PodReported, PodsLost, PodsReported
from reconciler.domain.hold import HoldReason
from reconciler.domain.inventory import Image
from reconciler.domain.plan import Plan
from reconciler.domain.pods import INIT, MAIN, VOLUME, Need, Pod
from reconciler.domain.protections.protection import Kind
from reconciler.domain.runtime import RuntimeVersion
from reconciler.domain.state import State
from tests.builders import CONTAINERD, DAY, GIB, T0, container, image, pod, sandbox, state_of

NOW = T0 + DAY
APP, OTHER = image("app:v1", GIB), image("other:v1", GIB)
CRIO = RuntimeVersion("cri-o", "1.34.0", (1, 34, 0))


def full(*images: Image, version: RuntimeVersion = CONTAINERD) -> State:
    """A node over its high mark with nothing but images that could go."""
    return state_of(images or (APP, OTHER), version=version)


def plan(state: State, now: float = NOW) -> Plan:
    return decide(state, state.operator.policy, now)


def free(state: State, now: float = NOW) -> set[str]:
    """The first tags of what nothing protects."""
    return {one.image.tags[0] for one in plan(state, now).candidates}


def awaited_by(state: State, one: Image, now: float = NOW) -> str:
    """The sentence of the protection that keeps an image; it must be this one."""
    (kept,) = [kept for kept in plan(state, now).kept if kept.image == one]
    assert kept.protections[0].kind is Kind.AWAITED
    return kept.protections[0].detail


def report(state: State, *pods: Pod, at: float = NOW) -> None:
    absorb(PodsReported(at, "socket", pods), state)


def test_what_a_pod_is_about_to_start_from_stays_and_the_sentence_says_for_whom() -> None:
    """A pod bound here has no sandbox yet, as when it waits for a Secret: its image stays."""
    state = full()
    report(state, pod("web-7d4b9", "reg.example/app:v1"))
    assert free(state) == {"reg.example/other:v1"}
    text = "pod shop/web-7d4b9 is starting and will need it (container app0)"
    assert awaited_by(state, APP) == text
    assert objection(APP, state, state.operator.policy, NOW) == text


def test_init_containers_and_image_volumes_count_as_the_main_container_does() -> None:
    """The image of the container that runs last is not lost while the first ones run."""
    state = full()
    needs = (
        Need("reg.example/other:v1", INIT, "wait"),
        Need("reg.example/app:v1", VOLUME, "models"),
    )
    report(state, Pod("uid", "shop/web", needs))
    assert free(state) == set()


def test_a_pod_that_runs_keeps_its_init_containers_image_for_its_next_start() -> None:
    """kubelet removes a container that is done; the pod may be restarted on this node."""
    needs = (Need("reg.example/other:v1", INIT, "wait"), Need("reg.example/app:v1", MAIN, "app"))
    box = sandbox("web", uid="one")
    runs = replace(container("app", APP), sandbox_id=box.id)
    state = state_of((APP, OTHER), (runs,), (box,))
    report(state, Pod("one", "default/web", needs))
    text = "pod default/web will need it when it starts again (init container wait)"
    assert awaited_by(state, OTHER) == text


def test_a_pod_reported_a_moment_before_the_call_stops_it() -> None:
    """The source reports a pod between the decision and the last look."""
    state = full()
    assert objection(APP, state, state.operator.policy, NOW) is None
    absorb(PodReported(NOW, "api", pod("web", "reg.example/app:v1")), state)
    assert "shop/web" in (objection(APP, state, state.operator.policy, NOW) or "")


def test_pods_that_are_finished_or_gone_keep_nothing() -> None:
    """A job that is done does not hold space for ever."""
    state = full()
    report(state, pod("job", "reg.example/app:v1"), pod("web", "reg.example/other:v1"))
    absorb(PodReported(NOW, "socket", pod("job", "reg.example/app:v1", finished=True)), state)
    assert free(state) == {"reg.example/app:v1"}
    absorb(PodGone(NOW, "socket", "uid web"), state)
    assert free(state) == {"reg.example/app:v1", "reg.example/other:v1"}


def test_who_is_not_in_a_complete_list_is_gone() -> None:
    """A pod deleted while the source was away is not kept for ever."""
    state = full()
    report(state, pod("web", "reg.example/app:v1"))
    report(state, pod("api", "reg.example/other:v1"), at=NOW + 1)
    assert free(state) == {"reg.example/app:v1"}


def test_a_source_that_falls_silent_does_not_mean_that_there_are_no_pods() -> None:
    """The API server is cut off: what was reported is kept for ten minutes, then the runtime alone
    has to do."""
    state = full()
    report(state, pod("web", "reg.example/app:v1"))
    absorb(PodsLost(NOW, "connection refused"), state)
    absorb(PodsLost(NOW + 300, "connection refused"), state)
    assert "reg.example/app:v1" not in free(state, NOW + KEPT_FOR - 1)
    assert "reg.example/app:v1" in free(state, NOW + KEPT_FOR)
    assert state.pods.awaited.trouble == "connection refused"


def test_a_source_that_is_back_counts_as_if_it_had_never_been_away() -> None:
    """Ten minutes count from its last report, not from the first loss."""
    state = full()
    report(state, pod("web", "reg.example/app:v1"))
    absorb(PodsLost(NOW, "gone"), state)
    report(state, pod("web", "reg.example/app:v1"), at=NOW + 60)
    assert "reg.example/app:v1" not in free(state, NOW + 10 * KEPT_FOR)
    assert (state.pods.awaited.source, state.pods.awaited.since) == ("socket", NOW + 60)


def test_reported_twice_or_in_another_order_is_as_reported_once() -> None:
    """kubelet's Pods API says some things twice."""
    one, two = full(), full()
    web, api = pod("web", "reg.example/app:v1"), pod("api", "reg.example/other:v1")
    report(one, web, api)
    report(two, api)
    for fact in (PodReported(NOW, "socket", web), PodReported(NOW, "socket", web)):
        absorb(fact, two)
    assert free(one) == free(two) == set()


@pytest.mark.parametrize(
    ("listed_as", "asked"),
    [
        ("docker.io/library/nginx:latest", "nginx"),
        ("docker.io/library/nginx:1.27", "nginx:1.27"),
        ("docker.io/team/app:v1", "team/app:v1"),
        ("reg.example/app:latest", "reg.example/app"),
    ],
)
def test_names_are_resolved_as_the_runtime_resolves_them(listed_as: str, asked: str) -> None:
    """A pod asks for nginx, the runtime lists docker.io/library/nginx:latest."""
    state = full(replace(APP, tags=(listed_as,)), OTHER)
    assert free(state) == {listed_as, "reg.example/other:v1"}
    report(state, pod("web", asked))
    assert free(state) == {"reg.example/other:v1"}


def test_an_image_asked_for_by_digest_or_id_stays_under_whatever_name_it_is_listed() -> None:
    """Pinned by digest in the pod's spec, listed under another repository; and by a bare id."""
    state = full()
    manifest = APP.digests[0].partition("@")[2]
    report(state, pod("web", f"mirror.example/app:v9@{manifest}"), pod("api", OTHER.id))
    assert free(state) == set()


def test_a_short_name_keeps_every_image_that_a_search_registry_could_mean_by_it() -> None:
    """CRI-O asks its search registries: which one is in no answer of the runtime."""
    state = full(version=CRIO)
    report(state, pod("web", "app:v1"))
    assert free(state) == {"reg.example/other:v1"}
    report(state, pod("web", "app:v2"), pod("api", "pp:v1"), pod("x", "docker.io/library/app:v1"))
    assert free(state) == {"reg.example/app:v1", "reg.example/other:v1"}


def test_a_short_name_means_docker_io_alone_on_containerd() -> None:
    """containerd has no search registries: another host's image is not what the pod asks for."""
    state = full()
    report(state, pod("web", "app:v1"))
    assert free(state) == {"reg.example/app:v1", "reg.example/other:v1"}


def test_a_tag_that_moved_keeps_the_image_that_it_means_now() -> None:
    """The pod will be started from what its tag means when it starts."""
    moved = replace(image("app:v1-new"), tags=APP.tags)
    old = replace(APP, tags=())
    state = full(old, moved)
    report(state, pod("web", "reg.example/app:v1"))
    assert [one.image for one in plan(state).candidates] == [old]


def test_removal_waits_a_moment_for_a_source_that_has_reported_nothing() -> None:
    """Just started in mid-reclaim: the pods that wait are asked for first, but not for long."""
    state = full()
    state.pods.awaited = Awaited(waited_until=NOW + WAITED_FOR)
    hold = plan(state).hold
    assert hold is not None
    assert hold.reason is HoldReason.PODS_UNKNOWN
    assert plan(state).look_again_at == NOW + WAITED_FOR
    assert plan(state, NOW + WAITED_FOR).eviction is not None
    absorb(PodsLost(NOW, "no socket"), state)
    assert plan(state).eviction is not None
