"""The programs of the cluster, each a process that can be ended and started again."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.real.debs import unpacked
from tests.real.images import until
from tests.workload import Workload

from .api import Api, seconds
from .build import SUITE
from .certificates import Certificates
from .sandbox import NODE, PODS

NODE_PATH = "/api/v1/nodes/node1"
CONTAINERD = Path("/run/containerd/containerd.sock")
SERVICES = "10.96.0.0/16"
ISSUER = "https://kubernetes.default.svc"
CONTAINERD_CONFIG = """version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{cni}"
  conf_dir = "/etc/cni/net.d"
"""
# As a kubelet is usually set up, but for these. Its own collection of images and its eviction are
# off: what is removed here is our doing. Its rates are those of later versions (1.27 on), or pods
# would wait for its status updates, and Events for their turn.
KUBELET_CONFIG = {
    "kind": "KubeletConfiguration",
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
    "authorization": {"mode": "Webhook"},
    "cgroupDriver": "cgroupfs",
    "failSwapOn": False,
    "makeIPTablesUtilChains": False,
    "resolvConf": "",
    "maxPods": 400,
    "imageGCHighThresholdPercent": 100,
    "imageGCLowThresholdPercent": 99,
    "evictionHard": {
        "imagefs.available": "0%",
        "nodefs.available": "0%",
        "nodefs.inodesFree": "0%",
        "memory.available": "50Mi",
    },
    "containerLogMaxSize": "500Mi",
    "eventRecordQPS": 0,
    "registryPullQPS": 0,
    "kubeAPIQPS": 50,
    "kubeAPIBurst": 100,
}


class Program:
    """One process with a log of its own; `answers` says when it is up."""

    def __init__(self, logs: Path, command: list[str], answers: Callable[[], bool]) -> None:
        self.name = Path(command[0]).name
        self.command, self._answers = command, answers
        self._log = logs / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 60.0) -> None:
        """Starts it and waits until it answers."""
        path = f"{Path(self.command[0]).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env={"PATH": path, "HOME": "/root"}
            )
        until(self._answers, seconds, lambda: f"{self.name} does not answer: {self.tail()}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL if it does not end."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


class Node:
    """Everything that runs on the one node, control plane included, in the order of its start."""

    def __init__(self, home: Path, programs: Path, pause: str) -> None:
        self._programs, self._logs = programs, home / "logs"
        self._began = 0.0  # when kubelet was started last, in whole seconds, as in heartbeats
        self.certificates = Certificates(home / "certificates")
        self.api = Api(self.certificates)
        packages = {name: unpacked(SUITE, name) for name in ("etcd-server", "containerd")}
        self._cni = unpacked(SUITE, "containernetworking-plugins") / "usr/lib/cni"
        self._write(pause)
        self.workload = Workload(str(CONTAINERD))
        containerd = packages["containerd"] / "usr/bin/containerd"
        etcd = packages["etcd-server"] / "usr/bin/etcd"
        self.containerd = self._program(
            [str(containerd), "--config", "/etc/containerd/config.toml"], self.workload.answers
        )
        self.etcd = self._program(
            [str(etcd), "--data-dir", "/var/lib/etcd", "--unsafe-no-fsync"], lambda: True
        )
        self.api_server = self._program(self._api_server(), lambda: self.api.answers("/readyz"))
        kubeconfig = self.certificates.kubeconfig("controller-manager")
        tokens = self.certificates.path("tokens.key")
        command = [str(programs / "kube-controller-manager"), f"--kubeconfig={kubeconfig}"]
        command += [f"--root-ca-file={self._ca}", f"--service-account-private-key-file={tokens}"]
        self.controllers = self._program([*command, "--leader-elect=false"], lambda: True)
        kubeconfig = self.certificates.kubeconfig("scheduler")
        command = [str(programs / "kube-scheduler"), f"--kubeconfig={kubeconfig}"]
        self.scheduler = self._program([*command, "--leader-elect=false"], lambda: True)
        self.kubelet = self._program(self._kubelet(), self._node_ready)

    def start(self) -> None:
        """Starts all of it, and waits until the node is Ready."""
        self._began = float(int(time.time()))
        for program in (self.containerd, self.etcd, self.api_server):
            program.start()
        for program in (self.controllers, self.scheduler, self.kubelet):
            program.start(120)

    def restart_kubelet(self) -> None:
        """Containers live on, as they do without a kubelet."""
        self.kubelet.stop()
        self._began = float(int(time.time()))
        self.kubelet.start(120)

    def _node_ready(self) -> bool:
        """Whether this start of kubelet has said so: a Ready from before it does not count."""
        if not self.api.answers(NODE_PATH):
            return False
        conditions = self.api.get(NODE_PATH)["status"].get("conditions", [])
        ready = [one for one in conditions if one["type"] == "Ready" and one["status"] == "True"]
        return any(seconds(one["lastHeartbeatTime"]) >= self._began for one in ready)

    @property
    def _ca(self) -> str:
        return self.certificates.path("ca.crt")

    def _program(self, command: list[str], answers: Callable[[], bool]) -> Program:
        return Program(self._logs, command, answers)

    def _write(self, pause: str) -> None:
        """Writes all files that the programs read."""
        self._logs.mkdir()
        self.certificates.make()
        bridge = {
            "cniVersion": "0.4.0",
            "name": "pods",
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipam": {"type": "host-local", "subnet": PODS, "routes": [{"dst": "0.0.0.0/0"}]},
        }
        config = dict(KUBELET_CONFIG)
        config["authentication"] = {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": self._ca},
        }
        config["tlsCertFile"] = self.certificates.path("kubelet-server.crt")
        config["tlsPrivateKeyFile"] = self.certificates.path("kubelet-server.key")
        text = CONTAINERD_CONFIG.format(socket=CONTAINERD, pause=pause, cni=self._cni)
        for path, content in (
            ("/etc/cni/net.d/10-pods.conf", json.dumps(bridge)),
            ("/etc/containerd/config.toml", text),
            ("/var/lib/kubelet/config.yaml", yaml.safe_dump(config)),
        ):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(content)

    def _api_server(self) -> list[str]:
        path = self.certificates.path
        return [
            str(self._programs / "kube-apiserver"),
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={NODE}",
            "--secure-port=443",  # the service's own port: nothing translates between the two
            f"--tls-cert-file={path('apiserver.crt')}",
            f"--tls-private-key-file={path('apiserver.key')}",
            f"--client-ca-file={self._ca}",
            f"--kubelet-certificate-authority={self._ca}",
            f"--kubelet-client-certificate={path('admin.crt')}",
            f"--kubelet-client-key={path('admin.key')}",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={path('tokens.key')}",
            f"--service-account-signing-key-file={path('tokens.key')}",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            # On by default from 1.21: a pod's token is a file that kubelet renews.
            "--feature-gates=BoundServiceAccountTokenVolume=true",
        ]

    def _kubelet(self) -> list[str]:
        return [
            str(self._programs / "kubelet"),
            "--config=/var/lib/kubelet/config.yaml",
            f"--kubeconfig={self.certificates.kubeconfig('kubelet')}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{CONTAINERD}",
            "--hostname-override=node1",
            f"--node-ip={NODE}",
        ]
