"""Scenarios resolved against a cluster: what each takes out of it and puts in."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from typing import Any

from msgspec.structs import replace

from kubeverdict.errors import InputError, KubeverdictError, UsageError
from kubeverdict.manifests.change import apply_pods, names, parse_reference, renamed
from kubeverdict.manifests.loading import Loaded, load_text
from kubeverdict.manifests.scenarios import Change, Scenario
from kubeverdict.model.cluster import Cluster, Namespace, Node, Pod, Service, WorkloadRef
from kubeverdict.model.edit import Edit, PolicyKey, policy_key
from kubeverdict.model.policy import Policy

PodKey = tuple[str, str]


class Resolver:
    """Turns scenarios into edits of one cluster. Indexes are made when first needed, so that
    changes of policies cost nothing by the number of pods."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._names: dict[str, set[str]] = {}

    def edit(self, scenario: Scenario) -> Edit:
        """What ``scenario`` changes. Raises KubeverdictError with all that is wrong."""
        if scenario.error:
            raise UsageError(scenario.error)
        state = _State(self)
        for change in scenario.changes:
            try:
                state.make(change)
            except InputError:
                raise
            except KubeverdictError as error:
                where = f"{change.file}:{change.line}: " if change.file else ""
                raise UsageError(f"{where}{error}") from None
        return state.edit(scenario.name)

    def known(self, kind: str) -> set[str]:
        """The objects of a kind in the cluster."""
        if kind not in self._names:
            self._names[kind] = names(self.cluster, kind)
        return self._names[kind]

    @cached_property
    def policies(self) -> dict[PolicyKey, Policy]:
        return {policy_key(policy): policy for policy in self.cluster.policies}

    @cached_property
    def pods(self) -> dict[PodKey, Pod]:
        return {(pod.namespace, pod.name): pod for pod in self.cluster.pods}

    @cached_property
    def pods_of(self) -> dict[WorkloadRef, list[Pod]]:
        found: dict[WorkloadRef, list[Pod]] = {}
        for pod in self.cluster.pods:
            found.setdefault(pod.workload, []).append(pod)
        return found

    @cached_property
    def namespaces(self) -> dict[str, Namespace]:
        return {namespace.name: namespace for namespace in self.cluster.namespaces}


