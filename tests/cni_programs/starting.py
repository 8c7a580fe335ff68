"""How the programs of CNIs are started on a node that has no kubelet."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.kubernetes.addresses import Addresses
from tests.kubernetes.api import Api, Object
from tests.kubernetes.enclosure import Daemon
from tests.kubernetes.loading import load, read
from tests.programs.build import Unavailable
from tests.programs.recipe import RECIPES

_SERVICES = Addresses("ipv4").services[0]


class Host(Protocol):
    """A node: its name, what starts programs on it, and the API server that they ask."""

    @property
    def node(self) -> str: ...

    @property
    def api(self) -> Api: ...

    def start(self, name: str, command: Sequence[str]) -> Daemon: ...


FELIX_MODES: dict[str, dict[str, str]] = {
    "felix-iptables-legacy": {
        "FELIX_NFTABLESMODE": "Disabled",
        "FELIX_IPTABLESBACKEND": "legacy",
    },
    "felix-iptables-nft": {"FELIX_NFTABLESMODE": "Disabled", "FELIX_IPTABLESBACKEND": "nft"},
    "felix-nftables": {"FELIX_NFTABLESMODE": "Enabled"},
}
"""The ways in which Felix writes rules, each as settings of it."""


def prepare_felix(api: Api) -> None:
    """Put what Felix looks for before it does anything into the API server."""
    definitions = sorted(_calico_definitions().glob("*.yaml"))
    _load(api, [item for file in definitions for item in read(file)])
    # A kind is served a moment after it was defined.
    _load(api, [_CLUSTER_INFORMATION], patience=30.0)


def start_felix(host: Host, path: Path, settings: Mapping[str, str]) -> Daemon:
    """Start the program at ``path``; see :func:`prepare_felix`. ``settings`` are variables of its
    environment."""
    environment = {
        **_FELIX,
        "FELIX_FELIXHOSTNAME": host.node,
        "KUBECONFIG": str(host.api.kubeconfig),
        **settings,
    }
    words = [f"{name}={value}" for name, value in environment.items()]
    return host.start("calico-felix", ["env", *words, str(path), "/dev/null"])


def start_kube_router(host: Host, path: Path) -> Daemon:
    """Start the program at ``path`` for policies alone."""
    return host.start(
        "kube-router",
        [
            str(path),
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            "--run-loadbalancer=false",
            "--enable-ipv6=false",
            f"--kubeconfig={host.api.kubeconfig}",
            f"--hostname-override={host.node}",
            f"--service-cluster-ip-range={_SERVICES}",
        ],
    )


def _load(api: Api, items: Sequence[Object], patience: float = 0.0) -> None:
    deadline = time.monotonic() + patience
    while refused := load(api, items):
        if time.monotonic() > deadline:
            raise RuntimeError("; ".join(map(str, refused)))
        time.sleep(0.2)


_FELIX = {
    "FELIX_DATASTORETYPE": "kubernetes",
    # As the manifests of Calico have it. A packet for the node is dropped otherwise, once the
    # policies of the pod allowed it.
    "FELIX_DEFAULTENDPOINTTOHOSTACTION": "ACCEPT",
    # Built without C it cannot look for programs of another dataplane. The name is case-sensitive.
    "FELIX_DebugSkipCTLBCleanup": "true",
    "FELIX_LOGFILEPATH": "none",
    "FELIX_LOGSEVERITYFILE": "none",
    "FELIX_LOGSEVERITYSYS": "none",
    "FELIX_LOGSEVERITYSCREEN": "warning",
    "FELIX_USAGEREPORTINGENABLED": "false",
}
_CLUSTER_INFORMATION = {
    "apiVersion": "crd.projectcalico.org/v1",
    "kind": "ClusterInformation",
    "metadata": {"name": "default"},
    "spec": {
        "datastoreReady": True,
        "calicoVersion": "v3.31.0",
        "clusterGUID": "0",
        "clusterType": "k8s",
    },
}


def _calico_definitions() -> Path:
    """The folder with the definitions of Calico's kinds, of the version that is built."""
    done = subprocess.run(
        ["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "github.com/projectcalico/calico"],
        cwd=RECIPES / "calico",
        capture_output=True,
        text=True,
    )
    folder = Path(done.stdout.strip(), "libcalico-go", "config", "crd")
    if done.returncode or not folder.is_dir():
        raise Unavailable(f"calico-felix: the definitions of its kinds: {done.stderr.strip()}")
    return folder
