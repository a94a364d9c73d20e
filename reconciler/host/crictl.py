"""crictl's own file, which names the runtime where no flag and no variable does."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from ..regular_file import read_text

KEYS = ("runtime-endpoint", "image-endpoint")


class CrictlUnreadable(Exception):
    """crictl's file may name an endpoint that cannot be read; the text is for people."""


def read(path: Path) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Returns the endpoints in it, none where there is no file, and warnings about it. Raises
    CrictlUnreadable: the runtime that would be found instead may be another one."""
    try:
        text = read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}, ()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        text = f"{path} cannot be read ({why}); name the socket with --runtime-endpoint instead"
        raise CrictlUnreadable(text) from error
    from .yaml_text import NotUsable, first_document

    try:
        found = first_document(text)
    except NotUsable as error:
        _refuse_misread(path, text, [line.partition(": ")[0] for line in text.splitlines()])
        raise CrictlUnreadable(f"{path} is {error}") from error
    _refuse_misread(path, text, found if isinstance(found, dict) else ())
    if isinstance(found, dict):
        return {key: str(value) for key in KEYS if (value := found.get(key))}, ()
    if found is None:
        return {}, ()
    return {}, (f"{path} names no runtime: expected {KEYS[0]}: unix:///PATH, found {text[:40]!r}",)


def _refuse_misread(path: Path, text: str, given: Collection[str]) -> None:
    """Raises CrictlUnreadable for a line that seems to name an endpoint but is no given key."""
    for number, line in enumerate(text.splitlines(), 1):
        for key in (one for one in KEYS if one not in given):
            if re.match(rf"[\s'\"-]*{key.replace('-', '[-_ ]?')}\b", line, re.IGNORECASE):
                raise CrictlUnreadable(
                    f"{path}:{number}:1: expected {key}: unix:///PATH, with a space after the "
                    f"colon, found {line.strip()[:80]!r}; fix it, or name the socket with "
                    "--runtime-endpoint"
                )
