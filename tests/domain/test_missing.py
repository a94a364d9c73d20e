"""A missing image is reported by its name, with who needs it, who removed it and what to do."""

from __future__ import annotations

from dataclasses import replace

from reconciler.domain.absorb import absorb
from reconciler.domain.facts import PodsReported
from reconciler.domain.missing import missing_awaited, missing_in_use
from reconciler.domain.state import State
from tests.builders import (
    DAY,
    T0,
    begun,
    container,
    digest,
    finished,
    image,
    listed,
    pod,
    sandbox,
    state_of,
)

APP, OTHER = image("app:v1"), image("other:v1")
BOX = sandbox("web-1")
USED = replace(container("app", APP), sandbox_id=BOX.id)
NOW = T0 + DAY


def remove(state: State, at: float) -> None:
    absorb(begun(at, APP), state)
    absorb(listed([OTHER], at=at), state)
    absorb(finished(at, APP, True), state)


def test_what_we_removed_is_said_to_be_ours_with_the_way_to_the_reason() -> None:
    """A container was made from it in the moment in which no client could know."""
    state = state_of([APP, OTHER])
    remove(state, NOW)
    absorb(listed([OTHER], [USED], [BOX], at=NOW + 1), state)
    (text,) = missing_in_use(state)
    assert text.startswith(f"reg.example/app:v1 (id {APP.key[:13]}) is not here any more")
    assert "container app of pod default/web-1 was made from it" in text
    assert "this daemon removed it at 2027-01-16T08:00:00Z" in text
    assert f"`reconciler history --image {APP.key[:13]}` says why" in text
    assert text.endswith(f"`crictl pull {APP.digests[0]}` brings it back")


def test_a_name_that_is_a_command_is_quoted_in_the_advice() -> None:
    """What an operator pastes into a shell came from a stranger."""
    odd = replace(APP, tags=("app; reboot",), digests=())
    used = replace(USED, image="app; reboot")
    state = state_of([odd, OTHER], [used], [BOX])
    absorb(listed([OTHER], [used], [BOX], at=NOW), state)
    assert missing_in_use(state)[0].endswith("`crictl pull 'app; reboot'` brings it back")


def test_what_somebody_else_removed_is_not_blamed_on_us() -> None:
    """Also if we removed it once, and it came back."""
    state = state_of([APP, OTHER], [USED], [BOX])
    absorb(listed([OTHER], [USED], [BOX], at=NOW), state)
    (text,) = missing_in_use(state)
    assert "this daemon did not remove it: kubelet, crictl or another cleaner" in text
    assert state.removals.gone_by_others == (APP.key,)
    again = state_of([APP, OTHER])
    remove(again, NOW)
    absorb(listed([APP, OTHER], [USED], [BOX], at=NOW + 60), again)
    absorb(listed([OTHER], [USED], [BOX], at=NOW + 90), again)
    (text,) = missing_in_use(again)
    assert "this daemon did not remove it" in text


def refuse(state: State, at: float) -> None:
    """The runtime would not remove it: a container uses it, say."""
    absorb(begun(at, APP), state)
    absorb(listed([APP, OTHER], at=at + 1), state)
    absorb(finished(at + 1, APP, False, "no"), state)


def test_an_image_that_others_removed_after_us_did_not_come_back_from_us() -> None:
    """It came back once after our removal; kubelet removed it then, and it was pulled again. The
    second return is not of our doing, nor is that of one which we were refused."""
    state = state_of([APP, OTHER])
    remove(state, NOW)
    returns = []
    for at, here in ((60, True), (90, False), (120, True)):
        absorb(listed([APP, OTHER] if here else [OTHER], at=NOW + at), state)
        returns.append(state.removals.came_back)
    assert returns == [(APP.key,), (), ()]
    refused = state_of([APP, OTHER])
    refuse(refused, NOW)
    absorb(listed([OTHER], at=NOW + 3600), refused)
    assert refused.removals.gone_by_others == (APP.key,)
    absorb(listed([OTHER], [USED], [BOX], at=NOW + 3610), refused)
    assert "this daemon did not remove it" in missing_in_use(refused)[0]
    absorb(listed([APP, OTHER], at=NOW + 3700), refused)
    assert refused.removals.came_back == ()


def test_a_removal_that_works_late_is_ours() -> None:
    """The list right after the answer was a stale one: a moment later the image is gone."""
    state = state_of([APP, OTHER])
    refuse(state, NOW)
    absorb(listed([OTHER], at=NOW + 5), state)
    assert state.removals.gone_by_others == ()
    absorb(listed([APP, OTHER], at=NOW + 60), state)
    assert state.removals.came_back == (APP.key,)


def test_what_goes_while_its_removal_is_under_way_is_ours_at_once() -> None:
    """The listing that tells it comes before the answer is taken in."""
    state = state_of([APP, OTHER])
    absorb(begun(NOW, APP), state)
    absorb(listed([OTHER], [USED], [BOX], at=NOW), state)
    assert "this daemon removed it" in missing_in_use(state)[0]


def test_an_image_that_we_never_saw_is_said_to_be_gone_before() -> None:
    """The daemon was installed after the accident."""
    lost = replace(container("c", f"sha256:{digest('gone')}"), sandbox_id=BOX.id)
    assert lost.image == lost.image_ref  # kubelet asks by id
    state = state_of([OTHER], [lost], [BOX])
    (text,) = missing_in_use(state)
    assert "it was never listed while this daemon ran" in text
    assert text.endswith("restart the pod to pull it")


def test_our_own_removals_are_not_counted_as_others() -> None:
    """Neither while the call is under way, nor when it is confirmed."""
    state = state_of([APP, OTHER])
    remove(state, NOW)
    counted = [len(state.removals.gone_by_others)]
    for after in (1, 2):
        absorb(listed([], at=NOW + after), state)
        counted.append(len(state.removals.gone_by_others))
    assert counted == [0, 1, 0]


def test_a_pod_that_may_not_pull_and_whose_image_is_nowhere_is_reported() -> None:
    """`ErrImageNeverPull` for ever, unless somebody brings the image."""
    state = state_of([OTHER])
    waits = (
        pod("web", "reg.example/app:v1", policy="Never"),
        pod("api", "reg.example/app:v1"),
        pod("here", "reg.example/other:v1", policy="Never"),
        pod("done", "reg.example/app:v1", policy="Never", finished=True),
    )
    absorb(PodsReported(NOW, "socket", waits), state)
    (text,) = missing_awaited(state, NOW)
    assert text.startswith("pod shop/web cannot start container app0: reg.example/app:v1 is not")
    absorb(listed([APP, OTHER], at=NOW + 1), state)
    assert missing_awaited(state, NOW + 1) == []
