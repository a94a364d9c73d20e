"""Everything in config/ is what it says: valid for Kubernetes and systemd, and one policy."""

from __future__ import annotations

import configparser
import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from reconciler.cri.client import REMOVE_DEADLINE
from reconciler.domain.policy import Mode, Policy
from reconciler.http.health import SILENCE
from reconciler.policy import load_policy
from reconciler.policy.files import parse_text, read_text
from reconciler.settings import PODS_SOCKET, resolve

CONFIG = Path(__file__).parents[2] / "config"
KUBERNETES = ("1.30", "1.37")  # the oldest and the newest that the manifest is checked against
FREEZE = 30.0  # seconds from a freeze to the new process, at most


def documents() -> list[dict[str, Any]]:
    with (CONFIG / "daemonset.yaml").open() as file:
        return list(yaml.safe_load_all(file))


def the(kind: str) -> dict[str, Any]:
    (found,) = [one for one in documents() if one["kind"] == kind]
    return found


def pod() -> dict[str, Any]:
    found: dict[str, Any] = the("DaemonSet")["spec"]["template"]["spec"]
    return found


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their case
    parser.read(CONFIG / "reconciler.service")
    return parser["Service"]


@pytest.mark.parametrize("version", KUBERNETES)
def test_a_typo_in_the_manifest_is_no_surprise_on_the_cluster(version: str) -> None:
    """Every document is valid by Kubernetes' own schema, and has no key that it would drop."""
    for document in documents():
        kubernetes_validate.validate(document, version, strict=True)


def shipped(name: str) -> list[dict[str, Any]]:
    with (CONFIG / f"{name}.yaml").open() as file:
        return list(yaml.safe_load_all(file))


