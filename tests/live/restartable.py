"""An API server and its etcd that a test may stop, start, and give another past."""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.kubernetes.api import Api, ApiError
from tests.programs.build import program

_SECONDS = 60.0


class Restartable:
    """A control plane without controllers, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "etcd"
        self._pki = folder / "pki"
        self._pki.mkdir()
        self._ports = _free_ports(3)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._apis: list[Api] = []
        self._token = secrets.token_hex(16)
        (self._pki / "tokens.csv").write_text(f"{self._token},admin,admin,system:masters\n")
        keys = self._pki / "accounts.key"
        subprocess.run(
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(keys)],
            check=True,
            capture_output=True,
        )
        self._keys = keys

    def start(self) -> Api:
        self.start_etcd()
        return self.start_server()

    def start_etcd(self) -> None:
        client, peer, _ = self._ports
        self._start(
            "etcd",
            f"--data-dir={self._data}",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )

    @property
    def kubeconfig(self) -> Path:
        return self._folder / "kubeconfig"

    @property
    def api(self) -> Api:
        """Of the server that was started last."""
        return self._apis[-1]

    def start_server(self) -> Api:
        api = self._serve("kube-apiserver", self._ports[2], self.kubeconfig)
        self._apis.append(api)
        return api

    @contextmanager
    def elsewhere(self) -> Iterator[Api]:
        """Another API server of the same etcd, which nobody knows, for as long as the block
        lasts."""
        name = "another"
        api = self._serve(name, _free_ports(1)[0], self._folder / name)
        try:
            yield api
        finally:
            api.close()
            self._stop(name, signal.SIGKILL)

    def compact(self) -> None:
        """Have etcd forget all but the present."""

        def ask(path: str, body: object) -> Any:
            connection = http.client.HTTPConnection("127.0.0.1", self._ports[0], timeout=_SECONDS)
            with closing(connection):
                connection.request("POST", path, json.dumps(body))
                return json.loads(connection.getresponse().read())

        revision = ask("/v3/kv/range", {"key": "Lw=="})["header"]["revision"]
        ask("/v3/kv/compaction", {"revision": revision, "physical": True})

    def _serve(self, name: str, port: int, kubeconfig: Path) -> Api:
        client = self._ports[0]
        self._start(
            name,
            f"--etcd-servers=http://127.0.0.1:{client}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self._pki}",
            f"--token-auth-file={self._pki / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._keys}",
            f"--service-account-signing-key-file={self._keys}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            "--shutdown-delay-duration=0s",
        )
        certificate = self._pki / "apiserver.crt"
        cluster = {
            "server": f"https://127.0.0.1:{port}",
            "certificate-authority": str(certificate),
        }
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": self._token}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "test",
        }
        kubeconfig.write_text(json.dumps(config))
        self._wait(certificate.exists)
        api = Api(kubeconfig)
        self._wait(lambda: _ready(api))
        return api

    def stop_server(self, how: signal.Signals = signal.SIGKILL) -> None:
        self._stop("kube-apiserver", how)

    def restart(self, how: signal.Signals = signal.SIGKILL) -> Api:
        self.stop_server(how)
        return self.start_server()

    def back_up(self) -> Path:
        """What etcd holds now; everything is stopped for it, and started again."""
        self.stop()
        kept = self._folder / f"kept-{secrets.token_hex(4)}"
        shutil.copytree(self._data, kept)
        self.start()
        return kept

    def restore(self, kept: Path) -> None:
        """Have etcd hold that again, without the API server being started."""
        self.stop()
        shutil.rmtree(self._data)
        shutil.copytree(kept, self._data)

    def stop(self) -> None:
        for api in self._apis:
            api.close()
        self._apis.clear()
        for name in ("kube-apiserver", "etcd"):
            self._stop(name, signal.SIGKILL)

    def _start(self, name: str, *arguments: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(program("etcd" if name == "etcd" else "kube-apiserver")), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop(self, name: str, how: signal.Signals) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.send_signal(how)
            process.wait(_SECONDS)

    def _wait(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _SECONDS
        while not reached():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    said = (self._folder / f"{name}.log").read_text("utf-8", "replace")[-2000:]
                    raise RuntimeError(f"{name} ended: {said}")
            if time.monotonic() > deadline:
                raise RuntimeError("the API server is not ready")
            time.sleep(0.05)


@contextmanager
def restartable(folder: Path) -> Iterator[Restartable]:
    made = Restartable(folder)
    try:
        yield made
    finally:
        made.stop()


def _ready(api: Api) -> bool:
    with suppress(ApiError, OSError):
        return bool(api.get("/readyz") == "ok")
    return False


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
