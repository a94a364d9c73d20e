"""Why an image goes or stays, in a clause that a tired person understands."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from reconciler.domain.humanize import ago, how_often, size_text
from reconciler.domain.ledger import Arrival, ImageRecord
from reconciler.domain.pattern import parse_pattern
from reconciler.domain.policy import Importance, Place, Tier
from reconciler.domain.ranking.explanation import Explanation
from reconciler.domain.ranking.keepscore import Appraiser
from reconciler.domain.ranking.use_rate import HOUR, started
from tests.builders import DAY, MIB, T0, image

WEB = image("shop/web:v1.0.6", size=120 * MIB)
RUN = 360.0  # seconds that a container of these stories lives
STREAM = Arrival(T0 + 30 * DAY, "another", "reg.example/shop/web:v1.0.7")


def used(every: float, times: int) -> ImageRecord:
    """The record of an image of which so many containers were started, one after the other."""
    record = ImageRecord(first_seen=T0)
    for number in range(times):
        at = T0 + number * every
        record = replace(started(record, at), last_used=at + RUN)
    return record


def clause(
    record: ImageRecord,
    idle: float,
    tier: Tier | None = None,
    arrivals: dict[str, Arrival] | None = None,
) -> str:
    """What is said of it so many seconds after its last use, or after it was seen."""
    now = (record.last_used or record.first_seen) + idle
    rule = None
    if tier is not None:
        rule = Importance(parse_pattern("reg.example/**"), Place("policy.yaml", 4, 5), tier)
    score = Appraiser(arrivals or {}, now, unpacked=False).score(WEB, record, rule)
    return str(Explanation(WEB, record, score, now))


def test_use_supersession_and_size_are_one_clause() -> None:
    """No factor, no unit that must be looked up."""
    superseded = {"reg.example/shop/web:v1.0.#": STREAM}
    text = clause(used(8 * HOUR, 30), 2 * HOUR, arrivals=superseded)
    assert text == "used 3x a day, last 2 h ago; superseded by web:v1.0.7; 120 MiB"


def test_a_newer_image_of_another_stream_is_not_called_a_successor() -> None:
    """It weighs little, and may be another app's."""
    text = clause(used(DAY, 9), HOUR, arrivals={"reg.example/shop/web": STREAM})
    assert text == "used once a day, last 1 h ago; newer in its repository: web:v1.0.7; 120 MiB"


def test_what_was_never_used_here_says_since_when_it_is_here() -> None:
    """Pulled ahead, or by somebody else: how long it waits for its first use is what matters."""
    assert clause(ImageRecord(T0), 3 * DAY) == "never used here, first seen 3 d ago; 120 MiB"


@pytest.mark.parametrize("tier", [*Tier, None])
def test_a_tier_is_shown_only_where_somebody_set_one(tier: Tier | None) -> None:
    """Most images have none: a word for nothing on every line would hide the ones that do."""
    text = clause(used(1, 1), HOUR, tier)
    between = "" if tier is None else f" tier {tier.value};"
    assert text == f"used once, 1 h ago;{between} 120 MiB"


@pytest.mark.parametrize(
    ("every", "times", "idle", "text"),
    [
        (HOUR, 48, HOUR, "once an hour"),
        (HOUR / 3, 200, HOUR, "3x an hour"),
        (HOUR, 3, HOUR, "3x a day"),
        (DAY, 14, 2 * HOUR, "once a day"),
        (DAY, 60, 2 * HOUR, "once a day"),
        (2 * DAY, 10, DAY, "4x a week"),
        (7 * DAY, 5, DAY, "once a week"),
        (DAY, 9, 40 * DAY, "less than once a week"),
    ],
)
def test_how_often_is_what_somebody_would_count(
    every: float, times: int, idle: float, text: str
) -> None:
    """The score's own rate is of the moment: a minute after its second use an image would seem to
    be wanted hundreds of times a day."""
    assert clause(used(every, times), idle).startswith(f"used {text}, last ")


def test_an_image_that_came_back_is_not_said_to_be_used_ten_times_as_often() -> None:
    """Its uses from before are remembered, and the day it was seen again is not their first."""
    daily = used(DAY, 14)
    assert daily.last_used is not None
    back = replace(daily, first_seen=daily.last_used - DAY)
    assert clause(back, 2 * HOUR).startswith("used 2x a day, ")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (120 * MIB, "120 MiB"),
        (40 << 30, "40 GiB"),
        (5000 << 40, "5000 TiB"),
        (-2048, "-2 KiB"),
    ],
)
def test_sizes_are_binary_and_say_no_more_than_they_know(count: float, text: str) -> None:
    """As Kubernetes counts them."""
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3600, "1 h ago"),
        (2 * DAY - 1, "47 h ago"),
        (2 * DAY, "2 d ago"),
    ],
)
def test_how_long_ago_has_one_unit(seconds: float, text: str) -> None:
    """Minutes next to days help nobody."""
    assert ago(seconds) == text


def test_how_often_has_no_gaps_between_its_units() -> None:
    """From a thousand times a day to once a year: never `0x`, never hundreds of something."""
    rate = 1000.0
    while rate > 1 / 365:
        text = how_often(rate)
        assert re.fullmatch(
            r"(once|([2-9]|[1-4]\d)x) an? (hour|day|week)|less than once a week", text
        )
        rate *= 0.99
