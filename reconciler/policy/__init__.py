"""The operator's file or directory of files -> `domain.policy.Policy`, or problems that point at
the place. The only package that knows YAML's nodes."""

from .files import PolicyInvalid, PolicyUnsettled, absent, load_policy
from .in_subprocess import load_policy_in_subprocess
from .nodes import Problem
from .values import parse_duration, parse_mark, parse_size

__all__ = [
    "PolicyInvalid",
    "PolicyUnsettled",
    "Problem",
    "absent",
    "load_policy",
    "load_policy_in_subprocess",
    "parse_duration",
    "parse_mark",
    "parse_size",
]
