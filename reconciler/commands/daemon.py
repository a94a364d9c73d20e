"""Asks the running daemon of this node, over its HTTP API on loopback."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import cast

from ..report import Json
from ..settings import Settings

PATIENCE = 10.0  # seconds: a node that is short of everything answers late


class NoDaemon(Exception):
    """No daemon answers; the text says at which address."""


def ask_daemon(settings: Settings, path: str) -> Json:
    """Returns one document of /api/v1. Raises NoDaemon."""
    host, port = settings.listen
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # No proxy: the address is this machine's own, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{shown}/api/v1/{path}", timeout=PATIENCE) as answer:
            return cast("Json", json.load(answer))
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "reason", error)
        raise NoDaemon(
            f"no daemon answers at {shown} ({why}); is `reconciler run` up, and its --listen the "
            "same?"
        ) from error
