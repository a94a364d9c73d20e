"""kubelet's running configuration, flags included, from its `/configz` over HTTPS where the account
may get `nodes/configz` (config/pods-kubelet.yaml), else from its files; read again periodically.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from ..aiokit import Mailbox
from ..domain.facts import Fact, KubeletReported
from ..host import kubelet
from ..settings import SERVICE_ACCOUNT, Settings, may_be_there
from .source import PodsUnavailable, Sleep
from .watch import Place

EVERY = 60.0  # seconds
PATIENCE = 5.0  # seconds that kubelet has to answer
PATH = "/configz"
_REFUSALS = {
    401: "kubelet does not know our token (401)",
    403: "kubelet refuses its configuration (403): bind config/pods-kubelet.yaml; kubelets before "
    "1.33 know the right to nodes/configz only behind a feature gate",
    404: "kubelet has no /configz (404): its debugging handlers are switched off",
}


async def look(
    settings: Settings, clock: Callable[[], float], account: Path = SERVICE_ACCOUNT
) -> KubeletReported:
    """Reads kubelet's configuration: its own answer, else its files, else its defaults."""
    places = kubelet.Places(settings.kubelet_config, settings.kubelet_config_dir)
    node = await anyio.to_thread.run_sync(kubelet.nodefs)
    place = replace(Place.of(settings), account=account)
    troubles: tuple[str, ...] = ()
    if place.kubelet is not None and may_be_there(place.account / "token"):
        try:
            with anyio.fail_after(PATIENCE):
                found = await _asked(place, place.kubelet)
            config, wrong = kubelet.config_of(found, f"kubelet's {PATH}")
            return KubeletReported(clock(), config, node, wrong)
        except PodsUnavailable as error:
            troubles = (str(error),)
        except TimeoutError:
            troubles = (f"kubelet does not answer {PATH} in {PATIENCE:g} s",)
    config, wrong = await anyio.to_thread.run_sync(kubelet.read, places)
    return KubeletReported(clock(), config, node, (*troubles, *wrong))


async def _asked(place: Place, address: tuple[str, int]) -> dict[str, Any]:
    """Returns the KubeletConfiguration that kubelet answers with. Raises PodsUnavailable."""
    from . import kubelet as https_kubelet
    from .https import Https

    ca = place.kubelet_ca or place.account / "ca.crt"
    server = https_kubelet.server(*address, place.account / "token", ca)
    async with Https(server) as https:
        status, body = await https.get(PATH, "application/json")
    if status != 200:
        raise PodsUnavailable(_REFUSALS.get(status, f"kubelet answers {status} to {PATH}"))
    try:
        found = json.loads(body)["kubeletconfig"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PodsUnavailable(f"kubelet's {PATH} is not what it should be: {error!r}") from error
    if not isinstance(found, dict):
        raise PodsUnavailable(f"kubelet's {PATH} has no configuration in it")
    return found


class KubeletWatch:
    """Reports kubelet's configuration at the start, and whenever it changed."""

    def __init__(
        self,
        settings: Settings,
        mailbox: Mailbox[Fact],
        clock: Callable[[], float],
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self._settings, self._mailbox = settings, mailbox
        self._clock, self._sleep = clock, sleep
        self._reported: KubeletReported | None = None

    async def once(self) -> None:
        """Looks once."""
        found = await look(self._settings, self._clock)
        before = self._reported
        if before is None or not _is_same(found, before):
            self._reported = found
            self._mailbox.put(("kubelet", "KubeletReported"), found)

    async def run(self) -> None:
        """Looks forever."""
        while True:
            await self.once()
            await self._sleep(EVERY)


def _is_same(found: KubeletReported, before: KubeletReported) -> bool:
    same_source = found.config.source == before.config.source
    return same_source and replace(found, at=before.at) == before
