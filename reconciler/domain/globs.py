"""Match texts against globs in which `*` is any run of characters, also none, and nothing else is
special."""

from __future__ import annotations


def fits(pattern: str, text: str) -> bool:
    """Whether a text matches a pattern."""
    return follows(tuple(pattern.split("*")), text)


def follows(parts: tuple[str, ...], text: str) -> bool:
    """Whether a text matches the parts between a pattern's stars, which are split once for speed.
    Leftmost matches suffice, so there is no backtracking and the cost is linear."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return first == text
    if not text.endswith(last) or not text.startswith(first):
        return False
    at, end = len(first), len(text) - len(last)
    if at > end:
        return False
    for part in parts[1:-1]:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def meet(one: str, other: str) -> bool:
    """Whether some text matches both patterns."""
    if "*" not in one:
        return fits(other, one)
    if "*" not in other:
        return fits(one, other)
    head, tail = one.partition("*")[0], one.rpartition("*")[2]
    start, end = other.partition("*")[0], other.rpartition("*")[2]
    heads = head.startswith(start) or start.startswith(head)
    # With a `*` in both, each one's middle can always match the other's `*`.
    return heads and (tail.endswith(end) or end.endswith(tail))
