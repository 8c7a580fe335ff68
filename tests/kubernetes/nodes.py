"""Nodes: each a room with a network of its own, containerd, kubelet and kube-proxy."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.kubernetes import enclosure, images, network
from tests.kubernetes.addresses import Addresses
from tests.kubernetes.api import Api
from tests.kubernetes.enclosure import Daemon, Room
from tests.programs.build import Unavailable, program

PROGRAMS = ("kubelet", "kube-proxy", "agnhost")
KubeProxy = Literal["nftables", "iptables", "none"]
AGNHOST = "localhost/agnhost:1"
_PAUSE = "localhost/pause:1"
_PLUGINS = Path("/usr/lib/cni")
_COMMANDS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "conntrack": "conntrack",
}
_SOCKET = "/run/containerd/containerd.sock"
_SECONDS = 120.0
# The kubelet sets these for the whole machine. Its room shows it files that it may change.
_KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


class Node:
    """A node: its name, number and room, and what runs there."""

    def __init__(self, number: int, room: Room) -> None:
        self.number = number
        self.name = name_of(number)
        self.room = room
        self.folder = room.folder / self.name
        self.daemons: list[Daemon] = []


def name_of(number: int) -> str:
    return f"node-{number}"


def start(main: Room, api: Api, addresses: Addresses, count: int, proxy: KubeProxy) -> list[Node]:
    """Start nodes and wait until they are ready. Raises Unavailable where a program cannot be had,
    and RuntimeError where one fails."""
    programs = {name: program(name) for name in PROGRAMS}
    archive = main.folder / "images.tar"
    images.write(programs["agnhost"], [AGNHOST, _PAUSE], ["pause"], archive)
    nodes = []
    for number in range(count):
        node = Node(number, main.add(name_of(number)))
        network.join(main, node.room, number, addresses, count)
        _register(api, node, addresses)
        _start_node(node, programs, api, addresses, archive, proxy)
        nodes.append(node)
    _wait(nodes, "ready", lambda: _ready(api) >= {node.name for node in nodes})
    return nodes


def find(main: Room) -> list[Node]:
    """The nodes of a cluster that is up."""
    found: list[Node] = []
    while (room := enclosure.find(main.folder, name_of(len(found)))) is not None:
        found.append(Node(len(found), room))
    return found


def check_prerequisites(folder: Path) -> None:
    """Raises Unavailable where something that nodes need is missing on this machine."""
    if os.geteuid() != 0:
        raise Unavailable("nodes need root")
    missing = {package for name, package in _COMMANDS.items() if not shutil.which(name)}
    if not (_PLUGINS / "ptp").exists():
        missing.add("containernetworking-plugins")
    if missing:
        raise Unavailable(f"nodes need packages of the system: {', '.join(sorted(missing))}")
    if Path("/var") in folder.resolve().parents:
        raise Unavailable(f"nodes hide /var, so {folder} cannot lie there: set XDG_CACHE_HOME")


def _register(api: Api, node: Node, addresses: Addresses) -> None:
    """The node with the addresses of its pods, to which its routes lead; the kubelet adds the
    rest."""
    pods = [str(block) for block in addresses.pods_of(node.number)]
    item = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name},
        "spec": {"podCIDR": pods[0], "podCIDRs": pods},
    }
    api.create(api.path_of(item, named=False), item)


def _start_node(
    node: Node,
    programs: dict[str, Path],
    api: Api,
    addresses: Addresses,
    archive: Path,
    proxy: KubeProxy,
) -> None:
    _mount(node)
    _write(node, "cni/10-pods.conflist", _cni(addresses, node))
    toml = node.folder / "containerd.toml"
    toml.write_text(_containerd(node), "utf-8")
    node.daemons.append(
        node.room.start(f"{node.name}-containerd", ["containerd", "--config", str(toml)])
    )
    _wait([node], "containerd", lambda: _answers(node, "version"))
    node.room.run("ctr", "--namespace=k8s.io", "images", "import", str(archive))
    own = ",".join(map(str, addresses.node(node.number)))
    config = _write(node, "kubelet.json", _kubelet(node, addresses))
    node.daemons.append(
        node.room.start(
            f"{node.name}-kubelet",
            [
                str(programs["kubelet"]),
                f"--kubeconfig={api.kubeconfig}",
                f"--config={config}",
                f"--hostname-override={node.name}",
                f"--node-ip={own}",
            ],
        )
    )
    if proxy != "none":
        config = _write(node, "kube-proxy.json", _kube_proxy(node, api, addresses, proxy))
        node.daemons.append(
            node.room.start(
                f"{node.name}-kube-proxy", [str(programs["kube-proxy"]), f"--config={config}"]
            )
        )


def _mount(node: Node) -> None:
    """Give the room folders of its own where its programs keep things at fixed places."""
    for name in ("log", "lib/cni", "lib/kubelet", "tmp"):
        (node.folder / "var" / name).mkdir(parents=True)
    (node.folder / "var" / "run").symlink_to("/run")
    node.room.run("mount", "--bind", str(node.folder / "var"), "/var")
    node.room.run("mount", "-t", "tmpfs", "tmpfs", "/run")
    for name, value in _KERNEL.items():
        shown = node.folder / "kernel" / name
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text(f"{value}\n", "utf-8")
        if Path("/proc/sys", name).exists():
            node.room.run("mount", "--bind", str(shown), f"/proc/sys/{name}")


def _write(node: Node, name: str, content: dict[str, Any]) -> Path:
    path = node.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), "utf-8")
    return path


def _cni(addresses: Addresses, node: Node) -> dict[str, Any]:
    """Each pod on a veth of its own to the node, with routes; no bridge."""
    anywhere = {4: "0.0.0.0/0", 6: "::/0"}
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": str(b)}] for b in addresses.pods_of(node.number)],
                    "routes": [{"dst": anywhere[version]} for version in addresses.versions],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _containerd(node: Node) -> str:
    return f"""\
version = 2
root = "{node.folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{_PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_PLUGINS}"
    conf_dir = "{node.folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def _kubelet(node: Node, addresses: Addresses) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{_SOCKET}",
        "address": "::" if 6 in addresses.versions else "0.0.0.0",
        "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "resolvConf": "",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        # The machine is shared: it is not for this kubelet to say that it is full.
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "1Mi"},
        "imageMinimumGCAge": "24h",
    }


def _kube_proxy(node: Node, api: Api, addresses: Addresses, mode: KubeProxy) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "clusterCIDR": ",".join(addresses.pods),
        "hostnameOverride": node.name,
        "bindAddress": "0.0.0.0" if 4 in addresses.versions else "::",
        "clientConnection": {"kubeconfig": str(api.kubeconfig)},
        # These limits are the machine's.
        "conntrack": {"maxPerCore": 0},
    }


def _ready(api: Api) -> set[str]:
    return {
        node["metadata"]["name"]
        for node in api.get("/api/v1/nodes")["items"]
        for state in node.get("status", {}).get("conditions", ())
        if state["type"] == "Ready" and state["status"] == "True"
    }


def _answers(node: Node, *arguments: str) -> bool:
    try:
        node.room.run("ctr", *arguments)
    except RuntimeError:
        return False
    return True


def _wait(nodes: Sequence[Node], what: str, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not reached():
        for node in nodes:
            for daemon in node.daemons:
                daemon.check()
        if time.monotonic() > deadline:
            logs = nodes[0].room.folder / "log"
            raise RuntimeError(f"not {what} after {_SECONDS:.0f} s: see {logs}")
        time.sleep(0.2)
