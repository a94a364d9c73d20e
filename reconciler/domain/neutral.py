"""Make untrusted text safe to show: names may contain control characters that upset a terminal or a
log."""

from __future__ import annotations

import re

LONGEST = 2000  # characters of one value

_HOSTILE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def neutralised(text: str) -> str:
    """Returns the text with every character that could upset a terminal or a log shown as an
    escape, cut to a readable length."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
    return _HOSTILE.sub(lambda found: found[0].encode("unicode_escape").decode(), cut)
