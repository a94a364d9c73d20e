"""The cluster's certificates: one authority, and a key with a certificate for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.programs import output_of

from .sandbox import NODE, SERVICE

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
SERVERS = ("127.0.0.1", NODE, SERVICE)
# Every identity as Kubernetes knows it: common name, organisation, addresses served.
EVERYONE: dict[str, tuple[str, str, Sequence[str]]] = {
    "apiserver": ("kube-apiserver", "", SERVERS),
    "kubelet-server": ("node1", "", SERVERS),  # signed by the authority: pods can check it
    "kubelet": ("system:node:node1", "system:nodes", ()),
    "admin": ("admin", "system:masters", ()),
    # May do everything: else each controller has to have an account and a token of its own.
    "controller-manager": ("controller-manager", "system:masters", ()),
    "scheduler": ("system:kube-scheduler", "", ()),
}


class Certificates:
    """Files in a folder: `ca.crt`, and `NAME.crt` with `NAME.key` for everyone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        """All of them, and the key that service account tokens are signed with."""
        self.folder.mkdir()
        names = ["-subj", "/CN=cluster", "-keyout", self.path("ca.key")]
        self._openssl("req", "-x509", *KEY, "-days", "3", *names, "-out", self.path("ca.crt"))
        for name, (common, organisation, addresses) in EVERYONE.items():
            self._issue(name, common, organisation, addresses)
        self.new_token_key()

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def new_token_key(self) -> None:
        """Another key for tokens: none that was signed before is believed any more."""
        self._openssl("genrsa", "-out", self.path("tokens.key"), "2048")

    def kubeconfig(self, name: str) -> str:
        """A kubeconfig for one of everyone; its path."""
        path = self.path(f"{name}.kubeconfig")
        user = {
            "client-certificate": self.path(f"{name}.crt"),
            "client-key": self.path(f"{name}.key"),
        }
        cluster = {"server": f"https://{NODE}:443", "certificate-authority": self.path("ca.crt")}
        text = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": name}}],
            "current-context": "here",
        }
        Path(path).write_text(yaml.safe_dump(text))
        return path

    def _issue(self, name: str, common: str, group: str, addresses: Sequence[str]) -> None:
        subject = f"/CN={common}" if not group else f"/O={group}/CN={common}"
        request, extensions = self.path(f"{name}.csr"), self.path(f"{name}.ext")
        served = ",".join([*(f"IP:{one}" for one in addresses), "DNS:node1"])
        Path(extensions).write_text(
            f"extendedKeyUsage=serverAuth\nsubjectAltName={served}\n"
            if addresses
            else "extendedKeyUsage=clientAuth\n"
        )
        key = ["-subj", subject, "-keyout", self.path(f"{name}.key"), "-out", request]
        self._openssl("req", *KEY, *key)
        authority = ["-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"), "-CAcreateserial"]
        result = ["-days", "3", "-extfile", extensions, "-out", self.path(f"{name}.crt")]
        self._openssl("x509", "-req", "-in", request, *authority, *result)

    def _openssl(self, *arguments: str) -> None:
        output_of(["openssl", *arguments])
