"""Small clusters in which a CNI's program does what the API's text does not say, with the packets
that show it."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from kubeverdict.model.cluster import Cluster, ContainerKind, ContainerPort, Node
from kubeverdict.model.policy import Direction, PodPeer
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from tests.clusters.records import allow, block, label, pod, pods_where, policy_of, xy_cluster
from tests.cni_programs.prober import Packet
from tests.cni_programs.staging import NODE, NODE_ADDRESSES

TCP, UDP, ICMP = Protocol.TCP, Protocol.UDP, Protocol.ICMP
INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
BOTH = (INGRESS, EGRESS)
OUTSIDE = "203.0.113.9"


@dataclass(frozen=True)
class Known:
    """``arrive`` and ``are_lost`` are packets: source, destination, protocol and port."""

    title: str
    profile: str
    cluster: Cluster
    arrive: tuple[tuple[str, str, Protocol, int], ...] = ()
    are_lost: tuple[tuple[str, str, Protocol, int], ...] = ()

    def __str__(self) -> str:
        return f"{self.profile}: {self.title}"

    @property
    def packets(self) -> dict[Packet, bool]:
        """Whether each packet arrives."""
        return {
            **{Packet(*packet): True for packet in self.arrive},
            **{Packet(*packet): False for packet in self.are_lost},
        }


WEB, CLIENT, OTHER, FAR = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"
_HTTP = ContainerPort("http", TCP, 8080)
_WEB = pod("x/web", "app=web", WEB, node=NODE, ports=(_HTTP,))
_CLIENT = pod("x/client", "app=client", CLIENT, node=NODE)
_OTHER = pod("x/other", "app=other", OTHER, node=NODE)
_FAR = pod("y/far", "app=far", FAR, node="node-2", ports=(replace(_HTTP, number=9090),))
_PODS = (_WEB, _CLIENT, _OTHER, _FAR)
_CLIENTS = PodPeer(label("app", "client"), "x")
_OF_WEB = label("app", "web")
_81 = PortRange(TCP, 81, 81)
_UNKNOWN = (NamedPort(TCP, "metrics"),)


def _cluster(*policies: object) -> Cluster:
    return xy_cluster(_PODS, *policies, nodes=(Node(NODE, NODE_ADDRESSES),))  # type: ignore[arg-type]


KNOWN = (
    Known(
        "a rule with nothing but names that nobody has is one for all ports of its pods",
        "kube-router@2.1",
        _cluster(
            policy_of(
                "x/in",
                allow(INGRESS, (_CLIENTS, block("203.0.113.0/24")), _UNKNOWN),
                pods=_OF_WEB,
            )
        ),
        arrive=((CLIENT, WEB, TCP, 80), (CLIENT, WEB, UDP, 53), (CLIENT, WEB, ICMP, 0)),
        are_lost=((OTHER, WEB, TCP, 80), (OUTSIDE, WEB, TCP, 80)),
    ),
    Known(
        "out of a pod the names are those of its peers",
        "kube-router@2.1",
        _cluster(
            policy_of(
                "x/out",
                allow(EGRESS, (pods_where("team=Y", "app=far"),), _UNKNOWN),
                pods=_OF_WEB,
            )
        ),
        arrive=((WEB, FAR, TCP, 80), (WEB, FAR, UDP, 53)),
        are_lost=((WEB, CLIENT, TCP, 80), (WEB, OUTSIDE, TCP, 80)),
    ),
    Known(
        "a policy of both types allows between its pods what either direction allows",
        "kube-router@2.1",
        _cluster(
            policy_of(
                "x/both",
                allow(INGRESS, (_CLIENTS,), (PortRange(TCP, 80, 80),)),
                isolates=BOTH,
            )
        ),
        arrive=((CLIENT, WEB, TCP, 80), (CLIENT, OTHER, TCP, 80)),
        are_lost=((CLIENT, WEB, TCP, 81), (OTHER, WEB, TCP, 80), (CLIENT, FAR, TCP, 80)),
    ),
    Known(
        "an empty list of egress rules does not hold what comes in from a pod of the same policy",
        "kube-router@2.1",
        _cluster(policy_of("x/both", allow(INGRESS), isolates=BOTH)),
        arrive=((WEB, CLIENT, UDP, 53), (OUTSIDE, WEB, TCP, 80)),
        are_lost=((WEB, OUTSIDE, TCP, 80), (WEB, FAR, TCP, 80)),
    ),
    Known(
        "ICMP is judged by rules",
        "kube-router@2.1",
        _cluster(policy_of("x/in", allow(INGRESS, ports=(PortRange(TCP),)), pods=_OF_WEB)),
        arrive=((CLIENT, WEB, TCP, 1), (CLIENT, OTHER, ICMP, 0)),
        are_lost=((CLIENT, WEB, ICMP, 0), (OUTSIDE, WEB, ICMP, 0)),
    ),
    Known(
        "an except takes from every block of its rule",
        "kube-router@2.1",
        _cluster(
            policy_of(
                "x/out",
                allow(EGRESS, (block("203.0.0.0/16"), block("203.0.113.0/24", "203.0.113.8/29"))),
                pods=_OF_WEB,
            )
        ),
        arrive=((WEB, "203.0.113.1", TCP, 80), (WEB, "203.0.1.1", TCP, 80)),
        are_lost=((WEB, OUTSIDE, TCP, 80), (WEB, CLIENT, TCP, 80)),
    ),
    Known(
        "a block takes an equal except before it back",
        "kube-router@2.1",
        _cluster(
            policy_of(
                "x/out",
                allow(
                    EGRESS,
                    (
                        block("203.0.113.0/24", "203.0.113.8/32", "203.0.113.9/32"),
                        block("203.0.113.9/32"),
                        block("0.0.0.0/0", "128.0.0.0/1"),
                    ),
                    (PortRange(TCP, 80, 80),),
                ),
                allow(EGRESS, (block("0.0.0.0/0", "128.0.0.0/1"), block("0.0.0.0/0")), (_81,)),
                pods=_OF_WEB,
            )
        ),
        arrive=((WEB, OUTSIDE, TCP, 80), (WEB, CLIENT, TCP, 80), (WEB, OUTSIDE, TCP, 81)),
        are_lost=((WEB, "203.0.113.8", TCP, 80), (WEB, "198.51.100.7", TCP, 80)),
    ),
    Known(
        "a name leads to nobody through a block",
        "kube-router@2.1",
        _cluster(
            policy_of(
                "x/out",
                allow(EGRESS, (block("10.0.0.0/24"),), (NamedPort(TCP, "http"), _81)),
                pods=label("app", "client"),
            )
        ),
        arrive=((CLIENT, WEB, TCP, 81),),
        are_lost=((CLIENT, WEB, TCP, 8080), (CLIENT, FAR, TCP, 9090)),
    ),
    Known(
        "a name leads out through a block to the pods in it that have it",
        "calico",
        _cluster(
            policy_of(
                "x/out",
                allow(EGRESS, (block("10.0.0.0/24"),), (NamedPort(TCP, "http"),)),
                pods=label("app", "client"),
            )
        ),
        arrive=((CLIENT, WEB, TCP, 8080), (CLIENT, FAR, TCP, 9090)),
        are_lost=((CLIENT, WEB, TCP, 9090), (CLIENT, OTHER, TCP, 8080)),
    ),
    Known(
        "a name leads to the ports of all init containers",
        "calico",
        xy_cluster(
            (
                replace(_WEB, ports=(replace(_HTTP, container=ContainerKind.INIT),)),
                _CLIENT,
            ),
            policy_of("x/in", allow(INGRESS, ports=(NamedPort(TCP, "http"),)), pods=_OF_WEB),
            nodes=(Node(NODE, NODE_ADDRESSES),),
        ),
        arrive=((CLIENT, WEB, TCP, 8080),),
        are_lost=((CLIENT, WEB, TCP, 80),),
    ),
    *(
        Known(
            "a node reaches its pods, they reach it by their rules",
            profile,
            _cluster(policy_of("x/none", pods=_OF_WEB, isolates=BOTH)),
            arrive=(
                (NODE_ADDRESSES[0], WEB, TCP, 80),
                (NODE_ADDRESSES[0], WEB, ICMP, 0),
                (CLIENT, NODE_ADDRESSES[0], TCP, 80),
            ),
            are_lost=((WEB, NODE_ADDRESSES[0], TCP, 80), (OTHER, WEB, TCP, 80)),
        )
        for profile in ("calico", "kube-router@2.1")
    ),
)
