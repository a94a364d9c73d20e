"""The operator's file or directory of files -> `domain.policy.Policy`, or problems that point at
the place. The only package that knows YAML's nodes."""

from .files import PolicyInvalid, load_policy, load_policy_aside
from .nodes import Problem
from .values import parse_duration, parse_mark, parse_size

__all__ = [
    "PolicyInvalid",
    "Problem",
    "load_policy",
    "load_policy_aside",
    "parse_duration",
    "parse_mark",
    "parse_size",
]
