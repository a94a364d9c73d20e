"""Texts in which `*` is any run of characters, also none; everything else is itself."""

from __future__ import annotations


def fits(pattern: str, text: str) -> bool:
    """Whether a text is what a pattern says. Leftmost fits suffice, so no step is ever taken back
    and the cost is linear."""
    if "*" not in pattern:
        return pattern == text
    first, *middle, last = pattern.split("*")
    if len(text) < len(first) + len(last) or not text.startswith(first):
        return False
    if not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def meet(one: str, other: str) -> bool:
    """Whether some text fits both patterns."""
    if "*" not in one:
        return fits(other, one)
    if "*" not in other:
        return fits(one, other)
    head, tail = one.partition("*")[0], one.rpartition("*")[2]
    start, end = other.partition("*")[0], other.rpartition("*")[2]
    heads = head.startswith(start) or start.startswith(head)
    # With a `*` in both, what stands between can always be given to the other's `*`.
    return heads and (tail.endswith(end) or end.endswith(tail))
