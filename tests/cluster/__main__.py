"""A real Kubernetes on this machine, the shipped manifest on it, and scenarios with targets.

`python -m tests.cluster [SCENARIO ...] [--pods off,kubelet,api]`: ends with 1 where a target was
missed. Everything comes from Debian's packages; nothing is left running or mounted.
"""

from __future__ import annotations

import argparse
import signal
import sys

from tests.real.debs import ROOT, install_tools, unpacked, what_is_missing

from .build import SUITE, programs
from .daemonset import TODAY
from .image import daemon_image
from .sandbox import hierarchies, run_inside
from .scenarios import SCENARIOS

MODES = (TODAY, "off", "auto", "socket", "kubelet", "api")
TOOLS = {"ip": "iproute2", "openssl": "openssl", "hostname": "hostname"}
PACKAGES = ("containerd", "etcd-server", "containernetworking-plugins", "kubernetes-client")


def main() -> int:
    """Fetches and builds what is missing, then enters the sandbox."""
    arguments = _arguments()
    missing = what_is_missing()
    if missing is None and len(hierarchies()) < 3:
        missing = "the cluster needs cgroup v1; on v2 alone nothing was tried"
    if missing is not None:
        print(f"not run: {missing}", file=sys.stderr)
        return 1
    install_tools()
    install_tools(TOOLS)
    for package in PACKAGES:
        unpacked(SUITE, package)
    programs()
    daemon_image()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell had it ignored
        signal.signal(number, lambda *_: sys.exit(130))
    chosen = ",".join(arguments.scenarios or SCENARIOS)
    words = [",".join(arguments.pods), chosen, str(arguments.enough)]
    return run_inside(words, arguments.minutes * 60)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--pods", type=_modes, default=_default(), help=", ".join(MODES))
    parser.add_argument("--minutes", type=float, default=90, help="given up after this many")
    parser.add_argument("--enough", type=int, default=300, help="pods in a race")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return arguments


def _modes(text: str) -> list[str]:
    modes = text.replace(",", " ").split()
    if not modes or not set(modes) <= set(MODES):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(MODES)}")
    return modes


def _default() -> list[str]:
    """Every source that 1.20 has, or none for a checkout that knows no sources."""
    if (ROOT / "config/pods-api.yaml").exists():
        return ["off", "kubelet", "api"]
    return [TODAY]


if __name__ == "__main__":
    sys.exit(main())
