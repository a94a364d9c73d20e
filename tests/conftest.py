"""For all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes is a matter of the machine's other work, and no failure of ours:
# benchmarks time things. Every test has a timeout all the same.
settings.register_profile("reconciler", deadline=None)
settings.load_profile("reconciler")
