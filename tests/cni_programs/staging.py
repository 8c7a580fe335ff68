"""Generated clusters, made such that one node of them can be put together for real.

The node is :data:`NODE`; what runs on others, and what is no pod at all, is behind its uplink.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from random import Random

from msgspec.structs import replace

from kubeverdict.model.cluster import Cluster, ContainerKind, Node, Pod
from kubeverdict.model.policy import Policy, Rule
from kubeverdict.model.ports import NamedPort, PortMatch, PortRange, Protocol
from kubeverdict.model.profile import Profile
from tests.clusters.generated import Probe, random_cluster
from tests.oracle import Oracle
from tests.oracles.comparison import as_it_could_be, probes_of

NODE = "node-1"
NODE_ADDRESSES = ("192.168.0.1", "fd00:1::1")
_CONTAINERS = (ContainerKind.CONTAINER,)
_SENT = (Protocol.TCP, Protocol.UDP, Protocol.ICMP)


def staged_cluster(seed: int) -> Cluster:
    """The cluster of this seed, most of its pods on the node.

    Kernels need not know SCTP; what it says of SCTP it says of UDP. Names of pods and policies are
    those of the seed alone, so that nothing of another cluster is taken for a part of this one.
    """
    random = Random(seed)
    pods, policies = random.choice((4, 6, 8, 12)), random.choice((2, 4, 6, 8))
    return staged(random_cluster(seed, pods, policies), random, f"s{seed}")


def staged(cluster: Cluster, random: Random, suffix: str) -> Cluster:
    """A generated cluster as the lab can have it; ``suffix`` makes names of its objects unique."""
    moved = []
    for pod in cluster.pods:
        if not pod.host_network and random.random() < 0.6:
            pod = replace(pod, node=NODE)
        # A pod of a template has no address of its own; the API server knows no pod without phase.
        moved.append(replace(pod, template=False, phase=pod.phase if pod.phase else ""))
    possible = as_it_could_be(replace(cluster, pods=tuple(moved)))
    return replace(
        possible,
        pods=tuple(_pod(pod, suffix) for pod in possible.pods),
        policies=tuple(_policy(policy, suffix) for policy in possible.policies),
        nodes=(
            Node(NODE, NODE_ADDRESSES, {}),
            *(node for node in possible.nodes if node.name != NODE),
        ),
    )


def with_one_name_a_pod(cluster: Cluster) -> Cluster:
    """The cluster without names of ports but the first of each pod's containers."""

    def one(pod: Pod) -> Pod:
        named = [port for port in pod.ports if port.name and port.container in _CONTAINERS]
        kept = named[:1]
        ports = tuple(
            replace(port, name="") if port in named and port not in kept else port
            for port in pod.ports
        )
        return replace(pod, ports=ports)

    return replace(cluster, pods=tuple(map(one, cluster.pods)))


def _pod(pod: Pod, suffix: str) -> Pod:
    ports = tuple(replace(port, protocol=_possible(port.protocol)) for port in pod.ports)
    addresses = pod.addresses
    if pod.host_network:
        # Two ports of a node would be one; no policy looks at them.
        ports = ()
        if pod.node == NODE and addresses:
            addresses = NODE_ADDRESSES
    name = f"{pod.name}-{suffix}"
    return replace(pod, name=name, ports=ports, addresses=addresses, phase=pod.phase or "Pending")


def _policy(policy: Policy, suffix: str) -> Policy:
    return replace(
        policy,
        name=f"{policy.name}-{suffix}",
        rules=tuple(map(_rule, policy.rules)),
        unlisted_rules=tuple(map(_rule, policy.unlisted_rules)),
    )


def _rule(rule: Rule) -> Rule:
    return replace(rule, ports=rule.ports and tuple(map(_port, rule.ports)))


def _port(port: PortMatch) -> PortMatch:
    if isinstance(port, PortRange | NamedPort):
        return replace(port, protocol=_possible(port.protocol))
    return port


def _possible(protocol: Protocol) -> Protocol:
    return Protocol.UDP if protocol is Protocol.SCTP else protocol


# --- ends ----------------------------------------------------------------------------------------


def local_pods(cluster: Cluster) -> list[Pod]:
    """The pods that the node has network for."""
    return [
        pod
        for pod in cluster.pods
        if pod.node == NODE and pod.addresses and not pod.host_network and not pod.finished
    ]


def address_of(end: Pod | str, family: int) -> str:
    """The address of an end in a family, in its shortest form; empty where it has none."""
    texts = (end,) if isinstance(end, str) else end.addresses
    found = (address for address in map(ip_address, texts) if address.version == family)
    return str(next(found, ""))


def staged_probes(cluster: Cluster, profile: Profile, count: int, seed: int) -> list[Probe]:
    """About ``count`` random probes of which the node sees a packet, and a local pod is an end."""
    asked = probes_of(cluster, Oracle(cluster, profile), 3 * count, seed)
    # Beside those that a pod and its node are ends of, which come last, as many as are wanted.
    possible = list(_possible_probes(cluster, asked))
    of_node = [probe for probe in possible if _is_of_node(probe)]
    others = [probe for probe in possible if not _is_of_node(probe)]
    return [*others[:count], *of_node]


def _possible_probes(cluster: Cluster, asked: Iterable[Probe]) -> Iterator[Probe]:
    here = {text for pod in local_pods(cluster) for text in pod.addresses}
    for probe in asked:
        assert probe.family is not None
        if probe.protocol not in _SENT:
            continue
        # The address of a pod stands for the pod, so that it may be of the other family.
        ends = [address_of(end, probe.family) for end in (probe.source, probe.destination)]
        if "" in ends or not all(map(is_sent_anywhere, ends)) or ends[0] == ends[1]:
            continue
        if any(end in here for end in ends):
            yield probe


def _is_of_node(probe: Probe) -> bool:
    family = probe.family
    assert family is not None
    ends = (address_of(end, family) for end in (probe.source, probe.destination))
    return any(text in NODE_ADDRESSES for text in ends)


def is_sent_anywhere(text: str) -> bool:
    """Whether a packet may have this address at either end and be routed."""
    address = ip_address(text)
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        return False
    if address.is_link_local:
        return False
    # 0.0.0.0/8 is nobody's; the last block of IPv4 is not routed everywhere.
    return address.version == 6 or 0 < int(address) >> 24 < 240
