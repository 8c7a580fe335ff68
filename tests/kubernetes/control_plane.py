"""etcd, API server, controller manager and scheduler."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.kubernetes import store
from tests.kubernetes.addresses import Addresses
from tests.kubernetes.api import Api, ApiError
from tests.kubernetes.enclosure import Daemon, Room
from tests.programs.build import Unavailable, program

_STORE = ("etcd",)
PROGRAMS = (*_STORE, "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
_KUBECONFIG = "kubeconfig"
_SECONDS = 60.0
# Without nodes, pods are objects that somebody puts there. These would delete them, because the
# nodes that they name do not exist or say nothing.
_FOR_NODES_ONLY = (
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "taint-eviction-controller",
)


def start(
    room: Room,
    addresses: Addresses,
    *,
    has_nodes: bool,
    own_network: bool | None = None,
    address: str | None = None,
    has_controllers: bool = True,
    api_server: str = "kube-apiserver",
) -> Api:
    """Start a control plane in a room; returns when its API server is ready. Without controllers
    it is a store of objects, in which nothing happens by itself.

    It listens at ``address``: of the loopback interface if there is none, or where it ``has_nodes``
    the one that is for it.
    ``own_network`` tells whether the room has a network of its own; with nodes it always has.
    ``api_server`` is the program to run as such. Raises Unavailable where a program cannot be had
    and RuntimeError where one fails.
    """
    own_network = has_nodes if own_network is None else own_network
    wanted = PROGRAMS if has_controllers else _STORE
    programs = {name: program(name) for name in (*wanted, api_server)}
    secret = room.folder / "pki"
    secret.mkdir(mode=0o700)
    keys = _service_account_keys(secret)
    token = secrets.token_hex(16)
    (secret / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n", "utf-8")
    etcd_port, peer_port, port = _free_ports(3)
    etcd = f"http://127.0.0.1:{etcd_port}"
    (room.folder / store.ADDRESS).write_text(etcd, "utf-8")
    if address is None:
        address = str(addresses.control_plane()[0]) if has_nodes else "127.0.0.1"
    services = ",".join(addresses.services)
    daemons = [
        room.start(
            "etcd",
            [
                str(programs["etcd"]),
                f"--data-dir={room.folder / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
                # What a crash of the machine would lose is worth nothing.
                "--unsafe-no-fsync",
                "--log-level=error",
            ],
        ),
        room.start(
            "kube-apiserver",
            [
                str(programs[api_server]),
                f"--etcd-servers={etcd}",
                f"--secure-port={port}",
                f"--bind-address={address}",
                f"--advertise-address={address}",
                f"--cert-dir={secret}",
                f"--token-auth-file={secret / 'tokens.csv'}",
                "--authorization-mode=Node,RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={keys}",
                f"--service-account-signing-key-file={keys}",
                f"--service-cluster-ip-range={services}",
                # Nobody asks for an API server by way of the service `kubernetes`.
                "--endpoint-reconciler-type=none",
                "--kubelet-preferred-address-types=InternalIP",
                "--allow-privileged=true",
            ],
        ),
    ]
    # Made by the API server, which signs it itself.
    certificate = secret / "apiserver.crt"
    kubeconfig = room.folder / _KUBECONFIG
    host = f"[{address}]" if ":" in address else address
    kubeconfig.write_text(_kubeconfig(f"https://{host}:{port}", certificate, token), "utf-8")
    kubeconfig.chmod(0o600)
    _wait(daemons, certificate.exists)
    api = Api(kubeconfig, room.network if own_network else None)
    _wait(daemons, lambda: _is_ready(api))
    if not has_controllers:
        return api
    daemons += [
        room.start(
            "kube-controller-manager",
            [
                str(programs["kube-controller-manager"]),
                f"--kubeconfig={kubeconfig}",
                f"--service-account-private-key-file={keys}",
                f"--root-ca-file={certificate}",
                "--leader-elect=false",
                "--secure-port=0",
                "--kube-api-qps=500",
                "--kube-api-burst=1000",
                "--allocate-node-cidrs=true",
                f"--cluster-cidr={','.join(addresses.pods)}",
                f"--service-cluster-ip-range={services}",
                *_node_masks(addresses),
                f"--controllers=*{'' if has_nodes else _without(_FOR_NODES_ONLY)}",
            ],
        ),
        room.start(
            "kube-scheduler",
            [
                str(programs["kube-scheduler"]),
                f"--kubeconfig={kubeconfig}",
                "--leader-elect=false",
                "--secure-port=0",
            ],
        ),
    ]
    # Pods cannot be made before.
    _wait(daemons, lambda: _has_default_account(api))
    return api


def api_of(room: Room) -> Api:
    """The client of the control plane that runs in a room. Raises FileNotFoundError where its
    API server was not started."""
    api = Api(room.folder / _KUBECONFIG)
    if "127.0.0.1" not in api.address:
        api.network = room.network
    return api


def _wait(daemons: Sequence[Daemon], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not reached():
        for daemon in daemons:
            daemon.check()
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{daemons[-1].name} is not ready after {_SECONDS:.0f} s; see {daemons[-1].log}"
            )
        time.sleep(0.05)


def _is_ready(api: Api) -> bool:
    try:
        return bool(api.get("/readyz") == "ok")
    except (ApiError, OSError):
        return False


def _has_default_account(api: Api) -> bool:
    try:
        api.get("/api/v1/namespaces/default/serviceaccounts/default")
    except ApiError:
        return False
    return True


def _kubeconfig(server: str, authority: Path, token: str) -> str:
    name = "kubeverdict"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": name,
                    "cluster": {"server": server, "certificate-authority": str(authority)},
                }
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        },
        indent=2,
    )


def _service_account_keys(folder: Path) -> Path:
    """A file with the pair of keys that the tokens of service accounts are signed with."""
    if shutil.which("openssl") is None:
        raise Unavailable("a control plane needs the command openssl")
    path = folder / "service-accounts.key"
    subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path)],
        check=True,
        capture_output=True,
    )
    return path


def _node_masks(addresses: Addresses) -> list[str]:
    sizes = addresses.sizes_of_pods()
    if len(sizes) == 1:
        return [f"--node-cidr-mask-size={size}" for size in sizes.values()]
    return [f"--node-cidr-mask-size-ipv{version}={size}" for version, size in sizes.items()]


def _without(controllers: Sequence[str]) -> str:
    return "".join(f",-{name}" for name in controllers)


def _free_ports(number: int) -> list[int]:
    """Ports of the loopback interface that nobody uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports
