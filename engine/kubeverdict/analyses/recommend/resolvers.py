"""The cluster's DNS, as policies have to name it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kubeverdict.analyses.questions import container_ports
from kubeverdict.analyses.recommend.groups import Group, Labels
from kubeverdict.model.addresses import Block, parse_block
from kubeverdict.model.cluster import Cluster, Pod, Service
from kubeverdict.model.ports import Protocol

PORT = 53
PROTOCOLS = (Protocol.UDP, Protocol.TCP)

# As distributions install it.
_SERVICES = (
    ("kube-system", "kube-dns"),
    ("kube-system", "coredns"),
    ("kube-system", "rke2-coredns-rke2-coredns"),
    ("openshift-dns", "dns-default"),
)
_LABELS: tuple[dict[str, str], ...] = (
    {"k8s-app": "kube-dns"},
    {"dns.operator.openshift.io/daemonset-dns": "default"},
)
# The cache on the node listens on an address of its own and on the network of the node.
_NODE_LOCAL = {"k8s-app": "node-local-dns"}
_NODE_LOCAL_BLOCK = parse_block("169.254.20.10/32")


class Resolver(msgspec.Struct, frozen=True, eq=False):
    """Where names are resolved: pods of a namespace by their labels, the ports on which they
    listen, and the address of a cache on each node, where there is one."""

    namespace: str
    labels: Labels
    pods: tuple[Pod, ...]
    ports: tuple[tuple[Protocol, int], ...]
    cache: Block | None

    def serves(self, group: Group) -> bool:
        return any(pod in self.pods for pod in group.pods)


def find_resolver(cluster: Cluster) -> Resolver | None:
    """The DNS behind the Service that everybody asks, or known by its labels."""
    services = {(one.namespace, one.name): one for one in cluster.services}
    service = next((services[name] for name in _SERVICES if name in services), None)
    choices: Sequence[tuple[str | None, dict[str, str]]] = [(None, each) for each in _LABELS]
    if service is not None and service.selector:
        choices = [(service.namespace, dict(service.selector)), *choices]
    for namespace, labels in choices:
        pods = tuple(_selected(cluster.pods, namespace, labels))
        if pods:
            cache = any(_NODE_LOCAL.items() <= pod.labels.items() for pod in cluster.pods)
            return Resolver(
                pods[0].namespace,
                tuple(sorted(labels.items())),
                pods,
                _ports(service, pods),
                _NODE_LOCAL_BLOCK if cache else None,
            )
    return None


def _selected(pods: Iterable[Pod], namespace: str | None, labels: dict[str, str]) -> list[Pod]:
    found = [
        pod
        for pod in pods
        if labels.items() <= pod.labels.items() and namespace in (None, pod.namespace)
    ]
    return [pod for pod in found if pod.namespace == found[0].namespace]


def _ports(service: Service | None, pods: Sequence[Pod]) -> tuple[tuple[Protocol, int], ...]:
    """53, and what the Service makes of it where the pods listen elsewhere."""
    found = []
    for protocol in PROTOCOLS:
        numbers: set[int] = set()
        for listed in service.ports if service else ():
            if (listed.protocol, listed.port) == (protocol, PORT):
                target = listed.target
                for pod in pods:
                    named = (
                        [(protocol, target)]
                        if isinstance(target, int)
                        else container_ports(pod, target, protocol)
                    )
                    numbers.update(number for _, number in named)
        found += [(protocol, number) for number in sorted(numbers or {PORT})]
    return tuple(found)
