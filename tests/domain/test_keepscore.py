"""How much an image is worth keeping, and that its order can be relied on."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.domain.inventory import Image
from reconciler.domain.ledger import Arrival, ImageRecord
from reconciler.domain.pattern import parse_pattern
from reconciler.domain.policy import Importance, Place, Tier
from reconciler.domain.ranking.explanation import Explanation
from reconciler.domain.ranking.keepscore import Appraiser, Score, removal_order
from reconciler.domain.ranking.tag_series import series_of_tag
from reconciler.domain.ranking.use_rate import HOUR, IDLE, settled, started, uses_per_hour
from tests.builders import DAY, T0, image

RUN = 360.0  # seconds that a container of these stories lives


def used(*starts: float, lasting: float = RUN) -> ImageRecord:
    """A record after one container at each of these seconds, first seen at the first."""
    record = ImageRecord(first_seen=starts[0])
    for at in starts:
        record = replace(started(record, at), last_used=at + lasting)
    return record


def scored(
    record: ImageRecord,
    now: float,
    tier: Tier = Tier.NORMAL,
    arrivals: dict[str, Arrival] | None = None,
    size: int = 200_000_000,
) -> Score:
    one = image("shop/cart:v41", size=size)
    appraiser = Appraiser(arrivals or {}, now, unpacked=False)
    rule = Importance(parse_pattern("reg.example/**"), Place("policy.yaml", 4, 5), tier)
    return appraiser.score(one, record, None if tier is Tier.NORMAL else rule)


NEWER = {
    "reg.example/shop/cart:v41": Arrival(T0 + DAY, "another", "reg.example/shop/cart:v42"),
    "reg.example/shop/cart": Arrival(T0 + DAY, "another", "reg.example/shop/cart:v42"),
}


@pytest.mark.parametrize(
    ("starts", "idle", "rate", "keep"),
    [
        ([0.0], 1, 0.888014, 1.221019),
        ([0.0], 24, 0.040010, 0.055013),
        ([n * HOUR for n in range(48)], 24, 1.027133, 1.412308),
        ([n * DAY for n in range(14)], 24, 0.113126, 0.155548),
    ],
    ids=["one use, an hour ago", "one use, a day ago", "48 hourly uses", "14 daily uses"],
)
def test_golden_values(starts: list[float], idle: float, rate: float, keep: float) -> None:
    """The figures the design was chosen by: a changed constant must not go unseen."""
    record = used(*(T0 + at for at in starts))
    assert record.last_used is not None
    now = record.last_used + idle * HOUR
    score = scored(record, now)
    assert score.rate == pytest.approx(rate, abs=1e-6)
    assert score.keep == pytest.approx(keep, abs=2e-6)


def test_golden_value_of_a_superseded_image() -> None:
    """A newer version of the same stream makes an image worth a thirtieth."""
    record = used(T0)
    arrivals = {"reg.example/shop/cart:v41": Arrival(T0 + HOUR, "another", "cart:v42")}
    score = scored(record, T0 + RUN + DAY, arrivals=arrivals)
    assert score.keep == pytest.approx(0.001650, abs=1e-6)


def test_a_version_used_after_the_newer_one_came_is_not_superseded() -> None:
    """A rollback: what is started again although a newer one is there counts in full."""
    record = used(T0, T0 + 2 * DAY)
    assert scored(record, T0 + 3 * DAY, arrivals=NEWER).standing == 1.0


def test_an_image_does_not_supersede_itself() -> None:
    """The newest of a stream is listed after its first container was made: it is still current."""
    one = image("shop/cart:v41")
    arrivals = {of: replace(arrival, key=one.key) for of, arrival in NEWER.items()}
    assert scored(used(T0), T0 + 2 * DAY, arrivals=arrivals).standing == 1.0


def test_a_newer_image_of_the_repository_alone_weighs_little() -> None:
    """Another stream of the repository (another app, another branch) is a hint, no more."""
    arrivals = {"reg.example/shop/cart": NEWER["reg.example/shop/cart"]}
    assert scored(used(T0), T0 + 2 * DAY, arrivals=arrivals).standing == 0.6


@pytest.mark.parametrize(
    ("tag", "stream"),
    [
        ("v20260810-7619858115-master", "v#-#-master"),
        ("1.26.3", "1.26.#"),
        ("1.26", "1.26"),
        ("latest", "latest"),
        ("v41", "v41"),
        ("v1.2.41", "v1.2.#"),
        ("deadbeef1", "#"),
        ("main-0123abc", "main-#"),
    ],
)
def test_versions_of_one_thing_are_one_stream(tag: str, stream: str) -> None:
    """Hashes, dates and patch levels change from version to version; names do not."""
    assert series_of_tag(tag) == stream


def test_a_long_running_image_leaves_as_just_used() -> None:
    """A container that ran for a month ends: its image is not a month old."""
    fresh, old = used(T0 + 30 * DAY), used(T0, lasting=30 * DAY)
    now = T0 + 30 * DAY + HOUR
    assert uses_per_hour(old, now) == pytest.approx(uses_per_hour(fresh, now), rel=0.2)


def test_starts_within_an_episode_are_one_use() -> None:
    """A deployment of twenty replicas, or a crash loop, is no twenty uses."""
    once, looping = used(T0, lasting=3600), used(*(T0 + n * 60 for n in range(60)), lasting=60)
    now = T0 + DAY
    assert uses_per_hour(looping, now) == pytest.approx(uses_per_hour(once, now), rel=0.01)


def test_the_line_names_every_factor_and_their_product_is_the_score() -> None:
    """What an operator reads can be checked with a pocket calculator."""
    record = used(T0, T0 + 2 * HOUR)
    now = T0 + 2 * DAY
    score = scored(record, now, Tier.HIGH, NEWER)
    line = Explanation(image("shop/cart:v41"), record, score, now).line(
        goes=True, rank=1, of=37, frees=310_000_000, missing=4_200_000_000
    )
    rate = re.search(r"used 2x, unused for \d+h\d*m? -> ([\d.e-]+) uses/h", line)
    assert rate is not None
    factors = [float(text) for text in re.findall(r" x([\d.]+)", line)]
    keep = re.search(r"keep=([\d.e-]+) lowest of 37:", line)
    assert keep is not None
    assert len(factors) == 3
    assert math.prod([float(rate[1]), *factors]) == pytest.approx(float(keep[1]), rel=0.01)
    assert "superseded by reg.example/shop/cart:v42 (first seen 24 h ago)" in line
    assert "tier high (policy.yaml:4:5)" in line
    assert line.endswith("frees ~295.6 MiB of 3.9 GiB")


# --- properties ------------------------------------------------------------------------------

STARTS = st.lists(st.floats(0, 60 * DAY), min_size=1, max_size=20).map(sorted)
SIZES = st.integers(1, 1 << 36)
RECORDS = st.one_of(
    st.builds(lambda starts: used(*(T0 + at for at in starts)), STARTS),
    st.builds(lambda at: ImageRecord(first_seen=T0 + at), st.floats(0, 60 * DAY)),
)
NOW = T0 + 70 * DAY


@given(st.lists(st.tuples(RECORDS, SIZES), min_size=2, max_size=12))
def test_the_order_is_total_and_does_not_depend_on_how_images_are_listed(
    world: list[tuple[ImageRecord, int]],
) -> None:
    """The same images in any order give the same order; no two are equal."""
    images = [(image(f"app{n}:v1", size), record) for n, (record, size) in enumerate(world)]
    appraiser = Appraiser({}, NOW, unpacked=False)

    def order(some: list[tuple[Image, ImageRecord]]) -> list[Image]:
        keys = {
            removal_order(appraiser.score(one, record), one, record): one for one, record in some
        }
        assert len(keys) == len(some)
        return [keys[key] for key in sorted(keys)]

    assert order(images) == order(images[::-1])


@given(STARTS, st.floats(0, 60 * DAY))
def test_one_use_more_never_makes_an_image_worth_less(starts: list[float], extra: float) -> None:
    """Used once more, all else the same: it is worth as much or more. A start so near to another
    that the two become one use is no use more, and may bring the use forward by minutes."""
    assume(all(abs(extra - start) > RUN + IDLE + 1 for start in starts))
    fewer = used(*(T0 + at for at in starts))
    more = used(*(T0 + at for at in sorted([*starts, extra])))
    assert uses_per_hour(more, NOW) >= uses_per_hour(fewer, NOW) * (1 - 1e-9)


@given(RECORDS, st.floats(1, 1000), st.floats(1, 1000))
def test_worth_only_falls_while_nothing_uses_an_image(
    record: ImageRecord, hours: float, more: float
) -> None:
    """Idle time alone never brings an image up."""
    now = T0 + 61 * DAY
    early = uses_per_hour(record, now + hours * HOUR)
    assert 0 <= uses_per_hour(record, now + (hours + more) * HOUR) <= early


@given(RECORDS, SIZES)
def test_tiers_and_supersession_only_scale(record: ImageRecord, size: int) -> None:
    """The factors are factors: a tier multiplies, nothing else moves with it."""
    plain = scored(record, NOW, size=size)
    for tier in Tier:
        assert scored(record, NOW, tier, size=size).keep == pytest.approx(plain.keep * tier.weight)
    assert scored(record, NOW, arrivals=NEWER, size=size).keep <= plain.keep * 1.0000001


@given(STARTS)
def test_a_record_settles_once(starts: list[float]) -> None:
    """The end of an episode counts once, however often it is looked at."""
    record = used(*(T0 + at for at in starts))
    counters, since = settled(record)
    again = replace(record, counters=counters, counted_at=since)
    assert settled(again) == (counters, since)


def test_where_unpacked_sizes_are_listed_a_pull_is_reckoned_smaller() -> None:
    """CRI-O lists what an image takes on disk; what a pull brings is packed."""
    one, record = image("app:v1", size=260_000_000), used(T0)
    packed = Appraiser({}, T0 + DAY, unpacked=False).score(one, record)
    unpacked = Appraiser({}, T0 + DAY, unpacked=True).score(one, record)
    assert packed.pull == 260e6
    assert unpacked.pull == pytest.approx(100e6)
    assert unpacked.keep > packed.keep
