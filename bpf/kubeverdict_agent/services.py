"""Services as a node's hooks see them: a cluster IP that stands for backends.

The client's packet still carries the cluster IP when it passes its veth; which backend it will go
to is decided later, in the node's own stack.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import UsageError
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.model.cluster import ContainerKind, Pod, Service, ServicePort


@dataclass(frozen=True, slots=True, eq=False)
class Backends:
    """One port of a Service: ``place`` is protocol * 65536 + port, ``ends`` (n,) the endpoint ids
    of its backends and ``targets`` (n,) the port on each."""

    place: int
    protocol: int
    ends: NDArray[np.int64]
    targets: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A Service with cluster IPs and at least one backend."""

    addresses: tuple[str, ...]
    ports: tuple[Backends, ...]


def listed_services(compiled: CompiledPolicy) -> list[Listed]:
    """The Services whose cluster IP stands for backends that policy judges.

    None under a profile that judges egress on the cluster IP itself.
    """
    if compiled.profile.service_egress == "cluster-ip" or not compiled.profile.enforces:
        return []
    asked = [each for each in compiled.cluster.services if each.selector and each.addresses]
    if not asked:
        return []
    pods = _Pods(compiled, asked)
    found: list[Listed] = []
    for service in asked:
        if service.ports:
            chosen = list(pods.of(service))
            ports = tuple(
                backends
                for port in service.ports
                if (backends := _backends(port, chosen)) is not None
            )
            if ports:
                found.append(Listed(service.addresses, ports))
    return found


class _Pods:
    """Pods by namespace and label, so that a Service looks at few."""

    def __init__(self, compiled: CompiledPolicy, services: Sequence[Service]) -> None:
        self._compiled = compiled
        keys = {
            (service.namespace, *item) for service in services for item in service.selector.items()
        }
        self._by_label: defaultdict[tuple[str, str, str], list[Pod]] = defaultdict(list)
        for pod in compiled.cluster.pods:
            for name, value in pod.labels.items():
                key = (pod.namespace, name, value)
                if key in keys:
                    self._by_label[key].append(pod)

    def of(self, service: Service) -> Iterator[tuple[int, Pod]]:
        """Endpoint id and pod of each backend."""
        items = service.selector.items()
        smallest = min((self._by_label[service.namespace, *item] for item in items), key=len)
        for pod in smallest:
            if items <= pod.labels.items() and not pod.finished:
                end = self._compiled.pod_ids.get((pod.namespace, pod.name))
                if end is not None:
                    yield end, pod
                elif pod.host_network and pod.addresses:
                    try:
                        yield int(address_ids(self._compiled, pod.addresses[:1])[0]), pod
                    except UsageError:  # an address that is none; loading has said so
                        continue


def _backends(port: ServicePort, pods: Sequence[tuple[int, Pod]]) -> Backends | None:
    found = [(end, target) for end, pod in pods if (target := _target(port, pod)) is not None]
    if not found:
        return None
    ends, targets = np.array(found, np.int64).T
    protocol = int(port.protocol)
    return Backends(protocol * 65536 + port.port, protocol, ends, targets)


def _target(port: ServicePort, pod: Pod) -> int | None:
    """The port of a backend; None for one that lacks the name. Kubernetes itself looks names up
    here, whatever the CNI does with those in policies."""
    if isinstance(port.target, int):
        return port.target
    return next(
        (
            known.number
            for known in pod.ports
            if known.name == port.target
            and known.protocol == port.protocol
            and known.container is not ContainerKind.INIT
        ),
        None,
    )
