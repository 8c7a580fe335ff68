"""Small clusters in which everything about Services collides."""

from __future__ import annotations

from random import Random

from kubeverdict.model.cluster import (
    BalancerAddress,
    Cluster,
    ContainerKind,
    ContainerPort,
    Node,
    Pod,
    Service,
    ServicePort,
    WorkloadRef,
)
from kubeverdict.model.endpoints import (
    SLICE_CONTROLLER,
    Endpoint,
    EndpointGroup,
    EndpointList,
    EndpointPort,
)
from kubeverdict.model.policy import Direction, PodPeer, Policy
from kubeverdict.model.ports import PortRange, Protocol
from tests.clusters.records import allow, block, label, policy_of

NODES = ("n1", "n2")
PROTOCOLS = (Protocol.TCP, Protocol.UDP)
NAMES = ("", "web", "dns")


class Made:
    """Small clusters in which everything collides: few names, labels, ports and addresses."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.nodes = tuple(
            Node(name, (f"192.168.0.{number}", f"fd00::{number}"))
            for number, name in enumerate(NODES, 1)
        )
        self.pods = tuple(self._pod(number) for number in range(self._random.randrange(9)))
        self.services = tuple(self._service(number) for number in range(1, 6))
        self.endpoints = tuple(self._list(number) for number in range(self._random.randrange(8)))
        self.cluster = Cluster(
            pods=self.pods, nodes=self.nodes, services=self.services, endpoints=self.endpoints
        )

    def _pod(self, number: int) -> Pod:
        pick = self._random.choice
        addresses: tuple[str, ...] = pick(
            [
                (),
                (f"10.0.0.{number}",),
                (f"10.0.0.{number}", f"fd00:1::{number}"),
                (f"fd00:1::{number}",),
                ("10.0.0.1",),
            ]
        )
        host = self._random.random() < 0.1
        node = pick(("", *NODES))
        if host:
            addresses = ("192.168.0.9",)
        ports = tuple(
            ContainerPort(pick(NAMES), pick(PROTOCOLS), pick((8080, 8081)), kind)
            for kind in (
                ContainerKind.CONTAINER,
                ContainerKind.CONTAINER,
                pick(list(ContainerKind)),
            )
        )
        name = f"p{number}"
        labels = {"app": pick(("a", "b")), "tier": pick(("x", "y"))}
        namespace = pick(("s", "t"))
        phase = pick(("", "Running", "Running", "Pending", "Succeeded"))
        ref = WorkloadRef(namespace, name, "Pod")
        return Pod(namespace, name, labels, ref, addresses, ports, node, phase, host)

    def _service(self, number: int) -> Service:
        pick = self._random.choice
        ports = {
            (name, protocol): ServicePort(
                protocol,
                pick((80, 81)),
                pick((8080, 80, "web")),
                name,
                pick((0, 0, 30080, 30081)),
            )
            for name in NAMES
            for protocol in PROTOCOLS
            if self._random.random() < 0.3
        }
        return Service(
            pick(("s", "t")),
            f"svc{number}",
            pick(({}, {"app": "a"}, {"app": "b", "tier": "x"}, {"app": "none"})),
            tuple(ports.values()),
            pick(("ClusterIP", "LoadBalancer")),
            pick(((), (f"10.96.0.{number}",), (f"10.96.0.{number}", f"fd00:96::{number}"))),
            pick(("Cluster", "Local")),
            pick(("Cluster", "Local", "Local")),
            pick(((), (), ("198.51.100.1",), ("192.168.0.2",))),
            pick(((), (BalancerAddress("203.0.113.1"),), (BalancerAddress("203.0.113.2", True),))),
        )

    def _list(self, number: int) -> EndpointList:
        pick = self._random.choice
        endpoints = tuple(
            Endpoint(
                pick(("10.0.0.1", "10.0.0.2", "172.16.0.1", "192.168.0.1", "fd00:1::2")),
                pick(("", "p1", "p2", "gone")),
                pick(("", *NODES)),
                *(self._random.random() < 0.6 for _ in range(3)),
            )
            for _ in range(self._random.randrange(4))
        )
        ports = tuple(
            EndpointPort(pick(PROTOCOLS), pick((6443, 8080)), pick(NAMES)) for _ in range(2)
        )
        service = pick(self.services)
        kind = pick(("EndpointSlice", "EndpointSlice", "Endpoints"))
        manager = pick(("", SLICE_CONTROLLER)) if kind == "EndpointSlice" else ""
        name = service.name if kind == "Endpoints" else f"slice{number}"
        groups = (EndpointGroup(endpoints, ports),)
        return EndpointList(kind, service.namespace, name, service.name, groups, manager)


ASKED = (
    *(f"10.96.0.{number}" for number in range(1, 6)),
    *("fd00:96::1", "fd00:96::2", "198.51.100.1", "203.0.113.1", "203.0.113.2"),
    *("192.168.0.1", "192.168.0.2", "192.168.0.9", "10.0.0.1", "8.8.8.8"),
)


def policies(seed: int) -> tuple[Policy, ...]:
    """Some that isolate egress, and let pods out to some of the ends of Services."""
    random = Random(seed)
    peers = (
        PodPeer(label("app", "a"), "s"),
        PodPeer(label("app", "b"), "t"),
        block("172.16.0.0/12"),
        block("192.168.0.0/24"),
        block("10.0.0.0/8", "10.0.0.2/32"),
    )
    ports = tuple(PortRange(Protocol.TCP, number, number) for number in (8080, 6443, 80))
    found = []
    for name in ("s", "t"):
        rules = [
            allow(
                Direction.EGRESS,
                tuple(random.sample(peers, 2)),
                random.choice((None, tuple(random.sample(ports, 2)))),
                index=index,
            )
            for index in range(2)
        ]
        found.append(policy_of(f"{name}/out", *rules))
    return tuple(found)
