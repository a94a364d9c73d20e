"""A ledger that another process wrote, taken over: no image gets older or less wanted by it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.joining import joined
from reconciler.domain.ledger import (
    Arrival,
    ImageRecord,
    Remembered,
    RemovalRecord,
    TemplateRecord,
    Used,
)
from tests.builders import DAY, T0

OLD = ImageRecord(T0 - 9 * DAY, T0 - 8 * DAY, T0 - 8 * DAY, 3, names=("app:v1",), size=7)


def of(**fields: object) -> Remembered:
    tables = ("images", "gone", "removals", "arrivals", "running")
    values: dict[str, object] = {table: {} for table in tables}
    return Remembered(**values | fields)  # type: ignore[arg-type] # by name


def test_a_use_that_only_one_of_them_saw_counts() -> None:
    """The one that stood by was started later, or did not run in between: whoever saw the later
    use is right."""
    used = replace(OLD, last_used=T0 - 60, uses=4)
    for ours, theirs in ((OLD, used), (used, OLD)):
        merged = joined(of(images={"a": ours}), of(images={"a": theirs}), T0)
        assert merged.images["a"].last_used == T0 - 60
        assert merged.images["a"].uses == 4


def test_an_image_that_came_back_unnoticed_is_new() -> None:
    """Removed and pulled again between two listings of ours: they saw it gone."""
    theirs = of(gone={"a": replace(OLD, gone_at=T0 - 90)})
    merged = joined(of(images={"a": OLD}), theirs, T0)
    assert merged.images["a"].first_seen == T0 - 90
    assert not merged.gone


def test_an_image_that_only_they_know_is_new_when_a_listing_has_it() -> None:
    """It may be gone, or just be pulled: its history is kept, its age is not believed."""
    merged = joined(of(), of(images={"a": OLD}), T0)
    assert not merged.images
    assert merged.gone["a"] == replace(OLD, gone_at=T0)
    gone = joined(of(gone={"a": replace(OLD, gone_at=T0 - 5)}), of(images={"a": OLD}), T0)
    assert gone.gone["a"].gone_at == T0 - 5


def test_what_the_other_removed_last_is_what_is_remembered_of_it() -> None:
    """An image of theirs that comes back was wanted, as one of ours is."""
    before, after = RemovalRecord(T0 - DAY, answered_at=T0 - DAY), RemovalRecord(T0 - 60)
    for ours, theirs in ((before, after), (after, before)):
        merged = joined(of(removals={"a": ours}), of(removals={"a": theirs, "b": before}), T0)
        assert merged.removals == {"a": after, "b": before}


def test_templates_keep_all_that_either_saw() -> None:
    """Twins of a pod that only the other saw start need the same images."""
    ours = TemplateRecord(T0 - 9, T0 - 5, {"main": Used(T0 - 8, ("a",))})
    theirs = TemplateRecord(
        T0 - 7, T0 - 3, {"main": Used(T0 - 6, ("b",)), "init": Used(T0, ("c",))}
    )
    merged = joined(of(templates={"t": ours}), of(templates={"t": theirs}), T0)
    assert merged.templates["t"] == TemplateRecord(
        T0 - 7, T0 - 3, {"main": Used(T0 - 6, ("b", "a")), "init": Used(T0, ("c",))}
    )


def test_the_newest_of_a_stream_is_the_newest_of_both() -> None:
    """Else a version that the other saw come would not supersede the one before it."""
    old, new = Arrival(T0 - 9, "a", "app:v1"), Arrival(T0 - 3, "b", "app:v2")
    for ours, theirs in ((old, new), (new, old)):
        merged = joined(of(arrivals={"app": ours}), of(arrivals={"app": theirs}), T0)
        assert merged.arrivals == {"app": new}


TIMES = st.floats(T0 - 30 * DAY, T0)
RECORDS = st.builds(ImageRecord, TIMES, st.none() | TIMES, st.none() | TIMES, st.integers(0, 9))
IMAGES = st.dictionaries(st.sampled_from("abcd"), RECORDS)
LEFT = st.builds(lambda record, at: replace(record, gone_at=at), RECORDS, TIMES)
GONE = st.dictionaries(st.sampled_from("cdef"), LEFT)


def _unused_since(record: ImageRecord) -> float:
    return max(record.first_seen, record.last_used or 0.0)


@given(IMAGES, IMAGES, GONE)
def test_nothing_is_older_than_either_says(
    ours: dict[str, ImageRecord], theirs: dict[str, ImageRecord], gone: dict[str, ImageRecord]
) -> None:
    """An image of ours stays one, whatever the two remember, and is as young as either says."""
    gone = {key: record for key, record in gone.items() if key not in theirs}
    merged = joined(of(images=ours), of(images=theirs, gone=gone), T0)
    assert merged.images.keys() == ours.keys()
    assert merged.images.keys().isdisjoint(merged.gone)
    for key, record in merged.images.items():
        words = [ours[key], *([theirs[key]] if key in theirs else [])]
        assert _unused_since(record) >= max(map(_unused_since, words))
    again = joined(merged, of(images=theirs, gone=gone), T0)
    assert again == merged
