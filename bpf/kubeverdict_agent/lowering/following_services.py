"""Services kept while pods come and go: a pod concerns the Services of its namespace at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import is_

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.sequences import changed
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict_agent.lowering.holders import FollowedHostPods
from kubeverdict_agent.lowering.services import NO_SERVICES, ListedServices, listed_services


class FollowedServices:
    """The Services of one cluster after the other, as pods of ``node`` see them."""

    def __init__(self, node: str, host_pods: FollowedHostPods) -> None:
        self._node = node
        self._host_pods = host_pods
        self._of: tuple[object, ...] = ()
        self._pods: Sequence[Pod] = ()
        self._managed: Sequence[Pod] = ()
        self._made = NO_SERVICES
        self._concerned = _Concerned(Cluster())

    def of(self, compiled: CompiledPolicy) -> ListedServices:
        """As :func:`listed_services` has them; the same object as before where it is equal."""
        cluster = compiled.cluster
        made_of = (
            *(cluster.services, cluster.endpoints, cluster.nodes),
            *(compiled.hosts, compiled.addresses, compiled.profile),
        )
        same = len(made_of) == len(self._of) and all(map(is_, made_of, self._of))
        self._of = ()  # not half a value, should making it fail
        if not same or not self._follow(compiled):
            self._made = listed_services(compiled, cluster, self._node)
            self._concerned = _Concerned(cluster)
        self._of = made_of
        self._pods, self._managed = cluster.pods, compiled.pods
        return self._made

    def _follow(self, compiled: CompiledPolicy) -> bool:
        """Whether what is there could be brought up to date."""
        pods = compiled.cluster.pods
        touched: set[str] = set()
        if pods is not self._pods:
            span = changed(self._pods, pods)
            different = (*self._pods[span.start : span.before], *pods[span.start : span.after])
            if any(pod.host_network for pod in different):
                return False  # it lends its address to ports of nodes
            touched = self._concerned.namespaces(different)
        made, gone = self._made, list[int]()
        for number, spaces in enumerate(made.namespaces) if touched else ():
            if not touched.isdisjoint(spaces):
                if not spaces <= touched:
                    return False
                gone.append(number)
        if touched:
            made = made.without(gone)
        if compiled.pods is not self._managed:
            span = changed(self._managed, compiled.pods)
            if span.shift:
                made = made.moved(span.before, span.shift)
        if touched:
            part = self._concerned.part(compiled.cluster, touched, self._host_pods.of(pods))
            made = made.joined(listed_services(compiled, part, self._node))
        self._made = made
        return True


class _Concerned:
    """What Services and lists of endpoints say about pods."""

    def __init__(self, cluster: Cluster) -> None:
        self._selectors: dict[str, list[Mapping[str, str]]] = {}
        for service in cluster.services:
            if service.selector:
                self._selectors.setdefault(service.namespace, []).append(service.selector)
        self._named: set[tuple[str, str]] = set()
        self._addresses: dict[str, set[str]] = {}  # the namespaces of what lists each
        for listed in cluster.endpoints:
            for group in listed.groups:
                for one in group.endpoints:
                    self._named.add((listed.namespace, one.pod))
                    address = parse_address(one.address)
                    if address is not None:
                        self._addresses.setdefault(str(address), set()).add(listed.namespace)

    def namespaces(self, pods: Iterable[Pod]) -> set[str]:
        """The namespaces of Services that pods may be behind."""
        found: set[str] = set()
        for pod in pods:
            for text in pod.addresses:
                found.update(self._addresses.get(text, ()))
            if pod.namespace not in found and self._selects(pod):
                found.add(pod.namespace)
        return found

    def _selects(self, pod: Pod) -> bool:
        if (pod.namespace, pod.name) in self._named:
            return True
        labels = pod.labels.items()
        return any(one.items() <= labels for one in self._selectors.get(pod.namespace, ()))

    def part(self, cluster: Cluster, namespaces: set[str], host_pods: Iterable[Pod]) -> Cluster:
        """All that decides about the Services of some namespaces."""
        pods = [pod for pod in cluster.pods if pod.namespace in namespaces]
        others = [pod for pod in host_pods if pod.namespace not in namespaces]
        listed = {text for text, by in self._addresses.items() if not by.isdisjoint(namespaces)}
        listed.difference_update(text for pod in (*pods, *others) for text in pod.addresses)
        if listed:  # perhaps by pods of other namespaces
            others += [
                pod
                for pod in cluster.pods
                if not listed.isdisjoint(pod.addresses) and not pod.host_network
            ]
        return Cluster(
            pods=(*pods, *others),
            nodes=cluster.nodes,
            services=tuple(one for one in cluster.services if one.namespace in namespaces),
            endpoints=tuple(one for one in cluster.endpoints if one.namespace in namespaces),
        )
