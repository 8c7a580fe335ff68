"""The node, its pods and the wires between them."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from bench.lab.echo import Echo
from bench.lab.namespaces import clean, create, inside, remove

Layout = Literal["routed", "bridged"]
"""How pods meet: over routes to point-to-point veths (Calico and most CNIs), or over a bridge
(kube-router, Flannel)."""

LinkKind = Literal["veth", "netkit"]
"""What joins a pod to the node; kernels have netkit since Linux 6.7."""

_GATEWAY4 = "169.254.1.1"
_GATEWAY6 = "fe80::1"
_NODE_MAC = "ee:ee:ee:ee:ee:ee"
_BRIDGE = "kvbridge"
_UPLINK = "uplink"
# The ends of the wire to the world outside: the node, then the world.
_WIRE4 = ("169.254.2.1", "169.254.2.2")
_WIRE6 = ("fe80::2:1", "fe80::2:2")
# The pods of a bridged node are neighbours in these.
_BRIDGED_PREFIX = {4: 16, 6: 64}

_Result = TypeVar("_Result")
_numbers = itertools.count(1)


def host_ifname(namespace: str, name: str) -> str:
    """The host end of a pod's veth, named as Calico does; its dispatch chains count on it."""
    return f"cali{hashlib.sha1(f'{namespace}.{name}'.encode()).hexdigest()[:11]}"


