"""A Kubernetes API server as far as Events on Nodes go: TLS on loopback with a CA of its own, the
rules that the real one has for them, and moods in which it answers differently or not at all."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.programs import output_of

TOKEN = "first.token"


@dataclass
class Cluster:
    """`events` is what it holds; `mood` is ok, forbidden or hangs; `token` is the one it takes."""

    folder: Path
    port: int = 0
    token: str = TOKEN
    mood: str = "ok"
    events: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def environ(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    def status(self, path: str, bearer: str, event: dict[str, Any]) -> int:
        """The status with which the real one would answer a new Event."""
        if bearer != f"Bearer {self.token}":
            return 401
        if self.mood == "forbidden":
            return 403
        if path != "/api/v1/namespaces/default/events":
            return 404
        about, meta = event["involvedObject"], event["metadata"]
        valid = (event["apiVersion"], event["kind"]) == ("v1", "Event")
        valid &= "namespace" not in about and meta["namespace"] == "default"
        valid &= 0 < len(meta["name"]) <= 253 and event["type"] in {"Normal", "Warning"}
        valid &= len(event["message"].encode()) <= 1024
        return 201 if valid else 422


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            cluster.calls += 1
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if cluster.mood == "hangs":
                cluster.let_go.wait(30)
                return
            status = cluster.status(self.path, self.headers.get("Authorization", ""), event)
            if status == 201:
                cluster.events.append(event)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"kind":"Status"}')

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    return Handler


@contextlib.contextmanager
def https(folder: Path, handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A server on loopback, by its port, and in `folder` what kubelet puts into a pod: token and
    ca.crt."""
    folder.mkdir(exist_ok=True)
    key, certificate = folder / "key.pem", folder / "ca.crt"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    output_of([*command.split(), *subject, *files])
    (folder / "token").write_text(TOKEN)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """The server and a pod's folder."""
    made = Cluster(folder)
    with https(folder, _handler(made)) as made.port:
        try:
            yield made
        finally:
            made.let_go.set()
