"""Flags, environment and crictl's own file -> `Settings`. Nothing is read after this."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .host.crictl import CrictlUnreadable
from .host.crictl import read as read_crictl

SOCKETS = (
    "/run/containerd/containerd.sock",
    "/var/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
)
CRICTL = Path("/etc/crictl.yaml")
FOUND = "found there"  # in place of what named the endpoint
POLICY = Path("/etc/reconciler/policy.yaml")
STATE_DIR = Path("/var/lib/reconciler")
LISTEN = "127.0.0.1:9723"
PODS_SOCKET = Path("/var/lib/kubelet/pods-api/pods-api.sock")
KUBELET_PORT = 10250
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def may_be_there(path: Path) -> bool:
    """Whether something is at a path, or may be there: if this user may not look, opening it
    fails."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


class SettingsError(Exception):
    """A flag, a variable or crictl's file has an impossible value; the text is for people."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all commands share. `policy_named`: somebody named the policy, so that its absence is
    a fault and not the built-in defaults."""

    runtime_endpoint: str | None
    endpoint_from: str  # which flag, variable or file named it
    image_endpoint: str | None = None
    policy: Path = POLICY
    policy_named: bool = False
    state_dir: Path = STATE_DIR
    listen: tuple[str, int] = ("127.0.0.1", 9723)
    api: str = "loopback"  # or token: answered on every address to clients that send the token
    events: bool = True
    dry_run: bool = False
    log_json: bool = False
    log_level: str = "info"
    kubelet_config: Path | None = None  # None: where distributions keep it (host/kubelet.py)
    kubelet_config_dir: Path | None = None
    token_file: Path | None = None
    node_name: str = ""
    pods: str = "off"  # which source is asked for pods; the flag's own default is auto
    pods_socket: Path = PODS_SOCKET
    pods_node: str = ""  # whose pods the API server is asked for
    kubelet_endpoint: tuple[str, int] | None = None  # host and port of kubelet's HTTPS server
    kubelet_ca: Path | None = None  # None: the cluster's, from the service account
    warnings: tuple[str, ...] = ()  # about crictl's file, if it names the runtime

    @property
    def no_endpoint(self) -> str:
        """The message for when there is no endpoint."""
        return (
            "no container runtime found: none of " + ", ".join(SOCKETS) + " exists; "
            "name its socket with --runtime-endpoint"
        )


def resolve(
    flags: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    crictl: Path = CRICTL,
    sockets: tuple[str, ...] = SOCKETS,
) -> Settings:
    """Flags take precedence over the environment, that over crictl's file, that over the first
    socket that exists. Raises SettingsError."""
    chosen, warnings = _endpoints(flags, environ, crictl, sockets)
    (endpoint, source), (images, images_from) = chosen
    policy = flags.get("policy") or environ.get("RECONCILER_POLICY")
    return Settings(
        runtime_endpoint=_endpoint(endpoint, source),
        endpoint_from=source,
        image_endpoint=_endpoint(images, images_from),
        policy=Path(policy) if policy else POLICY,
        policy_named=policy is not None and policy != "",
        state_dir=flags.get("state_dir") or STATE_DIR,
        listen=parse_listen(flags.get("listen") or LISTEN),
        api=_api(flags),
        events=flags.get("events") != "off",
        dry_run=bool(flags.get("dry_run")),
        log_json=flags.get("log_format") == "json",
        log_level=flags.get("log_level") or "info",
        kubelet_config=flags.get("kubelet_config"),
        kubelet_config_dir=flags.get("kubelet_config_dir"),
        token_file=flags.get("token_file"),
        node_name=(node := flags.get("node_name") or environ.get("NODE_NAME") or ""),
        pods=flags.get("pods") or "auto",
        pods_socket=flags.get("pods_socket") or PODS_SOCKET,
        pods_node=node or environ.get("RECONCILER_PODS_NODE") or "",
        kubelet_endpoint=_kubelet(flags, environ),
        kubelet_ca=flags.get("kubelet_ca"),
        warnings=(*warnings, *_not_there(crictl, chosen)),
    )


Choice = tuple[str | None, str]  # an endpoint, and what named it


def _endpoints(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    crictl: Path,
    sockets: tuple[str, ...],
) -> tuple[tuple[Choice, Choice], tuple[str, ...]]:
    """The runtime's endpoint and the images', and warnings about crictl's file. An image
    endpoint from a lower-ranking source than the runtime's is left out: it may be another
    runtime's, on which nothing would look used."""
    runtime: list[Choice] = [
        (flags.get("runtime_endpoint"), "--runtime-endpoint"),
        (environ.get("CONTAINER_RUNTIME_ENDPOINT"), "CONTAINER_RUNTIME_ENDPOINT"),
    ]
    images: list[Choice] = [
        (flags.get("image_endpoint"), "--image-endpoint"),
        (environ.get("IMAGE_SERVICE_ENDPOINT"), "IMAGE_SERVICE_ENDPOINT"),
    ]
    warnings: tuple[str, ...] = ()
    if not any(value for value, _ in runtime):  # else crictl's file is none of our business
        try:
            file, warnings = read_crictl(crictl)
        except CrictlUnreadable as error:
            raise SettingsError(str(error)) from error
        there = next((path for path in sockets if may_be_there(Path(path))), None)
        runtime += [(file.get("runtime-endpoint"), str(crictl)), (there, FOUND)]
        images += [(file.get("image-endpoint"), str(crictl)), (None, "")]
    rank, chosen = _first(runtime)
    image_rank, chosen_images = _first(images)
    return (chosen, chosen_images if image_rank <= rank else (None, "")), warnings


def _not_there(crictl: Path, choices: Sequence[Choice]) -> Iterator[str]:
    """Warnings about endpoints that crictl's file names and that do not exist, as after another
    runtime was set up. They are waited for anyway: a runtime that is there may not be the one
    meant."""
    for text, source in choices:
        endpoint = _endpoint(text, source)
        if source != str(crictl) or endpoint is None:
            continue
        if not may_be_there(Path(endpoint.removeprefix("unix://"))):
            yield (
                f"{crictl} names {endpoint}, and no such socket is there; if another runtime is "
                "meant, fix the file or name its socket with --runtime-endpoint"
            )


def parse_listen(text: str) -> tuple[str, int]:
    """HOST:PORT, also [::1]:9723; port 0 means any free one. Raises SettingsError."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\[\]\s]+):(\d{1,5})", text)
    if found is None or int(found[2]) > 65535:
        raise SettingsError(f"--listen: expected HOST:PORT (127.0.0.1:9723), found {text!r}")
    return found[1].strip("[]"), int(found[2])


def _api(flags: Mapping[str, Any]) -> str:
    """Where the page and /api/v1 are served. Raises SettingsError."""
    if flags.get("api") == "token" and not flags.get("token_file"):
        raise SettingsError("--api token: expected --token-file PATH too, the token to ask for")
    return flags.get("api") or "loopback"


def _kubelet(flags: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, int] | None:
    """Where kubelet's HTTPS server is; a pod can get NODE_IP for it. None: unknown."""
    named, address = flags.get("kubelet_endpoint"), environ.get("NODE_IP")
    if named:
        return parse_kubelet(named)
    return (address, KUBELET_PORT) if address else None


def parse_kubelet(text: str) -> tuple[str, int]:
    """HOST or HOST:PORT, IPv6 with a port in brackets. Raises SettingsError."""
    if text.count(":") > 1 and re.fullmatch(r"[0-9a-fA-F:]+", text):
        return text, KUBELET_PORT
    found = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:/\[\]\s]+)(?::(\d{1,5}))?", text)
    port = int(found[2] or KUBELET_PORT) if found is not None else 0
    if found is None or not 0 < port < 65536:
        raise SettingsError(f"--kubelet-endpoint: expected HOST or HOST:PORT, found {text!r}")
    return found[1].strip("[]"), port


def _first(choices: Sequence[Choice]) -> tuple[int, Choice]:
    """The first that names something, and its rank."""
    found = ((rank, choice) for rank, choice in enumerate(choices) if choice[0])
    return next(found, (len(choices), (None, "")))


def _endpoint(text: str | None, source: str) -> str | None:
    if text is None:
        return None
    path = text.removeprefix("unix://").removeprefix("unix:")
    if not path.startswith("/"):
        expected = "unix:///PATH or an absolute path (only unix sockets are spoken to)"
        raise SettingsError(f"{source}: expected {expected}, found {text!r}")
    return f"unix://{path}"
