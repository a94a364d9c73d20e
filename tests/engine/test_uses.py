"""How often an image is used: by the containers made from it, however often each is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.aiokit import Mailbox
from reconciler.domain.facts import ContainerChanged, Fact
from reconciler.domain.inventory import ContainerEvent, EventKind
from reconciler.domain.state import State, absorb
from tests.builders import T0, container, image, listed

APP = image("app:v1")
OTHER = image("other:v1")
CONTAINERS = [container(f"c{number}", APP if number < 4 else OTHER) for number in range(6)]
NUMBERS = st.integers(0, len(CONTAINERS) - 1)
# An event of one container, a listing of some, or (None) the loop's look into its mailbox.
STEPS = st.lists(
    st.one_of(st.tuples(NUMBERS, st.sampled_from(EventKind)), st.sets(NUMBERS), st.none()),
    max_size=30,
)


@given(STEPS)
def test_a_use_is_counted_once_for_each_container(
    steps: list[tuple[int, EventKind] | set[int] | None],
) -> None:
    """Doubled, late and replayed events, coalesced in the mailbox, between any listings: each
    container that was ever told counts for one."""
    state, mailbox = State(began_at=T0 - 10), Mailbox[Fact]()
    absorb(listed([APP, OTHER], at=T0), state)
    told: set[int] = set()
    for step in [*steps, None]:
        if isinstance(step, tuple):
            number, kind = step
            one = CONTAINERS[number]
            inside = () if kind is EventKind.DELETED else (one,)
            event = ContainerEvent(one.id, kind, T0, None, inside)
            mailbox.put(("event", one.id, kind), ContainerChanged(event, T0))
            told |= {number} if inside else set()
        elif step is None:
            for fact in mailbox.drain():
                absorb(fact, state)
        else:
            absorb(listed([APP, OTHER], [CONTAINERS[n] for n in step], at=T0), state)
            told |= step
    uses = {one.key: state.ledger[one.key].uses for one in (APP, OTHER)}
    assert uses[APP.key] == len([number for number in told if number < 4])
    assert uses[OTHER.key] == len([number for number in told if number >= 4])