class LabPod:
    """A pod: a namespace whose ``eth0`` is joined to ``host_ifname`` on the node."""

    def __init__(
        self,
        netns: str,
        namespace: str,
        name: str,
        ipv4: str | None,
        ipv6: str | None,
        link: LinkKind = "veth",
    ) -> None:
        self.netns = netns
        self.link = link
        self.namespace = namespace
        self.name = name
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self.host_ifname = host_ifname(namespace, name)
        self._servers: list[Echo] = []
        self._processes: list[subprocess.Popen[str]] = []

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for address in (self.ipv4, self.ipv6) if address is not None)

    def call(self, function: Callable[[], _Result]) -> _Result:
        """What ``function`` returns when a thread inside the pod calls it."""
        return inside(self.netns, function)

    def run(
        self, command: Sequence[str], *, input: str | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the pod to its end; see :func:`run_in`."""
        return run_in(self.netns, command, input=input, timeout=timeout)

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a process inside the pod; it is killed with the pod. Options are Popen's."""
        process = self.call(lambda: subprocess.Popen(command, text=True, **options))
        self._processes.append(process)
        return process

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that belongs to the pod; the caller closes it."""
        return self.call(lambda: socket.socket(family, kind, protocol))

    def serve(self, port: int) -> Echo:
        """Echo over TCP and UDP on ``port``, both address families, while the pod is there."""
        server = Echo(self.socket, port)
        self._servers.append(server)
        return server

    def reaches(
        self,
        address: str,
        port: int,
        protocol: Literal["tcp", "udp"] = "tcp",
        *,
        timeout: float = 1.0,
        source_port: int = 0,
    ) -> bool:
        """Whether an echo at ``address`` answers this pod within ``timeout`` seconds."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        with self.socket(family, kind) as probe:
            probe.settimeout(timeout)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", source_port))
            try:
                probe.connect((address, port))
                probe.send(b"kubeverdict")
                return probe.recv(64) == b"kubeverdict"
            except OSError:
                return False

    def stop(self) -> None:
        """End what runs in the pod."""
        while self._servers:
            self._servers.pop().close()
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    # What a killed process did not read is of no use any more.
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()


def run_in(
    netns: str, command: Sequence[str], *, input: str | None = None, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a command inside a namespace to its end and return its output as text.

    Raises RuntimeError with the command's message when it fails.
    """
    done = inside(
        netns,
        lambda: subprocess.run(
            command, input=input, capture_output=True, text=True, timeout=timeout
        ),
    )
    if done.returncode != 0:
        message = (done.stderr or done.stdout).strip()
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {message[:2000]}")
    return done


class Lab:
    """A node with pods. Everything is removed when the ``with`` block is left.

    The node's addresses are those of its bridge, or of its loopback where pods are routed.
    """

    def __init__(
        self,
        layout: Layout = "routed",
        *,
        node_ipv4: str = "10.1.0.1",
        node_ipv6: str = "fd00:1::1",
    ) -> None:
        self.layout: Layout = layout
        self.node_ipv4 = node_ipv4
        self.node_ipv6 = node_ipv6
        self.prefix = f"kv{os.getpid()}-{next(_numbers)}"
        self.node_netns = f"{self.prefix}-node"
        self._pods: dict[tuple[str, str], LabPod] = {}

    def __enter__(self) -> Self:
        clean()
        try:
            create(self.node_netns)
            self._set(
                self.node_netns,
                {
                    "net/ipv4/ip_forward": "1",
                    "net/ipv6/conf/all/forwarding": "1",
                    **_NO_DETECTION,
                },
            )
            self.on_node(self._build_node)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the pods and the node."""
        for pod in tuple(self._pods.values()):
            self.delete_pod(pod)
        remove(self.node_netns)

    @property
    def pods(self) -> tuple[LabPod, ...]:
        return tuple(self._pods.values())

    def on_node(self, function: Callable[[], _Result]) -> _Result:
        """What ``function`` returns when a thread inside the node's namespace calls it."""
        return inside(self.node_netns, function)

    def run(
        self, command: Sequence[str], *, input: str | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the node's namespace to its end; see :func:`run_in`."""
        return run_in(self.node_netns, command, input=input, timeout=timeout)

    def add_pod(
        self,
        namespace: str,
        name: str,
        *,
        ipv4: str | None = None,
        ipv6: str | None = None,
        link: LinkKind = "veth",
    ) -> LabPod:
        """Make a pod and wait until it is wired up. Raises ValueError if it is there already."""
        if (namespace, name) in self._pods:
            raise ValueError(f"pod {namespace}/{name} is in the lab already")
        pod = LabPod(f"{self.prefix}-{namespace}-{name}", namespace, name, ipv4, ipv6, link)
        self._pods[namespace, name] = pod
        try:
            create(pod.netns)
            self._set(pod.netns, _NO_DETECTION)
            self.on_node(lambda: self._wire(pod))
            pod.call(lambda: self._address(pod))
        except BaseException:
            self.delete_pod(pod)
            raise
        return pod

    def add_outside(self, *addresses: str) -> LabPod:
        """The world behind the node: a namespace to which the node sends whatever is not its own.

        It has ``addresses``; raw sockets in it can take those of any other pod of the cluster.
        """
        outside = LabPod(f"{self.prefix}-outside", "", "outside", None, None)
        outside.host_ifname = _UPLINK
        self._pods["", "outside"] = outside
        create(outside.netns)
        self._set(outside.netns, _NO_DETECTION)
        self.on_node(lambda: self._join(outside))
        self.on_node(_route_out)
        outside.call(lambda: _address_outside(addresses))
        return outside

    def delete_pod(self, pod: LabPod) -> None:
        """Remove a pod, what runs in it, and both ends of its veth."""
        self._pods.pop((pod.namespace, pod.name), None)
        pod.stop()
        # A namespace that something still holds would keep its end of the veth alive.
        with contextlib.suppress(FileNotFoundError):
            self.on_node(lambda: _delete_link(pod.host_ifname))
        remove(pod.netns)

    def track_connections(self) -> None:
        """Have the node's kernel track connections, as rules of kube-proxy do."""
        for command in ("iptables", "ip6tables"):
            rule = ("-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT")
            self.run([command, *rule])

    def forget_connections(self) -> None:
        """Empty netfilter's connection tracking on the node."""
        self.on_node(_flush_conntrack)

    def rename_link(self, pod: LabPod, name: str) -> None:
        """Give the host end of a pod's veth another name."""

        def rename() -> None:
            with _netlink() as netlink:
                index = _index(netlink, pod.host_ifname)
                # A link that is up can be renamed since Linux 6.2 only.
                netlink.link("set", index=index, state="down")
                netlink.link("set", index=index, ifname=name)
                netlink.link("set", index=index, state="up")
                pod.host_ifname = name
                if self.layout == "routed":
                    _route_to(netlink, pod, index)

        self.on_node(rename)

    def host_ifindex(self, pod: LabPod) -> int:
        """The index of the host end of a pod's veth."""
        return self.on_node(lambda: socket.if_nametoindex(pod.host_ifname))

    def _build_node(self) -> None:
        with _netlink() as netlink:
            loopback = _index(netlink, "lo")
            netlink.link("set", index=loopback, state="up")
            if self.layout == "bridged":
                netlink.link("add", ifname=_BRIDGE, kind="bridge", address=_NODE_MAC)
                device, widths = _index(netlink, _BRIDGE), _BRIDGED_PREFIX
                netlink.link("set", index=device, state="up")
            else:
                device, widths = loopback, {4: 32, 6: 128}
                # The node answers for the gateway of its pods only if it knows a way to it.
                netlink.route("add", dst=f"{_GATEWAY4}/32", oif=loopback)
            netlink.addr("add", index=device, address=self.node_ipv4, prefixlen=widths[4])
            netlink.addr("add", index=device, address=self.node_ipv6, prefixlen=widths[6])

    def _join(self, pod: LabPod) -> None:
        from pyroute2 import netns

        with _netlink() as netlink, _opened(netns.NETNS_RUN_DIR, pod.netns) as pod_netns:
            if pod.link == "netkit":
                _add_netkit(netlink, pod.host_ifname, pod_netns)
                return
            netlink.link(
                "add",
                ifname=pod.host_ifname,
                kind="veth",
                address=_NODE_MAC if self.layout == "routed" else None,
                peer={"ifname": "eth0", "net_ns_fd": pod_netns},
            )

    def _wire(self, pod: LabPod) -> None:
        self._join(pod)
        with _netlink() as netlink:
            index = _index(netlink, pod.host_ifname)
            if self.layout == "bridged":
                netlink.link("set", index=index, master=_index(netlink, _BRIDGE), state="up")
                return
            _sysctl(
                {
                    f"net/ipv4/conf/{pod.host_ifname}/proxy_arp": "1",
                    f"net/ipv4/neigh/{pod.host_ifname}/proxy_delay": "0",
                }
            )
            netlink.link("set", index=index, state="up")
            _route_to(netlink, pod, index)

    def _address(self, pod: LabPod) -> None:
        bridged = self.layout == "bridged"
        widths = _BRIDGED_PREFIX if bridged else {4: 32, 6: 128}
        with _netlink() as netlink:
            netlink.link("set", index=_index(netlink, "lo"), state="up")
            index = _index(netlink, "eth0")
            netlink.link("set", index=index, state="up")
            if pod.ipv4 is not None:
                netlink.addr("add", index=index, address=pod.ipv4, prefixlen=widths[4])
                if not bridged:
                    netlink.route("add", dst=f"{_GATEWAY4}/32", oif=index, scope="link")
                gateway = self.node_ipv4 if bridged else _GATEWAY4
                netlink.route("add", dst="default", gateway=gateway, oif=index)
            if pod.ipv6 is not None:
                netlink.addr("add", index=index, address=pod.ipv6, prefixlen=widths[6])
                gateway = self.node_ipv6 if bridged else _GATEWAY6
                netlink.route("add", dst="::/0", gateway=gateway, oif=index)

    def _set(self, netns: str, values: Mapping[str, str]) -> None:
        inside(netns, lambda: _sysctl(values))


# Duplicate address detection would keep each IPv6 address unusable for a second.
_NO_DETECTION = {
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/dad_transmits": "0",
}


def _sysctl(values: Mapping[str, str]) -> None:
    for name, value in values.items():
        Path("/proc/sys", name).write_text(value)


def _netlink() -> Any:
    from pyroute2 import IPRoute

    return IPRoute()


@contextlib.contextmanager
def _opened(folder: str, name: str) -> Iterator[int]:
    descriptor = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _index(netlink: Any, name: str) -> int:
    return int(netlink.link_lookup(ifname=name)[0])


def _add_netkit(netlink: Any, ifname: str, pod_netns: int) -> None:
    """Make a netkit and give its other end, which the kernel names, to a pod."""
    netlink.link("add", ifname=ifname, kind="netkit")
    (link,) = netlink.get_links(_index(netlink, ifname))
    netlink.link("set", index=link.get_attr("IFLA_LINK"), net_ns_fd=pod_netns, ifname="eth0")


def _route_to(netlink: Any, pod: LabPod, index: int) -> None:
    """The node's routes to a pod at the other end of link ``index``."""
    if pod.ipv4 is not None:
        netlink.route("add", dst=f"{pod.ipv4}/32", oif=index, scope="link")
    if pod.ipv6 is not None:
        netlink.addr("replace", index=index, address=_GATEWAY6, prefixlen=64)
        netlink.route("add", dst=f"{pod.ipv6}/128", oif=index)


def _route_out() -> None:
    with _netlink() as netlink:
        index = _index(netlink, _UPLINK)
        netlink.addr("add", index=index, address=_WIRE4[0], prefixlen=30)
        netlink.addr("add", index=index, address=_WIRE6[0], prefixlen=64)
        netlink.link("set", index=index, state="up")
        netlink.route("add", dst="default", gateway=_WIRE4[1], oif=index)
        netlink.route("add", dst="::/0", gateway=_WIRE6[1], oif=index)


def _address_outside(addresses: Sequence[str]) -> None:
    with _netlink() as netlink:
        loopback, index = _index(netlink, "lo"), _index(netlink, "eth0")
        for address in addresses:
            width = 128 if ":" in address else 32
            netlink.addr("add", index=loopback, address=address, prefixlen=width)
        netlink.addr("add", index=index, address=_WIRE4[1], prefixlen=30)
        netlink.addr("add", index=index, address=_WIRE6[1], prefixlen=64)
        for device in (loopback, index):
            netlink.link("set", index=device, state="up")
        netlink.route("add", dst="default", gateway=_WIRE4[0], oif=index)
        netlink.route("add", dst="::/0", gateway=_WIRE6[0], oif=index)


def _flush_conntrack() -> None:
    from pyroute2 import NFCTSocket

    with NFCTSocket() as conntrack:
        conntrack.flush()


def _delete_link(name: str) -> None:
    with _netlink() as netlink:
        for index in netlink.link_lookup(ifname=name):
            netlink.link("del", index=index)
