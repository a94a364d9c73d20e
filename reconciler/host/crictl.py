"""crictl's own file, which names the runtime where no flag and no variable does."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

KEYS = ("runtime-endpoint", "image-endpoint")


class CrictlUnread(Exception):
    """It names an endpoint, or may, that cannot be read; the text is for people."""


def read(path: Path) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Its values, none where there is no file, and what is odd about it. Raises CrictlUnread: the
    runtime that would be found instead may be another one."""
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return {}, ()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        text = f"{path} cannot be read ({why}); name the socket with --runtime-endpoint instead"
        raise CrictlUnread(text) from error
    import yaml

    try:
        found = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        _refuse_misread(path, text, [line.partition(": ")[0] for line in text.splitlines()])
        text = " ".join(str(error).split())
        raise CrictlUnread(f"{path} is not valid YAML: {text}") from error
    _refuse_misread(path, text, found if isinstance(found, dict) else ())
    if isinstance(found, dict):
        return {str(key): str(value) for key, value in found.items() if value}, ()
    if found is None:
        return {}, ()
    return {}, (f"{path} names no runtime: expected {KEYS[0]}: unix:///PATH, found {text[:40]!r}",)


def _refuse_misread(path: Path, text: str, given: Collection[str]) -> None:
    """A line that names an endpoint to whoever reads it, and is none of the given keys."""
    for number, line in enumerate(text.splitlines(), 1):
        for key in (one for one in KEYS if one not in given):
            if re.match(rf"[\s'\"-]*{key.replace('-', '[-_ ]?')}\b", line, re.IGNORECASE):
                raise CrictlUnread(
                    f"{path}:{number}:1: expected {key}: unix:///PATH, with a blank after the "
                    f"colon, found {line.strip()[:80]!r}; mend it, or name the socket with "
                    "--runtime-endpoint"
                )