def events(name: str) -> list[dict[str, Any]]:
    return shipped(f"kubernetes-events{name}")


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_account_for_events_may_create_events_and_nothing_else(version: str) -> None:
    """A node agent's token that could read or change anything would be worth stealing."""
    account, role, binding = events("")
    for document in (account, role, binding):
        kubernetes_validate.validate(document, version, strict=True)
    assert role["rules"] == [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "default"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    about = {key: account["metadata"][key] for key in ("name", "namespace")}
    assert binding["subjects"] == [{"kind": "ServiceAccount"} | about]


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_patch_for_events_fits_the_daemonset(version: str) -> None:
    """Patched, it is still valid, runs as that account, and passes on the node's name."""
    (patch,) = events("-patch")
    daemonset = the("DaemonSet")
    spec, more = daemonset["spec"]["template"]["spec"], patch["spec"]["template"]["spec"]
    (container,), (addition,) = spec["containers"], more.pop("containers")
    assert container["name"] == addition["name"]
    container.update(addition)
    spec.update(more)
    kubernetes_validate.validate(daemonset, version, strict=True)
    assert spec["serviceAccountName"] == events("")[0]["metadata"]["name"]
    assert [one["name"] for one in container["env"]] == ["NODE_NAME"]


RIGHTS = {
    "pods-kubelet": {
        "apiGroups": [""],
        "resources": ["nodes/pods", "nodes/configz"],
        "verbs": ["get"],
    },
    "pods-api": {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
}
PATCHES = ("kubernetes-events", *RIGHTS)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", RIGHTS)
def test_an_account_for_pods_may_read_pods_and_nothing_else(name: str, version: str) -> None:
    """nodes/proxy would include exec into every pod, and any write would be worth stealing."""
    account, role, binding = shipped(name)
    for document in (account, role, binding):
        kubernetes_validate.validate(document, version, strict=True)
    assert role["rules"] == [RIGHTS[name]]
    assert (role["kind"], binding["kind"]) == ("ClusterRole", "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    about = {key: account["metadata"][key] for key in ("name", "namespace")}
    assert binding["subjects"] == [{"kind": "ServiceAccount"} | about]
    assert account == events("")[0]  # one account, whichever rights it is given


def patched(daemonset: dict[str, Any], patch: dict[str, Any]) -> None:
    """As `kubectl patch` does it: lists of containers and of env are merged by name."""
    spec, more = daemonset["spec"]["template"]["spec"], patch["spec"]["template"]["spec"]
    (container,), (addition,) = spec["containers"], more.pop("containers")
    assert container["name"] == addition["name"]
    env = {one["name"]: one for one in (*container.get("env", ()), *addition.pop("env"))}
    container.update(addition, env=list(env.values()))
    spec.update(more)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("order", list(itertools.permutations(PATCHES)), ids=" ".join)
def test_all_patches_fit_the_daemonset_together(order: tuple[str, ...], version: str) -> None:
    """In whatever order they come, none takes away what another needs."""
    daemonset = the("DaemonSet")
    for name in order:
        (patch,) = shipped(f"{name}-patch")
        patched(daemonset, patch)
    kubernetes_validate.validate(daemonset, version, strict=True)
    spec = daemonset["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "reconciler"
    assert spec["automountServiceAccountToken"] is True
    fields = {one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"] for one in container_env(spec)}
    assert fields == {
        "NODE_NAME": "spec.nodeName",
        "NODE_IP": "status.hostIP",
        "RECONCILER_PODS_NODE": "spec.nodeName",
    }


def container_env(spec: dict[str, Any]) -> list[dict[str, Any]]:
    (container,) = spec["containers"]
    found: list[dict[str, Any]] = container["env"]
    return found


def test_each_patch_alone_lets_its_source_be_asked(tmp_path: Path) -> None:
    """What it sets is what the daemon reads, and it asks for no right that was not given."""
    values = {"spec.nodeName": "node-7", "status.hostIP": "10.0.0.7"}
    found = {}
    for name in PATCHES:
        daemonset = the("DaemonSet")
        patched(daemonset, shipped(f"{name}-patch")[0])
        env = container_env(daemonset["spec"]["template"]["spec"])
        environ = {one["name"]: values[one["valueFrom"]["fieldRef"]["fieldPath"]] for one in env}
        settings = resolve({"pods": "auto"}, environ, tmp_path / "none", ())
        found[name] = settings.node_name, settings.kubelet_endpoint, settings.pods_node
    assert found == {
        "kubernetes-events": ("node-7", None, "node-7"),
        "pods-kubelet": ("", ("10.0.0.7", 10250), ""),
        "pods-api": ("", None, "node-7"),
    }


def test_kubelets_pods_api_is_where_the_daemon_looks_for_it() -> None:
    """Its directory, so that a new socket is seen; made if kubelet has none, so that the pod
    starts on any version; never written to."""
    spec = pod()
    (volume,) = [one for one in spec["volumes"] if one["name"] == "pods"]
    (mount,) = [one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "pods"]
    assert volume["hostPath"] == {"path": str(PODS_SOCKET.parent), "type": "DirectoryOrCreate"}
    assert (mount["readOnly"], mount["mountPropagation"]) == (True, "HostToContainer")
    assert "--pods=auto" in spec["containers"][0]["args"]


def test_the_manifest_check_works() -> None:
    """The schema refuses a misspelled key, so that its silence means something."""
    broken = the("DaemonSet")
    broken["spec"]["template"]["spec"]["hostNetwrok"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)


def test_the_shipped_policy_is_the_defaults_and_removes_nothing() -> None:
    """config/policy.yaml says what the built-in defaults are, and its mode is observe."""
    policy = load_policy(CONFIG / "policy.yaml")
    assert policy == Policy()
    assert policy.mode is Mode.OBSERVE


def test_the_cluster_gets_the_same_policy_as_a_single_node(tmp_path: Path) -> None:
    """The ConfigMap holds config/policy.yaml, letter by letter, and nothing else."""
    data = the("ConfigMap")["data"]
    assert data == {"policy.yaml": (CONFIG / "policy.yaml").read_text()}
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    policy, warnings = parse_text(read_text(tmp_path))
    assert policy == Policy()
    assert not warnings


def test_the_policy_is_mounted_so_that_edits_arrive() -> None:
    """A subPath mount never sees an edit of its ConfigMap."""
    (container,) = pod()["containers"]
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "policy"]
    assert "subPath" not in mount
    assert f"--policy={mount['mountPath']}" in container["args"]


def test_paths_are_the_same_inside_and_outside() -> None:
    """The runtime names its filesystem by the host's path, so it has to be there in the pod."""
    spec = pod()
    inside = {one["name"]: one["mountPath"] for one in spec["containers"][0]["volumeMounts"]}
    outside = {one["name"]: one["hostPath"]["path"] for one in spec["volumes"] if "hostPath" in one}
    assert outside == {name: inside[name] for name in outside}
    assert set(outside) == {"runtime", "images", "pods", "state"}


def test_the_pod_has_no_privilege_to_lose() -> None:
    """No token, no capability, no writable root, no host namespace."""
    spec = pod()
    (container,) = spec["containers"]
    context = container["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    writable = [m["name"] for m in container["volumeMounts"] if not m.get("readOnly")]
    assert writable == ["state"]


def test_kubelet_ends_a_frozen_pod_soon_and_lets_a_removal_end() -> None:
    """From a freeze to SIGKILL in less than 30 s; on a normal stop a removal has all its time."""
    spec = pod()
    probe = spec["containers"][0]["livenessProbe"]
    last_failure = probe["failureThreshold"] * probe["periodSeconds"] + probe["timeoutSeconds"]
    assert last_failure + probe["terminationGracePeriodSeconds"] < FREEZE
    assert spec["terminationGracePeriodSeconds"] > REMOVE_DEADLINE


def test_systemd_ends_a_frozen_daemon_soon_and_lets_a_removal_end() -> None:
    """The same promise where systemd keeps it; SIGABRT would wait for a stopped process."""
    service = unit()
    assert service["Type"] == "notify"
    assert service["WatchdogSignal"] == "SIGKILL"
    assert int(service["WatchdogSec"]) + int(service["RestartSec"]) < FREEZE
    assert int(service["WatchdogSec"]) > SILENCE
    assert int(service["TimeoutStopSec"]) > REMOVE_DEADLINE
    assert service["Restart"] == "always"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_understands_the_unit_file(tmp_path: Path) -> None:
    """systemd's own check prints nothing, not even a warning of an unknown key."""
    program = tmp_path / "reconciler"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = (CONFIG / "reconciler.service").read_text()
    file = tmp_path / "reconciler.service"
    file.write_text(text.replace("/usr/local/bin/reconciler", str(program)))
    command = ["systemd-analyze", "verify", "--man=no", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "reconciler" in line]
    assert not ours
    assert done.returncode == 0, done.stderr
