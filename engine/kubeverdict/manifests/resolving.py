"""Changes resolved against a cluster: what each takes out of it and puts in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from msgspec.structs import replace

from kubeverdict.errors import Problem, UsageError, located
from kubeverdict.manifests.change import apply_pods, given, names, parse_reference, workload_kinds
from kubeverdict.manifests.loading import Loaded, load_text
from kubeverdict.manifests.policies import is_definition, is_evaluated, path_of
from kubeverdict.manifests.referring import Referring, after
from kubeverdict.manifests.scenarios import Change, Scenario
from kubeverdict.manifests.workloads import ordinal_labels
from kubeverdict.model.cluster import (
    ApiServerCalls,
    Cluster,
    Ingress,
    Namespace,
    Node,
    Pod,
    Service,
    WorkloadRef,
)
from kubeverdict.model.edit import (
    Edit,
    EndpointsKey,
    IngressKey,
    PolicyKey,
    edited,
    endpoints_key,
    ingress_key,
    policy_key,
)
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.policy import Policy, says_the_same
from kubeverdict.model.references import References
from kubeverdict.model.surroundings import Surroundings
from kubeverdict.model.unevaluated import Unevaluated, merged

PodKey = tuple[str, str]
"""Namespace and name."""

_Key = TypeVar("_Key")
_Item = TypeVar("_Item")
_Located = TypeVar("_Located", Pod, Policy, Service, EndpointList, Ingress)

# What `kubectl scale` scales, besides kinds of which nothing is known.
_NOT_WORKLOADS = {"Node", "Service", "Namespace"}
_NOT_SCALED = {*_NOT_WORKLOADS, "Pod", "DaemonSet", "Job", "CronJob"}


class Resolver:
    """Turns scenarios into edits of one cluster. Indexes are made when first needed, so that
    changes of policies cost nothing by the number of pods."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._names: dict[str, set[str]] = {}

    def edit(self, scenario: Scenario) -> Edit:
        """What ``scenario`` changes. Raises KubeverdictError with all that is wrong."""
        return self.resolve(scenario)[0]

    def change(self, applied: Loaded | None = None, deleted: Iterable[str] = ()) -> Edit:
        """What is left to do to delete what ``deleted`` names, then to apply manifests.

        A reference is ``networkpolicy/NAMESPACE/NAME``, ``pod/…``, ``deployment/…`` and so on, or
        ``namespace/NAME`` for what is in no namespace, with the kinds as kubectl spells them.
        Deleting a workload deletes its pods, deleting a namespace all that is in it.

        An object that is applied replaces the one of its kind, namespace and name. The pods of a
        changed workload take the place of its pods one by one: they keep name, addresses, node
        and phase and get the labels and ports of the new template, so that verdicts before and
        after are about the same pods. Pods beyond those are new and have no addresses. A workload
        that does not say how many pods it has keeps as many. A pod without a status likewise
        keeps the address, node and phase of the pod that it replaces.

        Raises UsageError for a reference to nothing, and names the nearest that exists.
        """
        state = _State(self)
        for reference in deleted:
            state.make(Change("delete", target=reference))
        if applied is not None:
            state.apply(applied)
        return state.edit("")

    def resolve(self, scenario: Scenario) -> tuple[Edit, tuple[Problem, ...]]:
        """What ``scenario`` changes, and the warnings about its manifests. Raises as ``edit``."""
        if scenario.error:
            raise UsageError(scenario.error)
        state = _State(self)
        for change in scenario.changes:
            try:
                state.make(change)
            except UsageError as error:
                where = f"{located(change.file, change.line)}: " if change.file else ""
                raise UsageError(f"{where}{error}") from None
        return state.edit(scenario.name), tuple(state.warnings)

    def known(self, kind: str) -> set[str]:
        """The objects of a kind in the cluster."""
        if kind not in self._names:
            self._names[kind] = names(self.cluster, kind)
        return self._names[kind]

    @cached_property
    def workload_kinds(self) -> set[str]:
        return workload_kinds(self.cluster)

    @cached_property
    def pods(self) -> dict[PodKey, Pod]:
        return {(pod.namespace, pod.name): pod for pod in self.cluster.pods}

    @cached_property
    def pods_of(self) -> dict[WorkloadRef, dict[PodKey, Pod]]:
        """The pods of each workload, in the cluster's order."""
        found: dict[WorkloadRef, dict[PodKey, Pod]] = {}
        for key, pod in self.pods.items():
            found.setdefault(pod.workload, {})[key] = pod
        return found

    @cached_property
    def namespaces(self) -> dict[str, Namespace]:
        return {namespace.name: namespace for namespace in self.cluster.namespaces}

    @cached_property
    def policies(self) -> frozenset[PolicyKey]:
        return frozenset(map(policy_key, self.cluster.policies))

    @cached_property
    def policy_of(self) -> dict[PolicyKey, Policy]:
        return {policy_key(policy): policy for policy in self.cluster.policies}

    @cached_property
    def services(self) -> dict[PodKey, Service]:
        return {(one.namespace, one.name): one for one in self.cluster.services}

    @cached_property
    def pods_in(self) -> dict[str, list[PodKey]]:
        """The pods in each namespace."""
        return _by_namespace(self.cluster.pods, lambda pod: (pod.namespace, pod.name))

    @cached_property
    def policies_in(self) -> dict[str, list[PolicyKey]]:
        return _by_namespace(self.cluster.policies, policy_key)

    @cached_property
    def services_in(self) -> dict[str, list[PodKey]]:
        return _by_namespace(self.cluster.services, lambda one: (one.namespace, one.name))

    @cached_property
    def ingresses(self) -> frozenset[IngressKey]:
        return frozenset(map(ingress_key, self.cluster.ingresses))

    @cached_property
    def ingresses_in(self) -> dict[str, list[IngressKey]]:
        return _by_namespace(self.cluster.ingresses, ingress_key)

    @cached_property
    def endpoints(self) -> frozenset[EndpointsKey]:
        return frozenset(map(endpoints_key, self.cluster.endpoints))

    @cached_property
    def endpoints_in(self) -> dict[str, list[EndpointsKey]]:
        return _by_namespace(self.cluster.endpoints, endpoints_key)

    @cached_property
    def endpoints_of(self) -> dict[PodKey, list[EndpointsKey]]:
        """The lists of endpoints of each Service."""
        found: dict[PodKey, list[EndpointsKey]] = {}
        for one in self.cluster.endpoints:
            found.setdefault((one.namespace, one.service), []).append(endpoints_key(one))
        return found


