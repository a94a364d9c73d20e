"""kubelet's own `/pods` over HTTPS, polled every 10 s, and every second while the node is under
pressure. It works wherever kubelet accepts tokens of service accounts and the account may get
`nodes/pods` (config/pods-kubelet.yaml).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from ..domain.facts import PodsReported
from ..domain.pods import Pod
from . import translate
from .https import Https, Server
from .source import PodsUnavailable, Put, Sleep

CALM_TICKS, TICK = 10, 1.0  # while calm: ticks between two requests, seconds per tick
LARGE = 256 << 10  # bytes of JSON from which on it is parsed in a thread
PATH = "/pods"

_REFUSALS = {
    401: "kubelet does not know our token (401): its authentication.webhook must be enabled",
    403: "kubelet refuses to list pods (403): bind config/pods-kubelet.yaml; kubelets before 1.33 "
    "know the right to nodes/pods only behind a feature gate",
    404: "kubelet has no /pods (404): its debugging handlers are switched off",
}


def server(host: str, port: int, token: Path, ca: Path) -> Server:
    """kubelet's HTTPS server, asked as the service account that the token belongs to."""

    def mistrusted(why: str) -> str:
        return (
            f"kubelet's serving certificate is not trusted by {ca} ({why}): have the cluster "
            "sign it (serverTLSBootstrap in kubelet's configuration), name its CA with "
            "--kubelet-ca, or use --pods socket or api"
        )

    return Server("kubelet", host, port, token, ca, mistrusted)


class KubeletSource:
    """The pods as kubelet lists them. An answer that did not change is not parsed again."""

    name = "kubelet"

    def __init__(
        self,
        server: Server,
        clock: Callable[[], float],
        under_pressure: Callable[[], bool],
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self._server, self._clock = server, clock
        self._under_pressure, self._sleep = under_pressure, sleep
        self._seen = b""  # the digest of the last answer
        self._pods: tuple[Pod, ...] = ()  # from the last answer

    @property
    def where(self) -> str:
        return f"kubelet's https://{self._server}{PATH}"

    async def ask(self, timeout: float) -> tuple[Pod, ...]:
        with anyio.move_on_after(timeout):
            async with Https(self._server) as https:
                return await self._listed(https)
        raise PodsUnavailable(f"kubelet at {self._server} returned no list in {timeout:.1f} s")

    async def watch(self, put: Put) -> None:
        async with Https(self._server) as https:
            while True:
                asked = self._clock()
                put(PodsReported(asked, self.name, await self._listed(https)))
                for _ in range(CALM_TICKS):
                    await self._sleep(TICK)
                    if self._under_pressure():
                        break

    async def _listed(self, https: Https) -> tuple[Pod, ...]:
        status, body = await https.get(PATH, "application/json")
        if status != 200:
            raise PodsUnavailable(_REFUSALS.get(status, f"kubelet answers {status} to {PATH}"))
        digest = hashlib.sha256(body).digest()
        if digest != self._seen:
            try:
                if len(body) >= LARGE:
                    self._pods = await anyio.to_thread.run_sync(translate.json_pods, body)
                else:
                    self._pods = translate.json_pods(body)
            except translate.Unreadable as error:
                raise PodsUnavailable(f"kubelet's {PATH}: {error}") from error
            self._seen = digest
        return self._pods
