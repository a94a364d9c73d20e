"""What the metrics show after stories from a node's life."""

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


class Daemon:
    """A state and a journal that absorb facts, and the values of the metrics."""

    def __init__(self, state: State) -> None:
        self.state, self.journal = state, LogAndMetrics(Metrics())

    def absorb(self, *given: facts.Fact, at: float = NOW) -> None:
        for fact in given:
            absorb(fact, self.state)
            self.journal.absorbed(fact, self.state, at)

    def value(self, name: str, **labels: str) -> float:
        text, _ = self.journal.metrics.text()
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                if sample.name == f"reconciler_{name}" and labels.items() <= sample.labels.items():
                    return float(sample.value)
        raise AssertionError(f"no {name} {labels}")

    def remove(self, freed: int, gone: bool = True, at: float = NOW) -> None:
        plan = decide(self.state, self.state.operator.policy, NOW)
        assert plan.eviction is not None
        removal = replace(removal_of(plan.eviction, self.state, at), expected=15 * GIB)
        self.absorb(facts.RemovalBegun(at, removal), at=at)
        finished = facts.RemovalFinished(at, removal, gone, None, 0.2, gains_of(freed))
        self.absorb(finished, at=at)


def test_a_reclaim_is_timed_from_the_crossing_to_the_low_mark() -> None:
    """How long until the first image went, and until there was space: both have a histogram."""
    daemon = Daemon(state_of([APP, OTHER], full=70))
    daemon.absorb(usage(85, NOW))
    daemon.remove(freed=6 * GIB, at=NOW + 0.25)
    daemon.absorb(usage(77, NOW + 4), at=NOW + 4)
    assert daemon.value("reclaims_total") == 1
    assert daemon.value("first_removal_seconds_sum") == 0.25
    assert daemon.value("reclaim_seconds_sum") == 4
    assert daemon.value("removed_bytes_total") == 6 * GIB
    assert daemon.value("removals_total", outcome="removed", cause="watermark") == 1
    assert daemon.value("reclaiming", mountpoint="/images") == 0


def test_a_removal_that_did_not_happen_is_an_outcome_of_its_own() -> None:
    """OK and nothing removed: counted as refused, and no bytes with it."""
    daemon = Daemon(state_of([APP], full=90))
    daemon.remove(freed=0, gone=False)
    assert daemon.value("removals_total", outcome="refused") == 1
    assert daemon.value("removed_expected_bytes_total") == 0


def test_what_comes_back_after_a_removal_is_counted_once() -> None:
    """The re-pull after a removal is the price of a wrong choice: it has a counter."""
    daemon = Daemon(state_of([APP, OTHER], full=90))
    daemon.remove(freed=GIB)
    gone = APP if APP.key in daemon.state.removals.records else OTHER
    left = OTHER if gone is APP else APP
    daemon.absorb(listed([left], at=NOW + 10))
    daemon.absorb(listed([left, gone], at=NOW + 20))
    daemon.absorb(listed([left, gone], at=NOW + 30))
    assert daemon.value("came_back_total") == 1


def test_an_image_in_use_that_somebody_removed_is_shown() -> None:
    """The gauge that pages somebody: containers run on what is not there any more."""
    daemon = Daemon(state_of())
    daemon.absorb(listed([APP], [container("c", f"sha256:{digest('gone')}"), container("d", APP)]))
    assert daemon.value("missing_images_in_use") == 1
    daemon.absorb(listed([APP], [container("d", APP)]))
    assert daemon.value("missing_images_in_use") == 0


def test_a_required_image_that_is_missing_is_shown() -> None:
    """An image that must be here has a gauge, for the alert."""
    required = Required(parse_pattern("reg.example/runner"), Place("policy.yaml", 3, 1))
    daemon = Daemon(state_of(in_force=policy(required=(required,))))
    daemon.absorb(listed([APP]))
    assert daemon.value("required_images_missing") == 1
    daemon.absorb(listed([APP, image("runner:v1")]))
    assert daemon.value("required_images_missing") == 0


def test_what_others_remove_is_counted_and_our_own_is_not() -> None:
    """Another cleaner on the node shows in a graph."""
    daemon = Daemon(state_of([APP, OTHER]))
    daemon.remove(5 * GIB)
    daemon.absorb(listed([OTHER], at=NOW))
    assert daemon.value("images_removed_by_others_total") == 0
    daemon.absorb(listed([], at=NOW + 1), listed([], at=NOW + 2))
    assert daemon.value("images_removed_by_others_total") == 1


def test_the_source_of_pods_is_a_metric_and_a_loss_is_counted() -> None:
    """A node without a source is set up like that: nothing was lost there."""
    daemon = Daemon(state_of([APP]))
    daemon.absorb(facts.PodsLost(NOW, "no socket"))
    assert daemon.value("pod_source_losses_total") == 0
    waits = pod("web", "reg.example/gone:v1", policy="Never")
    daemon.absorb(facts.PodsReported(NOW, "socket", (waits, pod("job", finished=True)), "a socket"))
    assert daemon.value("pod_source", source="socket") == 1
    assert daemon.value("pod_source", source="api") == 0
    assert daemon.value("pods") == 1
    daemon.absorb(listed([APP], at=NOW))
    assert daemon.value("missing_images_awaited") == 1
    daemon.absorb(facts.PodsLost(NOW + 1, "it went away"))
    assert daemon.value("pod_source_losses_total") == 1
    assert daemon.value("pod_source", source="socket") == 0


def test_a_source_of_pods_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """No source at all is logged once; so are a loss and its end."""
    daemon = Daemon(state_of([APP]))
    for after in (0, 60, 7200):
        daemon.absorb(facts.PodsLost(NOW + after, "no socket"), at=NOW + after)
    for after in (0, 1):
        daemon.absorb(facts.PodsReported(NOW + after, "socket", (), "a socket"))
    daemon.absorb(
        facts.PodsLost(NOW + 2, "it went away"),
        facts.PodsReported(NOW + 3, "socket", (), "a socket"),
    )
    found = re.findall(r"(pods-[a-z-]+)", capsys.readouterr().out)
    assert found == ["pods-untold", "pods-told", "pods-lost", "pods-told-again"]


def test_hostile_mountpoints_do_not_break_the_exposition() -> None:
    """A path with quotes, new lines and escape sequences is a label like any other."""
    daemon = Daemon(state_of())
    sample = usage(50).sample
    (fs,) = sample.filesystems
    hostile = replace(fs, mountpoint='/a"b\\c\nd\x1b[31m\u202e')
    daemon.absorb(facts.UsageSampled(replace(sample, filesystems=(hostile,))))
    text, _ = daemon.journal.metrics.text()
    assert b"\x1b" not in text
    assert "\u202e" not in text.decode()
    assert daemon.value("filesystem_used_bytes") == hostile.used


def test_a_scraper_that_accepts_openmetrics_gets_it() -> None:
    """A modern scraper gets OpenMetrics, an old one the text format; both can be parsed."""
    daemon = Daemon(state_of([APP], full=90))
    text, kind = daemon.journal.metrics.text(openmetrics=True)
    assert "openmetrics" in kind
    parse: Callable[[str], Iterator[Metric]] = openmetrics.text_string_to_metric_families
    assert list(parse(text.decode()))
    plain, kind = daemon.journal.metrics.text()
    assert kind.startswith("text/plain")
    assert list(text_string_to_metric_families(plain.decode()))
