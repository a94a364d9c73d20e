"""Kubernetes' own programs, built from Debian's source package and kept outside the checkout.

Debian 12 is the last suite whose source package holds the whole tree with all that it needs, and
its Go compiles it with nothing fetched. The first build takes some 15 minutes on two cores; what it
made stays in RECONCILER_CLUSTER_CACHE (by default ~/.cache/reconciler-cluster) for every later run.
An interrupted build continues where it was.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.programs import output_of
from tests.real.debs import install_tools, source, unpacked

SUITE = "bookworm"
VERSION = "1.20.2"  # what that suite's package holds
PROGRAMS = ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-apiserver")
CACHE = Path(os.environ.get("RECONCILER_CLUSTER_CACHE", "~/.cache/reconciler-cluster")).expanduser()
TREE = "k8s.io/kubernetes"
# Neither a cloud's own client nor Docker's shim is needed, and they are half of what is compiled.
TAGS = "providerless,dockerless"
LONGEST = 3600.0  # seconds for one program


def programs() -> Path:
    """The folder with the four programs."""
    target = CACHE / f"kubernetes-{VERSION}"
    target.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PROGRAMS if not (target / name).exists()]
    if missing:
        install_tools({"dpkg-source": "dpkg-dev", "gcc": "gcc"})
        _build(missing, target)
        shutil.rmtree(CACHE / "build")
    return target


def _build(missing: list[str], target: Path) -> None:
    home = CACHE / "build"
    tree = home / "gopath/src" / TREE
    if not tree.exists():
        fresh = tree.with_name("kubernetes.part")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        source(SUITE, "kubernetes", fresh)
        fresh.rename(tree)
    go = Go(home)
    for name in missing:
        began = time.monotonic()
        if name == "kube-apiserver":
            go.describe_api()
        go.build(f"./cmd/{name}", target / name)
        print(f"built {name} in {time.monotonic() - began:.0f} s", flush=True)


class Go:
    """Debian's compiler on the tree in `home`, without a network: all is vendored."""

    def __init__(self, home: Path) -> None:
        self._home, self._tree = home, home / "gopath/src" / TREE
        root = unpacked(SUITE, "golang-1.19-go", "golang-1.19-src") / "usr/lib/go-1.19"
        self._environment = os.environ | {
            "PATH": f"{root}/bin:{os.environ['PATH']}",
            "GOROOT": str(root),
            "GOPATH": str(home / "gopath"),
            "GOCACHE": str(home / "cache"),
            "GOFLAGS": "-p=1",  # two big packages at once do not fit on a small machine
            "GO111MODULE": "off",
            "CGO_ENABLED": "0",
        }

    def build(self, package: str, target: Path) -> None:
        """Compiles one program; it is there when it is whole."""
        fresh = target.with_suffix(".part")
        flags = ["-trimpath", "-tags", TAGS, "-ldflags", _names(), "-o", str(fresh)]
        self._run("go", "build", *flags, package)
        fresh.rename(target)

    def describe_api(self) -> None:
        """Generates the one file that the API server needs and the package lacks: what its types
        look like. Their makefile finds the types by the same mark in the same folders."""
        if (self._tree / "pkg/generated/openapi/zz_generated.openapi.go").exists():
            return
        generator = self._home / "openapi-gen"
        self.build("./vendor/k8s.io/kube-openapi/cmd/openapi-gen", generator)
        marked = ",".join(f"{TREE}/{folder}" for folder in self._marked())
        places = ["--output-base", str(self._home / "gopath/src"), "-O", "zz_generated.openapi"]
        places += ["-p", f"{TREE}/pkg/generated/openapi", "-r", str(self._home / "violations")]
        head = "hack/boilerplate/boilerplate.generatego.txt"
        self._run(str(generator), "-i", marked, *places, "-h", head)

    def _marked(self) -> list[str]:
        """The folders with types that are marked to be described."""
        find = ["grep", "-Rl", "--include=*.go", "+k8s:openapi-gen=", "vendor/k8s.io", "pkg"]
        found = output_of(find, cwd=self._tree)
        others = ("vendor/k8s.io/code-generator", "vendor/k8s.io/sample-", "vendor/k8s.io/kube-op")
        files = [line for line in found.splitlines() if not line.startswith(others)]
        return sorted({str(Path(line).parent) for line in files if "/_examples/" not in line})

    def _run(self, *command: str) -> None:
        """At a low priority: the machine is not ours alone."""
        subprocess.run(
            ["nice", "-n", "10", *command],
            cwd=self._tree,
            env=self._environment,
            check=True,
            timeout=LONGEST,
        )


def _names() -> str:
    """Linker flags with the version that the programs report; a build without them calls itself
    v0.0.0, which others refuse."""
    major, minor, _ = VERSION.split(".")
    values = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor}
    flags = [
        f"-X {TREE}/vendor/k8s.io/{package}/version.{key}={value}"
        for package in ("component-base", "client-go/pkg")
        for key, value in values.items()
    ]
    return " ".join(["-s -w", *flags])