def _by_namespace(
    objects: Iterable[_Located], key: Callable[[_Located], Any]
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in objects:
        found.setdefault(item.namespace or "", []).append(key(item))
    return found


def _now(
    touched: Mapping[_Key, _Item | None], base: Mapping[_Key, _Item], key: _Key
) -> _Item | None:
    """An object as a scenario has left it."""
    return touched[key] if key in touched else base.get(key)


class _State:
    """The cluster in the middle of a scenario: what is not as it was, None where it is gone."""

    def __init__(self, resolver: Resolver) -> None:
        self.warnings: list[Problem] = []
        self._base = resolver
        self._policies: dict[PolicyKey, Policy | None] = {}
        self._referring = Referring(resolver.cluster.references)
        self._pods: dict[PodKey, Pod | None] = {}
        self._namespaces: dict[str, Namespace | None] = {}
        self._nodes: dict[str, Node | None] = {}
        self._services: dict[PodKey, Service | None] = {}
        self._endpoints: dict[EndpointsKey, EndpointList | None] = {}
        self._ingresses: dict[IngressKey, Ingress | None] = {}
        self._api_server_calls: tuple[ApiServerCalls, ...] = ()
        self._profile = ""
        self._unevaluated: tuple[Unevaluated, ...] = ()

    def edit(self, name: str) -> Edit:
        """The edit that the changes so far make."""
        fields: dict[str, Any] = {}
        base = self._base
        references = self._resolve_again()
        state: dict[str, tuple[dict[Any, Any], Callable[[], Container[Any]]]] = {
            "policies": (self._policies, lambda: base.policies),
            "pods": (self._pods, lambda: base.pods),
            "namespaces": (self._namespaces, lambda: base.namespaces),
            "nodes": (self._nodes, lambda: base.known("Node")),
            "services": (self._services, lambda: base.services),
            "endpoints": (self._endpoints, lambda: base.endpoints),
            "ingresses": (self._ingresses, lambda: base.ingresses),
        }
        for field, (items, known) in state.items():
            if items:
                gone = [key for key, item in items.items() if item is None]
                # What a change put in and a later one took out again was never there.
                fields[f"{field}_out"] = tuple(key for key in gone if key in known())
                fields[f"{field}_in"] = tuple(item for item in items.values() if item is not None)
        return Edit(
            name,
            api_server_calls_in=self._api_server_calls,
            profile=self._profile,
            unevaluated=self._unevaluated,
            references=references,
            **fields,
        )

    def _resolve_again(self) -> References | None:
        """Put in each policy that comes out otherwise than before, by what it refers to or by the
        labels of namespaces; and what policies refer to now, None where that is as it was."""
        base, referring = self._base, self._referring
        around = self._namespaces or self._services or self._endpoints or self._nodes
        if referring.are_touched or (around and base.cluster.references.policies):
            namespaces = after(base.namespaces, self._namespaces)
            for policy in referring.outcome(namespaces, self._surroundings()):
                key = policy_key(policy)
                known = _now(self._policies, base.policy_of, key)
                if known is None or not says_the_same(known, policy):
                    self._policies[key] = policy
        return referring.now if referring.are_touched else None

    def _surroundings(self) -> Surroundings:
        cluster = self._base.cluster
        nodes = {node.name: node for node in cluster.nodes}
        endpoints = {endpoints_key(one): one for one in cluster.endpoints}
        return Surroundings(
            tuple(after(self._base.services, self._services).values()),
            tuple(after(endpoints, self._endpoints).values()),
            tuple(after(nodes, self._nodes).values()),
        )

    def make(self, change: Change) -> None:
        match change.kind:
            case "apply":
                loaded = load_text(change.file, change.text.encode(), change.line, change.namespace)
                self.apply(loaded)
            case "delete":
                self._delete(*self._find(change))
            case "label":
                self._label(change, *self._find(change))
            case "scale":
                self._scale(change, *self._find(change))
            case "cni":
                self._profile = change.target

    def _find(self, change: Change) -> tuple[str, str, str]:
        return parse_reference(change.target, change.kind, self._known, self._workload_kinds)

    def _workload_kinds(self) -> set[str]:
        return self._base.workload_kinds

    def _known(self, kind: str) -> Collection[str]:
        """The objects of a kind, as the scenario has left them so far."""
        touched: Mapping[str, object]
        match kind:
            case _ if is_evaluated(kind):
                items = self._policies.items()
                touched = {path_of(*key[1:]): one for key, one in items if key[0] == kind}
            case _ if is_definition(kind):
                parts = self._referring.definitions.items()
                touched = {path_of(*key[1:]): one for key, one in parts if key[0] == kind}
            case "Pod":
                touched = {"/".join(key): pod for key, pod in self._pods.items()}
            case "Namespace":
                touched = self._namespaces
            case "Node":
                touched = self._nodes
            case "Service":
                touched = {"/".join(key): one for key, one in self._services.items()}
            case _:
                refs = {pod.workload for pod in self._touched_pods() if pod.workload.kind == kind}
                touched = {f"{ref.namespace}/{ref.name}": self._pods_of(ref) for ref in refs}
        known = self._base.known(kind)
        if not touched:
            return known
        return (known - touched.keys()) | {name for name, item in touched.items() if item}

    # --- pods --------------------------------------------------------------------------------

    def _touched_pods(self) -> Iterable[Pod]:
        """Every pod that was changed, added or removed, as it is and as it was."""
        for key, pod in self._pods.items():
            old = self._base.pods.get(key)
            yield from (one for one in (old, pod) if one is not None)

    def _pods_of(self, ref: WorkloadRef) -> list[Pod]:
        """The pods of a workload: those of the cluster in its order, then new ones."""
        old = self._base.pods_of.get(ref, {})
        if not self._pods:
            return list(old.values())
        now = [self._pods.get(key, pod) for key, pod in old.items()]
        now += [pod for key, pod in self._pods.items() if key not in old]
        return [pod for pod in now if pod is not None and pod.workload == ref]

    def _put(self, pod: Pod) -> None:
        self._pods[pod.namespace, pod.name] = pod

    # --- the changes -------------------------------------------------------------------------

    def apply(self, loaded: Loaded) -> None:
        self.warnings += loaded.warnings
        self._unevaluated = merged(self._unevaluated, loaded.cluster.unevaluated)
        new = loaded.cluster
        for policy in new.policies:
            self._policies[policy_key(policy)] = policy
        self._referring.apply(new.policies, new.references)
        for namespace in new.namespaces:
            known = _now(self._namespaces, self._base.namespaces, namespace.name)
            if not namespace.implied or known is None:
                self._namespaces[namespace.name] = namespace
        for node in new.nodes:
            self._nodes[node.name] = node
        for service in new.services:
            key = (service.namespace, service.name)
            known_service = _now(self._services, self._base.services, key)
            self._services[key] = given(known_service, service)
        for one in new.endpoints:
            self._endpoints[endpoints_key(one)] = one
        self._ingresses |= {ingress_key(one): one for one in new.ingresses}
        self._api_server_calls += tuple(new.api_server_calls)
        if new.pods or loaded.workloads:
            self._apply_pods(loaded)

    def _apply_pods(self, loaded: Loaded) -> None:
        base = self._base.pods
        refs = dict.fromkeys((*loaded.workloads, *(pod.workload for pod in loaded.cluster.pods)))
        old = {(pod.namespace, pod.name): pod for ref in refs for pod in self._pods_of(ref)}
        for pod in loaded.cluster.pods:
            key = (pod.namespace, pod.name)
            present = _now(self._pods, base, key)
            if present is not None and not pod.template:
                old[key] = present
        changed = apply_pods(old.values(), loaded, _Others(self._pods, base, old))
        now = {(pod.namespace, pod.name): pod for pod in changed}
        self._pods |= dict.fromkeys(key for key in old if key not in now)
        for key, pod in now.items():
            if old.get(key) is not pod:
                self._pods[key] = pod

    def _delete(self, kind: str, namespace: str, name: str) -> None:
        match kind:
            case _ if is_evaluated(kind):
                self._policies[kind, namespace, name] = None
                self._referring.forget((kind, namespace, name))
            case _ if is_definition(kind):
                self._referring.definitions[kind, namespace, name] = None
            case "Pod":
                self._pods[namespace, name] = None
            case "Node":
                self._nodes[name] = None
            case "Service":
                self._services[namespace, name] = None
                own = {
                    key
                    for key, one in self._endpoints.items()
                    if one is not None and (one.namespace, one.service) == (namespace, name)
                }
                own.update(self._base.endpoints_of.get((namespace, name), ()))
                self._endpoints |= dict.fromkeys(own)
            case "Namespace":
                self._delete_namespace(name)
            case _:
                for pod in self._pods_of(WorkloadRef(namespace, name, kind)):
                    self._pods[pod.namespace, pod.name] = None

    def _delete_namespace(self, name: str) -> None:
        base = self._base
        self._namespaces[name] = None
        self._referring.forget_namespace(name)
        parts: list[tuple[dict[Any, Any], dict[str, list[Any]]]] = [
            (self._policies, base.policies_in),
            (self._pods, base.pods_in),
            (self._services, base.services_in),
            (self._endpoints, base.endpoints_in),
            (self._ingresses, base.ingresses_in),
        ]
        for touched, known in parts:
            # The namespace is the last but one of every key.
            touched |= dict.fromkeys(key for key in touched if key[-2] == name)
            touched |= dict.fromkeys(known.get(name, ()))

    def _label(self, change: Change, kind: str, namespace: str, name: str) -> None:
        def changed(labels: Mapping[str, str]) -> dict[str, str]:
            kept = {key: value for key, value in labels.items() if key not in change.remove}
            return {**kept, **change.set}

        if kind == "Namespace":
            known = _now(self._namespaces, self._base.namespaces, name)
            assert known is not None  # it was found
            labels = changed(known.labels)
            self._namespaces[name] = replace(known, labels=labels, implied=False)
            return
        if kind in _NOT_WORKLOADS or is_evaluated(kind) or is_definition(kind):
            raise UsageError(f"cannot label {change.target!r}: only pods, workloads and namespaces")
        if kind == "Pod":
            pod = _now(self._pods, self._base.pods, (namespace, name))
            pods = [pod] if pod is not None else []
        else:
            pods = self._pods_of(WorkloadRef(namespace, name, kind))
        for pod in pods:
            self._put(replace(pod, labels=changed(pod.labels)))

    def _scale(self, change: Change, kind: str, namespace: str, name: str) -> None:
        if kind in _NOT_SCALED or is_evaluated(kind) or is_definition(kind):
            raise UsageError(f"cannot scale {change.target!r}: a {kind} has no replicas")
        pods = self._pods_of(WorkloadRef(namespace, name, kind))
        in_order = kind == "StatefulSet"
        if in_order:
            pods.sort(key=_ordinal)
        for pod in pods[change.replicas :]:
            self._pods[pod.namespace, pod.name] = None
        number = _ordinal(pods[-1]) + 1 if in_order else len(pods)
        for _ in range(change.replicas - len(pods)):
            while _now(self._pods, self._base.pods, (namespace, f"{name}-{number}")):
                number += 1
            self._put(_another(pods[-1], name, number, in_order))
            number += 1


def apply(cluster: Cluster, manifests: Loaded) -> Cluster:
    """``cluster`` after its objects were replaced by those in ``manifests``, and new ones added:
    see :meth:`Resolver.change`."""
    return edited(cluster, Resolver(cluster).change(manifests))


def delete(cluster: Cluster, references: Iterable[str]) -> Cluster:
    """``cluster`` without the objects that ``references`` name: see :meth:`Resolver.change`."""
    return edited(cluster, Resolver(cluster).change(deleted=references))


class _Others:
    """The keys of all pods but some."""

    def __init__(
        self,
        touched: Mapping[PodKey, Pod | None],
        base: Mapping[PodKey, Pod],
        but: Collection[PodKey],
    ) -> None:
        self._touched = touched
        self._base = base
        self._but = but

    def __contains__(self, key: object) -> bool:
        assert isinstance(key, tuple)
        return key not in self._but and _now(self._touched, self._base, key) is not None


def _ordinal(pod: Pod) -> int:
    """The number at the end of the name of a StatefulSet's pod."""
    number = pod.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _another(pod: Pod, workload: str, number: int, in_order: bool) -> Pod:
    """A new pod like ``pod``, which has got nothing from the cluster yet."""
    name = f"{workload}-{number}"
    labels = {**pod.labels, **ordinal_labels(workload, number)} if in_order else pod.labels
    return replace(pod, name=name, labels=labels, addresses=(), node="", phase="", template=True)
