"""Names come from strangers, and may hold what trips a terminal or a log: one place makes that
visible, whatever is shown."""

from __future__ import annotations

import re

LONGEST = 2000  # characters of one value

_HOSTILE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def neutralised(text: str) -> str:
    """The text with everything a terminal or a log could trip over shown as an escape, cut to a
    length that can be read."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
    return _HOSTILE.sub(lambda found: found[0].encode("unicode_escape").decode(), cut)
