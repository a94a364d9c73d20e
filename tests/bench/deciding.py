"""How long one decision takes on a node of 2,000 images."""

from __future__ import annotations

import time

from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from tests.builders import DAY, T0, container, image, listed, state_of, usage

from .figures import Figure, median

IMAGES, CONTAINERS, ROUNDS = 2_000, 300, 25


def on_two_thousand_images() -> list[Figure]:
    """The least of 25 decisions, each at another time so that scores are computed again: the same
    work each time, so what is above the least is what others did to the processor's caches."""
    images = [image(f"app{number % 300}:v1.{number // 300}.{number}") for number in range(IMAGES)]
    users = [container(f"c{number}", images[number * 7]) for number in range(CONTAINERS - 20)]
    state = state_of()
    once = [container(f"once{number}", one) for number, one in enumerate(images)]
    absorb(listed(images, once, at=T0), state)  # every image was used once
    absorb(listed(images, users, at=T0 + 60), state)
    absorb(usage(90), state)
    took = []
    for number in range(ROUNDS):
        begun = time.process_time()
        plan = decide(state, state.operator.policy, T0 + DAY + number)
        took.append(time.process_time() - begun)
        assert plan.eviction is not None
        assert len(plan.candidates) > IMAGES / 2
    name = f"one decision over {IMAGES:,} images, processor time"
    made_of = {"median": median(took) * 1e3, "most": max(took) * 1e3}
    return [Figure(name, min(took) * 1e3, 15.0, "ms", made_of)]