class _State:
    """The cluster in the middle of a scenario: what is not as it was, None where it is gone."""

    def __init__(self, resolver: Resolver) -> None:
        self._base = resolver
        self._policies: dict[PolicyKey, Policy | None] = {}
        self._pods: dict[PodKey, Pod | None] = {}
        self._namespaces: dict[str, Namespace | None] = {}
        self._nodes: dict[str, Node | None] = {}
        self._services: dict[PodKey, Service | None] = {}
        self._profile = ""

    def edit(self, name: str) -> Edit:
        """What the changes so far come to."""
        fields: dict[str, Any] = {}
        state: dict[str, dict[Any, Any]] = {
            "policies": self._policies,
            "pods": self._pods,
            "namespaces": self._namespaces,
            "nodes": self._nodes,
            "services": self._services,
        }
        for field, items in state.items():
            fields[f"{field}_out"] = tuple(key for key, item in items.items() if item is None)
            fields[f"{field}_in"] = tuple(item for item in items.values() if item is not None)
        return Edit(name, profile=self._profile, **fields)

    def make(self, change: Change) -> None:
        makers: dict[str, Callable[[Change], None]] = {
            "apply": self._apply,
            "delete": self._delete,
            "label": self._label,
            "scale": self._scale,
        }
        if change.kind == "cni":
            self._profile = change.target
        else:
            makers[change.kind](change)

    def _find(self, target: str, verb: str) -> tuple[str, str, str]:
        return parse_reference(target, self._known, verb)

    def _known(self, kind: str) -> Collection[str]:
        """The objects of a kind, as the scenario has left them so far."""
        known = self._base.known(kind)
        by_kind: dict[str, dict[str, Any]] = {
            "NetworkPolicy": {f"{k[1]}/{k[2]}": v for k, v in self._policies.items()},
            "Pod": {"/".join(k): v for k, v in self._pods.items()},
            "Namespace": dict(self._namespaces),
            "Node": dict(self._nodes),
            "Service": {"/".join(k): v for k, v in self._services.items()},
        }
        touched = by_kind.get(kind)
        if touched is None:
            if not self._pods:
                return known
            refs = {pod.workload for pod in self._all_pods() if pod.workload.kind == kind}
            return {f"{ref.namespace}/{ref.name}" for ref in refs}
        if not touched:
            return known
        return (known - touched.keys()) | {name for name, item in touched.items() if item}

    def _all_pods(self) -> Iterator[Pod]:
        for key, pod in self._base.pods.items():
            now = self._pods.get(key, pod)
            if now is not None:
                yield now
        yield from (pod for key, pod in self._pods.items() if pod and key not in self._base.pods)

    def _pods_of(self, ref: WorkloadRef) -> list[Pod]:
        if not self._pods:
            return self._base.pods_of.get(ref, [])
        return [pod for pod in self._all_pods() if pod.workload == ref]

    def _present(self) -> dict[PodKey, Pod]:
        return {key: pod for key, pod in self._pods.items() if pod is not None}

    def _put(self, pod: Pod) -> None:
        self._pods[pod.namespace, pod.name] = pod

    def _take(self, pod: Pod) -> None:
        self._pods[pod.namespace, pod.name] = None

    # --- the changes -------------------------------------------------------------------------

    def _apply(self, change: Change) -> None:
        loaded = load_text(change.file, change.text.encode(), change.line)
        new = loaded.cluster
        for policy in new.policies:
            self._policies[policy_key(policy)] = policy
        for namespace in new.namespaces:
            known = self._namespaces.get(namespace.name, self._base.namespaces.get(namespace.name))
            if not namespace.implied or known is None:
                self._namespaces[namespace.name] = namespace
        for node in new.nodes:
            self._nodes[node.name] = node
        for service in new.services:
            self._services[service.namespace, service.name] = service
        if new.pods or loaded.workloads:
            self._apply_pods(loaded)

    def _apply_pods(self, loaded: Loaded) -> None:
        refs = dict.fromkeys((*loaded.workloads, *(pod.workload for pod in loaded.cluster.pods)))
        old = {(pod.namespace, pod.name): pod for ref in refs for pod in self._pods_of(ref)}
        for pod in loaded.cluster.pods:
            key = (pod.namespace, pod.name)
            present = self._pods.get(key, self._base.pods.get(key))
            if present is not None and not pod.template:
                old[key] = present
        # In the cluster's order, in which the pods of a template take over.
        names_taken = ChainMap(self._present(), self._base.pods)
        changed = apply_pods(old.values(), loaded, names_taken)
        now = {(pod.namespace, pod.name): pod for pod in changed}
        for key, pod in old.items():
            if key not in now:
                self._take(pod)
        for key, pod in now.items():
            if old.get(key) is not pod:
                self._put(pod)

    def _delete(self, change: Change) -> None:
        kind, namespace, name = self._find(change.target, "delete")
        if kind == "NetworkPolicy":
            self._policies[kind, namespace, name] = None
        elif kind == "Pod":
            self._pods[namespace, name] = None
        elif kind == "Node":
            self._nodes[name] = None
        elif kind == "Service":
            self._services[namespace, name] = None
        elif kind == "Namespace":
            self._delete_namespace(name)
        else:
            for pod in self._pods_of(WorkloadRef(namespace, name, kind)):
                self._take(pod)

    def _delete_namespace(self, name: str) -> None:
        self._namespaces[name] = None
        for key in [*self._base.policies, *self._policies]:
            if key[1] == name:
                self._policies[key] = None
        for pod in list(self._all_pods()):
            if pod.namespace == name:
                self._take(pod)
        services = {(one.namespace, one.name) for one in self._base.cluster.services}
        for service in services | self._services.keys():
            if service[0] == name:
                self._services[service] = None

    def _label(self, change: Change) -> None:
        kind, namespace, name = self._find(change.target, "label")

        def changed(labels: Any) -> dict[str, str]:
            kept = {key: value for key, value in labels.items() if key not in change.remove}
            return {**kept, **change.set}

        if kind == "Namespace":
            known = self._namespaces.get(name) or self._base.namespaces[name]
            self._namespaces[name] = replace(known, labels=changed(known.labels), implied=False)
        elif kind == "Pod":
            pod = self._pods.get((namespace, name)) or self._base.pods[namespace, name]
            self._put(replace(pod, labels=changed(pod.labels)))
        elif kind in ("NetworkPolicy", "Node", "Service"):
            raise UsageError(f"cannot label {change.target!r}: only pods, workloads and namespaces")
        else:
            for pod in self._pods_of(WorkloadRef(namespace, name, kind)):
                self._put(replace(pod, labels=changed(pod.labels)))

    def _scale(self, change: Change) -> None:
        kind, namespace, name = self._find(change.target, "scale")
        if kind in ("NetworkPolicy", "Node", "Service", "Namespace", "Pod"):
            raise UsageError(f"cannot scale {change.target!r}: only workloads")
        pods = self._pods_of(WorkloadRef(namespace, name, kind))
        for pod in pods[change.replicas :]:
            self._take(pod)
        names_taken = ChainMap(self._present(), self._base.pods)
        for _ in range(change.replicas - len(pods)):
            fresh = replace(pods[-1], addresses=(), node="", phase="", template=True)
            pod = renamed(fresh, names_taken)
            names_taken[pod.namespace, pod.name] = pod
            self._put(pod)
