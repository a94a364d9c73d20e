"""Policies as text for tests, and what the parser makes of them."""

from __future__ import annotations

import datetime as dt

from reconciler.domain.policy import Policy
from reconciler.policy.files import PolicyInvalid, Text, parse_text

HEAD = "apiVersion: reconciler/v1\nkind: ImagePolicy\n"  # what follows begins on line 3
TODAY = dt.date(2027, 1, 24)


def with_warnings(*bodies: str | bytes) -> tuple[Policy, tuple[str, ...]]:
    """A policy of one file a.yaml, or of several (a.yaml, b.yaml), and its warnings. Texts get HEAD
    in front, bytes are taken as they are."""
    files = tuple(
        (f"{'abcdef'[number]}.yaml", body if isinstance(body, bytes) else (HEAD + body).encode())
        for number, body in enumerate(bodies)
    )
    policy, warnings = parse_text(Text("a.yaml", files), TODAY)
    return policy, tuple(map(str, warnings))


def parsed(*bodies: str | bytes) -> Policy:
    return with_warnings(*bodies)[0]


def problems(*bodies: str | bytes) -> list[str]:
    """The problems of a policy that must be refused, each `file:line:column: text`."""
    try:
        policy = parsed(*bodies)
    except PolicyInvalid as invalid:
        return [str(one) for one in invalid.problems]
    raise AssertionError(f"expected to be refused, was taken: {policy}")
