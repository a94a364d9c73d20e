"""Debian packages for the tests on real runtimes: fetched by a private apt, kept in a cache.

Nothing is installed; the machine's own apt configuration gives the mirror. `.cache/` in the
project's root (or RECONCILER_TEST_CACHE) keeps what was fetched for the next run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.programs import output_of

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("RECONCILER_TEST_CACHE", ROOT / ".cache"))
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
TOOLS = {
    "runc": "runc",
    "busybox": "busybox-static",
    "docker-registry": "docker-registry",
    "mkfs.ext4": "e2fsprogs",
}


def unpacked(suite: str, package: str, *more: str) -> Path:
    """The folder a suite's package is unpacked in, with `more` of them in the same folder; fetched
    once for each machine."""
    target = CACHE / suite / package
    with one_at_a_time(suite):
        if not target.exists():
            fresh = target.with_name(f"{package}.part")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            for fetched in _fetched(suite, package, *more):
                subprocess.run(["dpkg", "-x", str(fetched), str(fresh)], check=True)
            fresh.rename(target)
    return target


def source(suite: str, package: str, target: Path) -> None:
    """Unpacks a suite's source package, with Debian's patches, into the folder `target`, new."""
    home = CACHE / "apt" / f"{suite}-source"
    with one_at_a_time(suite):
        options = _private_apt(home, suite, kind="deb-src")
        subprocess.run(["apt-get", *options, "update", "-qq"], check=True)
        command = ["apt-get", *options, "source", "-qq", "--download-only", package]
        subprocess.run(command, check=True, cwd=home, stdout=subprocess.DEVNULL)
        description = next(home.glob(f"{package}_*.dsc"))
        command = ["dpkg-source", "--no-check", "-x", str(description), str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def install_tools(tools: Mapping[str, str] = TOOLS) -> None:
    """Installs the small tools the tests need from the machine's own suite, if any is missing."""
    missing = [package for tool, package in tools.items() if _which(tool) is None]
    if not missing:
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    with one_at_a_time("apt"):
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
        subprocess.run(install, check=True, env=environment, stdout=subprocess.DEVNULL)


def what_is_missing() -> str | None:
    """Why no real runtime can run on this machine, in one line; None: it can."""
    if os.geteuid() != 0:
        return "real runtimes need root (loop devices, mounts, containers)"
    if not Path(KEYRING).exists() or shutil.which("apt-get") is None:
        return "real runtimes come from Debian's packages, and this is no Debian"
    if not Path("/dev/loop-control").exists():
        return "real runtimes need loop devices, and there are none here"
    return None


def _fetched(suite: str, *packages: str) -> list[Path]:
    home = CACHE / "apt" / suite
    options = _private_apt(home, suite)
    subprocess.run(["apt-get", *options, "update", "-qq"], check=True)
    command = ["apt-get", *options, "download", "-qq", *packages]
    subprocess.run(command, check=True, cwd=home, stdout=subprocess.DEVNULL)
    return [next(home.glob(f"{package}_*.deb")) for package in packages]


def _private_apt(home: Path, suite: str, kind: str = "deb") -> list[str]:
    """Options that keep apt away from the system's own lists and cache; `kind` of packages."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    for old in home.glob("*.deb"):
        old.unlink()
    sources = home / "sources.list"
    sources.write_text(f"{kind} [signed-by={KEYRING}] {mirror()} {suite} main\n")
    settings = {
        "Dir::Etc::sourcelist": str(sources),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::Lists": str(home / "lists"),
        "Dir::Cache": str(home / "cache"),
        "APT::Sandbox::User": "root",
    }
    return [f"-o{key}={value}" for key, value in settings.items()]


def mirror() -> str:
    """The address of Debian's archive in this machine's own apt configuration."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)"]
    for line in output_of(command).splitlines():
        address, _, suites = line.partition(" ")
        if address.rstrip("/").endswith("/debian") and "Debian" in suites:
            return address
    raise RuntimeError("no Debian archive in this machine's apt sources; run apt-get update once")


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
