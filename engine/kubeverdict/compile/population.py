"""Stage 1: who takes part: pods that policies manage, addresses of hosts, and who does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kubeverdict.errors import UsageError
from kubeverdict.model.addresses import Address, Family, parse_address
from kubeverdict.model.cluster import METADATA_NAME, Cluster, ContainerPort, Pod, Service
from kubeverdict.model.profile import Profile

Labels = tuple[tuple[str, str], ...]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """The ends that flows can have, before any rule is looked at.

    ``ipv4`` (pods,) and ``ipv6`` (pods, 2) hold addresses in host order where ``has_ipv4`` and
    ``has_ipv6`` say so; ``anywhere`` marks pods without an address, which take any family.
    ``host_pods`` are hostNetwork pods with the index of their address in ``hosts``, kept where
    the profile lets selectors find them. ``labels`` and ``ports`` (pods,) number the distinct
    ``label_sets`` and ``port_lists`` of the pods: those of replicas are the same.
    """

    pods: tuple[Pod, ...]
    excluded: tuple[tuple[Pod, str], ...]
    ipv4: NDArray[np.uint32]
    ipv6: NDArray[np.uint64]
    has_ipv4: NDArray[np.bool_]
    has_ipv6: NDArray[np.bool_]
    anywhere: NDArray[np.bool_]
    node: NDArray[np.int32]  # (pods,) node number, -1 unknown
    hosts: tuple[Address, ...]
    host_node: NDArray[np.int32]
    node_labels: dict[int, Mapping[str, str]]  # by node number, of nodes with an object
    host_pods: tuple[tuple[Pod, int], ...]
    services: tuple[Service, ...]
    labels: NDArray[np.int32]
    label_sets: tuple[Labels, ...]
    ports: NDArray[np.int32]
    port_lists: tuple[tuple[ContainerPort, ...], ...]
    pod_ids: dict[tuple[str, str], int]
    nodes: dict[str, int]  # number of each node by name

    def has(self, family: Family) -> NDArray[np.bool_]:
        """Which pods can use a family."""
        return self.anywhere | (self.has_ipv4 if family == 4 else self.has_ipv6)


def populate(cluster: Cluster, profile: Profile, static: bool) -> Population:
    """Sort the pods of a cluster into managed, hosts and excluded."""
    managed: list[Pod] = []
    excluded: list[tuple[Pod, str]] = []
    on_host: list[Pod] = []
    for pod in cluster.pods:
        if pod.phase and profile.finished_pods_ignored and pod.finished:
            excluded.append((pod, f"finished ({pod.phase})"))
        elif pod.host_network and not profile.hostnetwork_subjects:
            excluded.append((pod, "hostNetwork: it is an address of its node"))
            on_host.append(pod)
        elif not pod.addresses and pod.phase and not static:
            excluded.append((pod, f"no address yet ({pod.phase})"))
        else:
            managed.append(pod)

    numbers: dict[str, int] = {}
    node = np.fromiter(
        (numbers.setdefault(pod.node, len(numbers)) if pod.node else -1 for pod in managed),
        np.int32,
        len(managed),
    )
    hosts: dict[Address, int] = {}  # address -> node number
    node_labels: dict[int, Mapping[str, str]] = {}
    for machine in cluster.nodes:
        number = numbers.setdefault(machine.name, len(numbers))
        node_labels[number] = machine.labels
        for text in machine.addresses:
            hosts.setdefault(_address(text, f"node {machine.name}"), number)
    known = slice(None) if profile.dual_stack else slice(1)
    for pod in on_host:
        number = numbers.setdefault(pod.node, len(numbers)) if pod.node else -1
        for text in pod.addresses[known]:
            hosts.setdefault(_address(text, f"pod {pod}"), number)
    numbered = {address: index for index, address in enumerate(hosts)}
    host_pods: list[tuple[Pod, int]] = []
    if profile.hostnetwork_peers != "never":
        for pod in on_host:
            for text in pod.addresses[known]:
                address = parse_address(text)
                assert address is not None  # checked above
                host_pods.append((pod, numbered[address]))

    ipv4, has_ipv4, ipv6, has_ipv6 = _pod_addresses(managed, known)
    labels, label_sets = _numbered([tuple(pod.labels.items()) for pod in managed])
    ports, port_lists = _numbered([pod.ports for pod in managed])
    return Population(
        pods=tuple(managed),
        excluded=tuple(excluded),
        ipv4=ipv4,
        ipv6=ipv6,
        has_ipv4=has_ipv4,
        has_ipv6=has_ipv6,
        anywhere=~(has_ipv4 | has_ipv6),
        node=node,
        hosts=tuple(hosts),
        host_node=np.fromiter(hosts.values(), np.int32, len(hosts)),
        node_labels=node_labels,
        host_pods=tuple(host_pods),
        services=_judged_services(cluster, profile),
        labels=labels,
        label_sets=label_sets,
        ports=ports,
        port_lists=port_lists,
        pod_ids={(pod.namespace, pod.name): index for index, pod in enumerate(managed)},
        nodes=numbers,
    )


def _judged_services(cluster: Cluster, profile: Profile) -> tuple[Service, ...]:
    """The Services that egress is judged on."""
    if profile.service_egress != "cluster-ip":
        return ()
    found = tuple(one for one in cluster.services if one.selector and one.addresses)
    for service in found:
        if service.also:
            raise UsageError(
                f"svc/{service} is defined twice with different content ({service.also}), and "
                f"{profile.title} judges egress on it"
            )
    return found


def _numbered(values: list[Value]) -> tuple[NDArray[np.int32], tuple[Value, ...]]:
    """The number of each value among the distinct ones, and these as they first come."""
    numbers: dict[Value, int] = {}
    of_each = [numbers.setdefault(value, len(numbers)) for value in values]
    return np.array(of_each, np.int32), tuple(numbers)


def _address(text: str, owner: str) -> Address:
    address = parse_address(text)
    if address is None:
        raise UsageError(f"{owner}: {text!r} is not an IP address")
    return address


def _pod_addresses(
    pods: list[Pod], known: slice
) -> tuple[NDArray[np.uint32], NDArray[np.bool_], NDArray[np.uint64], NDArray[np.bool_]]:
    """All addresses at once: one call of inet_pton each and no object for it."""
    four: list[str] = []
    four_of: list[int] = []
    six: list[str] = []
    six_of: list[int] = []
    for index, pod in enumerate(pods):
        for text in pod.addresses[known]:
            if ":" in text:
                six.append(text)
                six_of.append(index)
            else:
                four.append(text)
                four_of.append(index)
    ipv4 = np.zeros(len(pods), np.uint32)
    ipv6 = np.zeros((len(pods), 2), np.uint64)
    has_ipv4 = np.zeros(len(pods), np.bool_)
    has_ipv6 = np.zeros(len(pods), np.bool_)
    try:
        packed_four = b"".join([inet_pton(AF_INET, text) for text in four])
        packed_six = b"".join([inet_pton(AF_INET6, text) for text in six])
    except (OSError, ValueError):
        for pod in pods:
            for text in pod.addresses:
                _address(text, f"pod {pod}")
        raise
    ipv4[four_of] = np.frombuffer(packed_four, ">u4")
    ipv6[six_of] = np.frombuffer(packed_six, ">u8").reshape(-1, 2)
    has_ipv4[four_of] = True
    has_ipv6[six_of] = True
    return ipv4, has_ipv4, ipv6, has_ipv6


def namespace_labels(cluster: Cluster) -> dict[str, dict[str, str]]:
    """Labels by namespace name, in order of name; namespaces without an object are implied."""
    labels = {
        namespace.name: {METADATA_NAME: namespace.name, **namespace.labels}
        for namespace in cluster.namespaces
    }
    implied = {pod.namespace for pod in cluster.pods}
    implied |= {policy.namespace for policy in cluster.policies if policy.namespace is not None}
    implied |= {service.namespace for service in cluster.services}
    for name in implied - labels.keys():
        labels[name] = {METADATA_NAME: name}
    return dict(sorted(labels.items()))
