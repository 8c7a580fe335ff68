"""The cluster's DNS, as policies have to name it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kubeverdict.analyses.recommend.groups import Labels
from kubeverdict.analyses.wellknown import (
    DNS_LABELS,
    DNS_PORT,
    DNS_PROTOCOLS,
    DNS_SERVICES,
    NODE_LOCAL_ADDRESS,
    NODE_LOCAL_LABELS,
)
from kubeverdict.compile.dialect import labels_seen
from kubeverdict.model.addresses import Block, parse_block
from kubeverdict.model.cluster import Cluster, Pod, Service
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import Profile
from kubeverdict.services import target_port

_NODE_LOCAL_BLOCK = parse_block(f"{NODE_LOCAL_ADDRESS}/32")


class DnsResolver(msgspec.Struct, frozen=True, eq=False):
    """Where names are resolved: pods of a namespace by their labels, the ports on which they
    listen, and the address of a cache on each node, where there is one."""

    namespace: str
    labels: Labels
    pods: tuple[Pod, ...]
    ports: tuple[tuple[Protocol, int], ...]
    cache: Block | None


def find_resolver(cluster: Cluster, profile: Profile) -> DnsResolver | None:
    """The DNS behind the Service that everybody asks, or known by its labels; by labels that
    selectors see under its CNI."""
    services = {(one.namespace, one.name): one for one in cluster.services}
    service = next((services[name] for name in DNS_SERVICES if name in services), None)
    choices: Sequence[tuple[str | None, dict[str, str]]] = [(None, each) for each in DNS_LABELS]
    if service is not None and service.selector:
        choices = [(service.namespace, dict(labels_seen(service.selector, profile))), *choices]
    for namespace, labels in choices:
        pods = tuple(_selected(cluster.pods, namespace, labels))
        if pods and labels:
            cache = any(NODE_LOCAL_LABELS.items() <= pod.labels.items() for pod in cluster.pods)
            return DnsResolver(
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
    for protocol in DNS_PROTOCOLS:
        numbers: set[int] = set()
        for listed in service.ports if service else ():
            if (listed.protocol, listed.port) == (protocol, DNS_PORT):
                targets = (target_port(listed, pod) for pod in pods)
                numbers.update(number for number in targets if number is not None)
        found += [(protocol, number) for number in sorted(numbers or {DNS_PORT})]
    return tuple(found)
