"""Objects applied to a whole cluster, and deleted from it, one change after the other: what
:mod:`kubeverdict.manifests.resolving` finds by what a change touches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import msgspec

from kubeverdict.manifests import Loaded
from kubeverdict.manifests import policies as apis
from kubeverdict.manifests.change import (
    apply_pods,
    given,
    names,
    parse_reference,
    workload_kinds,
)
from kubeverdict.manifests.loading import with_implied
from kubeverdict.model.cluster import Cluster, Ingress, Pod, Service, WorkloadRef
from kubeverdict.model.edit import policy_key
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.policy import Policy
from kubeverdict.model.unevaluated import merged

_Named = TypeVar("_Named")
_Located = TypeVar("_Located", Pod, Policy, Service, Ingress, EndpointList)


def apply(base: Cluster, change: Loaded) -> Cluster:
    new = change.cluster
    pods = apply_pods(base.pods, change)
    named = [item for item in new.namespaces if not item.implied]
    known = {item.name for item in base.namespaces}
    named += [item for item in new.namespaces if item.implied and item.name not in known]
    policies = _replace(base.policies, new.policies, policy_key)
    had = {(one.namespace, one.name): one for one in base.services} if new.services else {}
    coming = [given(had.get((one.namespace, one.name)), one) for one in new.services]
    services = _replace(base.services, coming, lambda s: (s.namespace, s.name))
    namespaces = _replace(base.namespaces, named, lambda n: n.name)
    return Cluster(
        namespaces=with_implied(namespaces, pods, policies, services),
        pods=pods,
        policies=policies,
        nodes=_replace(base.nodes, new.nodes, lambda n: n.name),
        services=services,
        ingresses=_replace(base.ingresses, new.ingresses, lambda i: (i.kind, i.namespace, i.name)),
        unevaluated=merged(base.unevaluated, new.unevaluated),
        endpoints=_replace(base.endpoints, new.endpoints, lambda e: (e.kind, e.namespace, e.name)),
        api_server_calls=_replace(
            base.api_server_calls, new.api_server_calls, lambda one: (one.kind, one.name)
        ),
    )


def _replace(
    old: Iterable[_Named], new: Iterable[_Named], key: Callable[[_Named], object]
) -> tuple[_Named, ...]:
    """``old`` with what ``new`` has in its place, then the rest of ``new``."""
    coming = {key(item): item for item in new}
    kept = [coming.pop(key(item), item) for item in old]
    return (*kept, *coming.values())


def delete(cluster: Cluster, references: Iterable[str]) -> Cluster:
    for reference in references:
        found = parse_reference(
            reference, "delete", partial(names, cluster), partial(workload_kinds, cluster)
        )
        cluster = _without(cluster, *found)
    return cluster


def _without(cluster: Cluster, kind: str, namespace: str, name: str) -> Cluster:
    replace = msgspec.structs.replace
    match kind:
        case "Namespace":
            return Cluster(
                namespaces=tuple(item for item in cluster.namespaces if item.name != name),
                pods=_outside(cluster.pods, name),
                policies=_outside(cluster.policies, name),
                nodes=cluster.nodes,
                services=_outside(cluster.services, name),
                ingresses=_outside(cluster.ingresses, name),
                unevaluated=cluster.unevaluated,
                endpoints=_outside(cluster.endpoints, name),
            )
        case "Node":
            nodes = tuple(item for item in cluster.nodes if item.name != name)
            return replace(cluster, nodes=nodes)
        case "Service":
            # Its endpoints go with it, as the cluster collects them.
            gone = (namespace, name)
            kept_lists = tuple(
                one for one in cluster.endpoints if (one.namespace, one.service) != gone
            )
            services = _others(cluster.services, namespace, name)
            return replace(cluster, services=services, endpoints=kept_lists)
        case "Pod":
            return replace(cluster, pods=_others(cluster.pods, namespace, name))
    if apis.is_evaluated(kind):
        key = (kind, namespace, name)
        kept = tuple(item for item in cluster.policies if policy_key(item) != key)
        return replace(cluster, policies=kept)
    ref = WorkloadRef(namespace, name, kind)
    return replace(cluster, pods=tuple(pod for pod in cluster.pods if pod.workload != ref))


def _outside(objects: Iterable[_Located], namespace: str) -> tuple[_Located, ...]:
    return tuple(item for item in objects if item.namespace != namespace)


def _others(objects: Iterable[_Located], namespace: str, name: str) -> tuple[_Located, ...]:
    return tuple(item for item in objects if (item.namespace, item.name) != (namespace, name))
