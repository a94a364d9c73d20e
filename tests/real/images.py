"""Images built in memory and pushed to a registry on loopback: real layers, real manifests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Layer:
    """One gzip'd tar; `diff_id` is the digest of the tar itself."""

    blob: bytes
    diff_id: str

    @property
    def digest(self) -> str:
        return _digest(self.blob)


def layer(files: dict[str, bytes], level: int = 1) -> Layer:
    """A layer of executable files by path; `level` of the compression, 0 for none."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return Layer(gzip.compress(raw.getvalue(), level, mtime=0), _digest(raw.getvalue()))


def noise(size: int, seed: str) -> Layer:
    """A layer of bytes that do not compress, the same for the same seed."""
    data = random.Random(seed).randbytes(size)
    return layer({f"data/{seed.replace('/', '-')}": data}, level=0)


def shell() -> Layer:
    """busybox, as the commands that the pods of the tests run."""
    path = shutil.which("busybox") or "/bin/busybox"
    data = Path(path).read_bytes()
    return layer({"bin/busybox": data, "bin/sleep": data, "bin/sh": data, "pause": data})


class Registry:
    """A real docker-registry on a free port of loopback, with its storage in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = ""
        self._shell = shell()
        self._manifests: dict[str, bytes] = {}  # by full name
        self._stocked: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        config = self._folder / "config.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem:\n"
            f"    rootdirectory: {self._folder}/blobs\n  delete: {{enabled: true}}\n"
            f"http: {{addr: '127.0.0.1:{port}', secret: x}}\n"
        )
        log = (self._folder / "log").open("wb")
        self._running = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log
        )
        log.close()
        self.address = f"localhost:{port}"
        until(lambda: self._answers(), 10, "the registry does not answer")
        self.push("pause:3.10", [], entrypoint=["/bin/sleep", "2147483647"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.terminate()
        self._running.wait(10)

    def push(self, name: str, layers: list[Layer], entrypoint: list[str] | None = None) -> str:
        """Pushes an image of the shell and these layers as `name` ("app:v1"); its full name."""
        repository = name.partition(":")[0]
        whole = [self._shell, *layers]
        config = {
            "architecture": _architecture(),
            "os": "linux",
            "config": {"Entrypoint": entrypoint or ["/bin/sleep", "3600"], "Labels": {"n": name}},
            "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in whole]},
        }
        blob = json.dumps(config).encode()
        for data in [*(one.blob for one in whole), blob]:
            self._push_blob(repository, data)
        kind = "application/vnd.oci.image."
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{kind}manifest.v1+json",
            "config": _descriptor(f"{kind}config.v1+json", blob),
            "layers": [_descriptor(f"{kind}layer.v1.tar+gzip", one.blob) for one in whole],
        }
        full = f"{self.address}/{name}"
        self._put_manifest(full, json.dumps(manifest).encode())
        return full

    def app(self, name: str, size: int = 2 * MEBIBYTE) -> str:
        """Pushes an image of its own bytes, named by what it is called and when."""
        return self.push(name, [noise(size, f"{name}-{time.monotonic_ns()}-{os.getpid()}")])

    def load(self, layout: Path, name: str) -> str:
        """Pushes the one image of an OCI layout, a folder, as `name`; its full name."""
        repository = name.partition(":")[0]
        (described,) = json.loads((layout / "index.json").read_bytes())["manifests"]
        manifest = _blob(layout, described)
        known = json.loads(manifest)
        for one in (*known["layers"], known["config"]):
            self._push_blob(repository, _blob(layout, one))
        full = f"{self.address}/{name}"
        self._put_manifest(full, manifest)
        return full

    def digest(self, name: str) -> str:
        """The manifest's digest of what was pushed last under a full name."""
        return _digest(self._manifests[name])

    def tag(self, name: str, other: str) -> None:
        """Another tag in the same repository for what a full name means now."""
        self._put_manifest(other, self._manifests[name])

    def _put_manifest(self, full: str, manifest: bytes) -> None:
        self._manifests[full] = manifest
        repository, _, tag = full.removeprefix(f"{self.address}/").partition(":")
        kind = "application/vnd.oci.image.manifest.v1+json"
        self._send("PUT", f"/v2/{repository}/manifests/{tag}", manifest, kind)

    def stock(self, count: int, size: int) -> list[str]:
        """The names of `count` images that differ, the same for every story: pushed once, since
        making and pushing them takes longer than pulling them."""
        for number in range(count):
            name = f"stock-{size >> 10}k-{number}:v1"
            if name not in self._stocked:
                self._stocked[name] = self.push(name, [noise(size, name)])
        return [self._stocked[f"stock-{size >> 10}k-{number}:v1"] for number in range(count)]

    def _push_blob(self, repository: str, data: bytes) -> None:
        digest = _digest(data)
        try:
            self._send("HEAD", f"/v2/{repository}/blobs/{digest}")
            return
        except urllib.error.HTTPError:
            pass
        where = self._send("POST", f"/v2/{repository}/blobs/uploads/", b"")
        joint = "&" if "?" in where else "?"
        self._send("PUT", f"{where}{joint}digest={digest}", data, "application/octet-stream")

    def _send(
        self, method: str, path: str, data: bytes | None = None, kind: str | None = None
    ) -> str:
        url = path if path.startswith("http") else f"http://{self.address}{path}"
        request = urllib.request.Request(url, data, method=method)
        if kind:
            request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.headers.get("Location", ""))

    def _answers(self) -> bool:
        try:
            self._send("GET", "/v2/")
        except OSError:
            return False
        return True


def free_port() -> int:
    """A free port of loopback."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(
    condition: Callable[[], object], seconds: float, failure: str | Callable[[], str]
) -> None:
    """Polls until a condition holds; AssertionError after `seconds`, with a text that may be made
    only then, when the logs show why."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            raise AssertionError(failure if isinstance(failure, str) else failure())
        time.sleep(0.02)


def _blob(layout: Path, described: Mapping[str, str]) -> bytes:
    return (layout / "blobs" / described["digest"].replace(":", "/")).read_bytes()


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(data), "size": len(data)}
