"""What Prometheus is told, after stories from a node's life."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from reconciler.domain import facts
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.pattern import parse_pattern
from reconciler.domain.policy import Place, Required
from reconciler.domain.state import State
from reconciler.engine.reclaim import removal_of
from reconciler.telemetry.journal import LogAndMetrics
from reconciler.telemetry.metrics import Metrics
from tests.builders import (
    DAY,
    GIB,
    T0,
    container,
    digest,
    gains_of,
    image,
    listed,
    pod,
    policy,
    state_of,
    usage,
)

NOW = T0 + DAY
APP, OTHER = image("app:v1", 5 * GIB), image("other:v1", 5 * GIB)


class Told:
    """A journal that hears facts, and what its metrics say."""

    def __init__(self, state: State) -> None:
        self.state, self.journal = state, LogAndMetrics(Metrics())

    def hear(self, *heard: facts.Fact, at: float = NOW) -> None:
        for fact in heard:
            absorb(fact, self.state)
            self.journal.absorbed(fact, self.state, at)

    def value(self, name: str, **labels: str) -> float:
        text, _ = self.journal.metrics.text("")
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                if sample.name == f"reconciler_{name}" and labels.items() <= sample.labels.items():
                    return float(sample.value)
        raise AssertionError(f"no {name} {labels}")

    def remove(self, freed: int, gone: bool = True, at: float = NOW) -> None:
        plan = decide(self.state, self.state.operator.policy, NOW)
        assert plan.eviction is not None
        removal = replace(removal_of(plan.eviction, self.state, at), expected=15 * GIB)
        self.hear(facts.RemovalBegun(at, removal), at=at)
        finished = facts.RemovalFinished(at, removal, gone, None, 0.2, gains_of(freed))
        self.hear(finished, at=at)


def test_a_reclaim_is_timed_from_the_crossing_to_the_low_mark() -> None:
    """How long until the first image went, and until there was space: both have a histogram."""
    told = Told(state_of([APP, OTHER], full=70))
    told.hear(usage(85, NOW))
    told.remove(freed=6 * GIB, at=NOW + 0.25)
    told.hear(usage(77, NOW + 4), at=NOW + 4)
    assert told.value("reclaims_total") == 1
    assert told.value("first_removal_seconds_sum") == 0.25
    assert told.value("reclaim_seconds_sum") == 4
    assert told.value("removed_bytes_total") == 6 * GIB
    assert told.value("removals_total", outcome="removed", cause="watermark") == 1
    assert told.value("reclaiming", mountpoint="/images") == 0


def test_a_removal_that_did_not_happen_is_an_outcome_of_its_own() -> None:
    """OK and nothing removed: counted as refused, and no bytes with it."""
    told = Told(state_of([APP], full=90))
    told.remove(freed=0, gone=False)
    assert told.value("removals_total", outcome="refused") == 1
    assert told.value("removed_expected_bytes_total") == 0


def test_what_comes_back_after_a_removal_is_counted_once() -> None:
    """The re-pull after a removal is the price of a wrong choice: it has a counter."""
    told = Told(state_of([APP, OTHER], full=90))
    told.remove(freed=GIB)
    gone = APP if APP.key in told.state.removals.records else OTHER
    left = OTHER if gone is APP else APP
    told.hear(listed([left], at=NOW + 10))
    told.hear(listed([left, gone], at=NOW + 20))
    told.hear(listed([left, gone], at=NOW + 30))
    assert told.value("came_back_total") == 1


def test_an_image_in_use_that_somebody_removed_is_shown() -> None:
    """The gauge that pages somebody: containers run on what is not there any more."""
    told = Told(state_of())
    told.hear(listed([APP], [container("c", f"sha256:{digest('gone')}"), container("d", APP)]))
    assert told.value("missing_images_in_use") == 1
    told.hear(listed([APP], [container("d", APP)]))
    assert told.value("missing_images_in_use") == 0


def test_a_required_image_that_is_missing_is_shown() -> None:
    """An image that must be here has a gauge, for the alert."""
    required = Required(parse_pattern("reg.example/runner"), Place("policy.yaml", 3, 1))
    told = Told(state_of(in_force=policy(required=(required,))))
    told.hear(listed([APP]))
    assert told.value("required_images_missing") == 1
    told.hear(listed([APP, image("runner:v1")]))
    assert told.value("required_images_missing") == 0


def test_what_others_remove_is_counted_and_our_own_is_not() -> None:
    """Another cleaner on the node shows in a graph."""
    told = Told(state_of([APP, OTHER]))
    told.remove(5 * GIB)
    told.hear(listed([OTHER], at=NOW))
    assert told.value("images_removed_by_others_total") == 0
    told.hear(listed([], at=NOW + 1), listed([], at=NOW + 2))
    assert told.value("images_removed_by_others_total") == 1


def test_who_tells_of_pods_is_metered_and_a_loss_is_counted() -> None:
    """A node without a source is set up so: nothing was lost there."""
    told = Told(state_of([APP]))
    told.hear(facts.PodsLost(NOW, "no socket"))
    assert told.value("pod_source_losses_total") == 0
    waits = pod("web", "reg.example/gone:v1", policy="Never")
    told.hear(facts.PodsReported(NOW, "socket", (waits, pod("job", finished=True)), "a socket"))
    assert told.value("pod_source", source="socket") == 1
    assert told.value("pod_source", source="api") == 0
    assert told.value("pods") == 1
    told.hear(listed([APP], at=NOW))
    assert told.value("missing_images_awaited") == 1
    told.hear(facts.PodsLost(NOW + 1, "it went away"))
    assert told.value("pod_source_losses_total") == 1
    assert told.value("pod_source", source="socket") == 0


def test_a_source_of_pods_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """That nobody ever told is said once; a loss is, and its end."""
    told = Told(state_of([APP]))
    for after in (0, 60, 7200):
        told.hear(facts.PodsLost(NOW + after, "no socket"), at=NOW + after)
    for after in (0, 1):
        told.hear(facts.PodsReported(NOW + after, "socket", (), "a socket"))
    told.hear(
        facts.PodsLost(NOW + 2, "it went away"),
        facts.PodsReported(NOW + 3, "socket", (), "a socket"),
    )
    found = re.findall(r"(pods-[a-z-]+)", capsys.readouterr().out)
    assert found == ["pods-untold", "pods-told", "pods-lost", "pods-told-again"]


def test_hostile_mountpoints_do_not_break_the_exposition() -> None:
    """A path with quotes, new lines and escape sequences is a label like any other."""
    told = Told(state_of())
    sample = usage(50).sample
    (fs,) = sample.filesystems
    hostile = replace(fs, mountpoint='/a"b\\c\nd\x1b[31m\u202e')
    told.hear(facts.UsageSampled(replace(sample, filesystems=(hostile,))))
    text, _ = told.journal.metrics.text("")
    assert b"\x1b" not in text
    assert "\u202e" not in text.decode()
    assert told.value("filesystem_used_bytes") == hostile.used


def test_openmetrics_is_spoken_to_whoever_asks_for_it() -> None:
    """A modern scraper gets OpenMetrics, an old one the text format; both can be parsed."""
    told = Told(state_of([APP], full=90))
    text, kind = told.journal.metrics.text("application/openmetrics-text; version=1.0.0")
    assert "openmetrics" in kind
    parse: Callable[[str], Iterator[Metric]] = openmetrics.text_string_to_metric_families
    assert list(parse(text.decode()))
    plain, kind = told.journal.metrics.text("text/plain")
    assert kind.startswith("text/plain")
    assert list(text_string_to_metric_families(plain.decode()))
