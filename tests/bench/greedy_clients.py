"""What sixty clients that request all images again and again cost a node."""

from __future__ import annotations

import time

from tests.http.strangers import IMAGES, Strangers
from tests.real.containerd import Containerd
from tests.real.daemon import Daemon
from tests.real.images import MEBIBYTE, noise

from .figures import Figure, median, resident
from .memory import shipped
from .on_containerd import containerd
from .on_prepared import home, write_policy
from .prepared import PreparedNode

GREEDY = 60
KIBIBYTE = 1024


def creations(rounds: int = 4, seconds: float = 10, images: int = 700) -> list[Figure]:
    """Pods made on a real containerd 2.x of 700 images with the daemon running, without and with
    the clients, in turns; how many in the same time."""
    without: list[int] = []
    with_clients: list[int] = []
    late = 0
    with home() as folder, containerd(folder) as (node, registry):
        shared = noise(64 * KIBIBYTE, "shared")
        names = [registry.push(f"app{n}:v1", [shared]) for n in range(images)]
        for name in names:
            node.workload.pull(name)
        daemon = Daemon(node.endpoint, folder / "daemon")
        daemon.write_policy("99%", "98%")
        with daemon:
            port = int(daemon.lines("starting")[-1]["listen"].rpartition(":")[2])
            _pods(node, names[0], 3)
            for _ in range(rounds):
                without.append(_pods(node, names[0], seconds)[0])
                with Strangers(port, greedy=GREEDY):
                    time.sleep(1)
                    made, missed = _pods(node, names[0], seconds)
                with_clients.append(made)
                late += missed
    made_of = {
        "without": sum(without),
        "beside": sum(with_clients),
        "over 2 s": late,
        "seconds of each": rounds * seconds,
    }
    name = f"pods made without / with {GREEDY} greedy clients"
    return [Figure(name, sum(without) / sum(with_clients), 1.11, "times", made_of)]


def _pods(node: Containerd, image: str, seconds: float) -> tuple[int, int]:
    """Pods with a container, made one after the other and removed again: how many, and how many
    took longer than two seconds."""
    made = late = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        pod = node.workload.run_pod()
        node.workload.create(pod, image)
        late += time.monotonic() - began > 2
        made += 1
        node.workload.remove_pod(pod)
    return made, late


def memory(images: int = 5000) -> list[Figure]:
    """RSS on a node of 5,000 images with and without the clients, and how long a probe takes."""
    with home() as folder, PreparedNode(folder, images, images) as node:
        daemon = Daemon(node.endpoint, folder / "daemon")
        daemon.environment |= shipped()
        write_policy(folder / "daemon", "observe")
        with daemon:
            port = int(daemon.lines("starting")[-1]["listen"].rpartition(":")[2])
            time.sleep(10)
            before, after, probes = resident(daemon.pid), [], []
            with Strangers(port, greedy=GREEDY, path=IMAGES) as strangers:
                for _ in range(100):
                    began = time.monotonic()
                    daemon.get("/healthz")
                    probes.append(time.monotonic() - began)
                    after.append(resident(daemon.pid))
                    time.sleep(0.2)
    made_of = {
        "before MiB": before / MEBIBYTE,
        "most MiB": max(after) / MEBIBYTE,
        "answers": strangers.answered.get("200", 0),
        "probe p50 ms": 1e3 * median(probes),
    }
    return [
        Figure(
            f"RSS beside {GREEDY} greedy clients / before",
            max(after) / before,
            1.5,
            made_of=made_of,
        ),
        Figure("longest probe beside them", max(probes), 1, "s"),
    ]
