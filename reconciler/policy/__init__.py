"""The operator's file or directory of files -> `domain.policy.Policy`, or problems that name
their place. The only package that handles YAML nodes."""

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
