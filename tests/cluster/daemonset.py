"""The shipped manifest on the cluster, changed where 1.20 or a test needs it, and its one pod."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from tests.real.debs import ROOT, unpacked
from tests.real.images import until

from .api import Api, Json, seconds
from .build import SUITE

TODAY = "today"  # the mode of a daemon that has no --pods: no argument is given
NAMESPACE = "/api/v1/namespaces/reconciler"
SET = "/apis/apps/v1/namespaces/reconciler/daemonsets/reconciler"
STATE = Path("/var/lib/reconciler")
HIGH, LOW = "1300Mi", "1120Mi"
VICTIM = "victims/"  # how the paths of images that are removed first begin
POLICY = f"""apiVersion: reconciler/v1
kind: ImagePolicy
mode: enforce
watermarks:
  high: {HIGH}
  low: {LOW}
minimumAge: 5s
comeBackFor: 0s
importance:
- images: ["{{registry}}/{VICTIM}*"]
  tier: scratch
  reason: the first to go, unless something keeps it
"""
# Kubelet before 1.32 knows one permission for all but a few of its paths, and asks for that one:
# a manifest that grants the finer nodes/pods is not enough on an old kubelet.
COARSE = """apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: coarse-kubelet-access}
rules:
- {apiGroups: [""], resources: [nodes/proxy], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: coarse-kubelet-access}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: coarse-kubelet-access}
subjects:
- {kind: ServiceAccount, name: reconciler, namespace: reconciler}
"""


class DaemonSet:
    """The one pod of the DaemonSet, its log and its HTTP API."""

    def __init__(self, api: Api, kubeconfig: str, image: str) -> None:
        self._api, self._kubeconfig, self._image = api, kubeconfig, image
        self.mode = TODAY
        self._pod: Json = {}

    def start(self, mode: str) -> float:
        """Applies the manifest with that source of pods; the seconds until its pod was Ready."""
        self.mode = mode
        began = time.monotonic()
        self._kubectl("apply", "-f", "-", text=yaml.safe_dump_all(self._documents()))
        if mode in {"kubelet", "api"}:
            self._kubectl("apply", "-f", str(ROOT / f"config/pods-{mode}.yaml"))
            if mode == "kubelet":
                self._kubectl("apply", "-f", "-", text=COARSE)
                print(
                    "  nodes/proxy is granted on top of the manifest's nodes/pods: kubelet is old"
                )
            patch = (ROOT / f"config/pods-{mode}-patch.yaml").read_text()
            self._kubectl("-n", "reconciler", "patch", "daemonset", "reconciler", "-p", patch)
        until(self._ready, 120, lambda: f"the DaemonSet is not Ready: {self._why()}")
        return time.monotonic() - began

    def stop(self) -> None:
        """Deletes the namespace's DaemonSet and what it remembers."""
        self._api.delete(SET)
        until(lambda: not self._pods(), 90, "the DaemonSet's pod does not end")
        shutil.rmtree(STATE, ignore_errors=True)

    def lines(self, event: str | None = None, since: float = 0.0) -> list[dict[str, Any]]:
        """What its pod has logged, each line with `at`, in seconds since 1970."""
        uid, name = self._pod["metadata"]["uid"], self._pod["metadata"]["name"]
        folder = Path(f"/var/log/pods/reconciler_{name}_{uid}/reconciler")
        found = []
        for file in sorted(folder.glob("*.log")):
            for line in file.read_text(errors="replace").splitlines():
                _, _, after = line.partition(" stdout ")
                text = (after or line.partition(" stderr ")[2]).partition(" ")[2]
                if text.startswith("{") and text.endswith("}"):
                    found.append(json.loads(text))
        for one in found:
            one["at"] = seconds(one["timestamp"])
        return [one for one in found if one["at"] >= since and event in (None, one["event"])]

    def tail(self) -> str:
        """The end of its log and its status, for a failure's text."""
        lines = [" ".join(f"{k}={v}" for k, v in line.items()) for line in self.lines()[-12:]]
        status = {key: value for key, value in self.status().items() if key != "next"}
        return "\n".join([*(line[:300] for line in lines), json.dumps(status)])

    def status(self) -> Json:
        """/api/v1/status."""
        connection = http.client.HTTPConnection(self._pod["status"]["podIP"], 9723, timeout=5)
        try:
            connection.request("GET", "/api/v1/status")
            found: Json = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return found

    def listed_at(self) -> float:
        """When its last complete listing was, in whole seconds."""
        at = self.status()["runtime"]["listedAt"]
        return 0.0 if at is None else seconds(at)

    @property
    def alone(self) -> bool:
        """Whether pods are known from the runtime alone."""
        return self.mode in {TODAY, "off"}

    @property
    def address(self) -> str:
        return str(self._pod["status"]["podIP"])

    @property
    def restarts(self) -> int:
        pod = self._api.get(f"{NAMESPACE}/pods/{self._pod['metadata']['name']}")
        return sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))

    def _documents(self) -> list[Json]:
        documents: list[Json] = list(
            yaml.safe_load_all((ROOT / "config/daemonset.yaml").read_text())
        )
        for one in documents:
            if one["kind"] == "ConfigMap":
                one["data"]["policy.yaml"] = POLICY.format(registry=self._image.partition("/")[0])
            if one["kind"] == "DaemonSet":
                (container,) = one["spec"]["template"]["spec"]["containers"]
                container["image"] = self._image
                # 1.20 refuses it: a probe has a grace period of its own from 1.21 on.
                container["livenessProbe"].pop("terminationGracePeriodSeconds", None)
                container["args"].append("--log-format=json")  # lines that can be read back
                if self.mode != TODAY:
                    container["args"].append(f"--pods={self.mode}")
        return documents

    def _ready(self) -> bool:
        found = self._api.get(SET)
        status = found["status"]
        whole = status.get("observedGeneration") == found["metadata"]["generation"]
        counts = [status.get(name) for name in ("updatedNumberScheduled", "numberReady")]
        pods = self._pods()
        if whole and counts == [1, 1] and len(pods) == 1:
            self._pod = pods[0]
            return True
        return False

    def _pods(self) -> list[Json]:
        pods: list[Json] = self._api.get(f"{NAMESPACE}/pods")["items"]
        return pods

    def _why(self) -> str:
        pods = [json.dumps(pod.get("status", {})) for pod in self._pods()]
        events = self._api.get(f"{NAMESPACE}/events")["items"]
        return "\n".join([*pods, *(one["message"] for one in events[-8:])])

    def _kubectl(self, *arguments: str, text: str | None = None) -> None:
        program = unpacked(SUITE, "kubernetes-client") / "usr/bin/kubectl"
        command = [str(program), f"--kubeconfig={self._kubeconfig}", *arguments]
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr[-2000:]}")
