"""The container image, built as the Containerfile says, and run as the DaemonSet's pod.

No registry can be reached from a test, so a Debian made by debootstrap stands in for the base. The
pod is the manifest's own: its arguments, its mounts at their places, a read-only root, and no
capability; only the address to listen on is loopback's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.programs import output_of

from .debs import CACHE, ROOT, install_tools, mirror, one_at_a_time
from .images import until

TOOLS = {"buildah": "buildah", "debootstrap": "debootstrap", "setpriv": "util-linux"}
SUITE = "bookworm"  # its Python is the one that the Containerfile's base has
PACKAGES = "python3,python3-venv,ca-certificates"
NOT_IN_THE_BASE = ("./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*", "./dev/*")
PATIENCE = 300.0  # seconds for any one step


def base() -> Path:
    """A folder with a Debian that has Python and venv as `base.tar`, made once for each machine."""
    target = CACHE / f"base-{SUITE}"
    with one_at_a_time(target.name):
        if not target.exists():
            fresh = target.with_suffix(".part")
            shutil.rmtree(fresh, ignore_errors=True)
            tree = fresh / "tree"
            make = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree)]
            path = f"{os.environ['PATH']}:/usr/sbin"
            output_of([*make, mirror()], PATIENCE, env=os.environ | {"PATH": path})
            left_out = [f"--exclude={pattern}" for pattern in NOT_IN_THE_BASE]
            output_of(["tar", "-C", str(tree), *left_out, "-cf", str(fresh / "base.tar"), "."])
            shutil.rmtree(tree)
            fresh.rename(target)
    return target


class Builder:
    """buildah with a storage of its own in `folder`, which leaves nothing behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        places = ["--root", f"{folder}/storage", "--runroot", f"{folder}/run"]
        self._buildah = ["buildah", "--storage-driver", "vfs", *places]

    def __enter__(self) -> Self:
        install_tools(TOOLS)
        self._folder.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder)

    def build(self) -> None:
        """The Containerfile of this project, on the stand-in base."""
        start = self._folder / "base.containerfile"
        start.write_text("FROM scratch\nADD base.tar /\n")
        self._bud(base(), "-f", str(start), "-t", "base")
        context = self._folder / "context"
        for name in ("Containerfile", ".ci/runtime.lock", "config/policy.yaml"):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
        wheels = [str(ROOT / ".ci/wheels.py"), str(context / "dist/wheels")]
        output_of([sys.executable, *wheels], PATIENCE)
        self._bud(context, "--build-arg", "BASE=localhost/base", "-t", "reconciler")

    def config(self) -> dict[str, Any]:
        """The image's own configuration: entry point, command, environment."""
        said = json.loads(self.buildah("inspect", "--type", "image", "localhost/reconciler"))
        found: dict[str, Any] = said["OCIv1"]["config"]
        return found

    def root(self) -> Path:
        """The root filesystem of a container made from the image."""
        self.buildah("from", "--name", "made", "localhost/reconciler")
        return Path(self.buildah("mount", "made").strip())

    def buildah(self, *arguments: str) -> str:
        return output_of([*self._buildah, *arguments], PATIENCE)

    def _bud(self, context: Path, *arguments: str) -> None:
        self.buildah("bud", "--isolation", "chroot", *arguments, str(context))


class Pod:
    """The DaemonSet's one container on a root filesystem; its volumes are folders in `home`."""

    def __init__(self, root: Path, config: dict[str, Any], home: Path) -> None:
        self._root, self._config, self._home = root, config, home
        with (ROOT / "config/daemonset.yaml").open() as file:
            documents = [one for one in yaml.safe_load_all(file) if one["kind"] == "DaemonSet"]
        (self._container,) = documents[0]["spec"]["template"]["spec"]["containers"]
        for mount in self._container["volumeMounts"]:
            self.volume(mount["name"]).mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def volume(self, name: str) -> Path:
        """What is mounted in the pod under that name."""
        return self._home / name

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the image's entry point with other arguments, in the same surroundings."""
        command = self._enter(arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def start(self, listen: str) -> None:
        """The container as the manifest has it, on another address."""
        arguments = [one for one in self._container["args"] if not one.startswith("--listen")]
        with self._log.open("wb") as log:
            command = self._enter([*arguments, f"--listen={listen}", "--log-format=json"])
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def lines(self) -> list[dict[str, Any]]:
        """Everything it has logged."""
        whole = self._log.read_text().splitlines()
        return [json.loads(line) for line in whole if line.startswith("{")]

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first line of an event."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line["event"] == event]

        until(lambda: bool(found()), 30, f"no {event}: {self._log.read_text()}")
        return found()[0]

    def stop(self) -> int:
        """SIGTERM, as kubelet does; the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        code, self._process = self._process.wait(30), None
        return code

    @property
    def _log(self) -> Path:
        return self._home / "log"

    def _enter(self, arguments: Sequence[str]) -> list[str]:
        """A mount namespace of its own; the volumes; the root read-only; then no capability."""
        root = str(self._root)
        script = ["set -e", f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc"]
        script += [  # as every runtime sets up
            f"touch {root}{device}; mount --bind {device} {root}{device}"
            for device in ("/dev/null", "/dev/urandom")
        ]
        for mount in self._container["volumeMounts"]:
            inside = root + mount["mountPath"]
            how = ",ro" if mount.get("readOnly") else ""
            source = self.volume(mount["name"])
            script.append(f"mkdir -p {inside}; mount --bind {source} {inside}")
            script.append(f"mount -o remount,bind{how} {inside}")
        script += [f"mount -o remount,bind,ro {root}", f'exec chroot {root} "$@"']
        bare = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        words = [*self._config["Entrypoint"], *arguments]
        program = ["env", "-i", *self._config["Env"], "setpriv", *bare, *words]
        return ["unshare", "--mount", "sh", "-c", "\n".join(script), "sh", *program]
