"""A change of a cluster, object by object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

import msgspec

from kubeverdict.model.cluster import (
    METADATA_NAME,
    ApiServerCalls,
    Cluster,
    Ingress,
    Namespace,
    Node,
    Pod,
    Service,
)
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.policy import Policy
from kubeverdict.model.references import References
from kubeverdict.model.unevaluated import Unevaluated, merged

PolicyKey = tuple[str, str, str]
"""Kind, namespace ("" where it has none) and name."""

EndpointsKey = tuple[str, str, str]
"""Kind, namespace and name."""

IngressKey = tuple[str, str, str]
"""Kind, namespace and name."""

CallsKey = tuple[str, str]
"""Kind and name."""

_Item = TypeVar("_Item")


def policy_key(policy: Policy) -> PolicyKey:
    return policy.kind, policy.namespace or "", policy.name


class Edit(msgspec.Struct, frozen=True):
    """A change of a cluster: what it takes out and puts in.

    Everything is taken out first; what is put in replaces the object of its key, which is the
    (namespace, name) of a pod or Service and the name of a namespace or node. Taking a namespace
    out leaves what is in it: the edit has to name that too. ``profile`` is the name of
    the CNI profile to judge by, or empty for that of the cluster. ``unevaluated`` is what is put
    in and no verdict takes into account; ``all_unevaluated`` is all of that after the edit, where
    it is not None.

    ``references`` are those of the cluster after the edit, None where it leaves them as they are;
    policies that come out otherwise by them are among those that are put in.
    """

    name: str
    policies_out: tuple[PolicyKey, ...] = ()
    policies_in: tuple[Policy, ...] = ()
    pods_out: tuple[tuple[str, str], ...] = ()
    pods_in: tuple[Pod, ...] = ()
    namespaces_out: tuple[str, ...] = ()
    namespaces_in: tuple[Namespace, ...] = ()
    nodes_out: tuple[str, ...] = ()
    nodes_in: tuple[Node, ...] = ()
    services_out: tuple[tuple[str, str], ...] = ()
    services_in: tuple[Service, ...] = ()
    endpoints_out: tuple[EndpointsKey, ...] = ()
    endpoints_in: tuple[EndpointList, ...] = ()
    ingresses_out: tuple[IngressKey, ...] = ()
    ingresses_in: tuple[Ingress, ...] = ()
    api_server_calls_out: tuple[CallsKey, ...] = ()
    api_server_calls_in: tuple[ApiServerCalls, ...] = ()
    profile: str = ""
    unevaluated: tuple[Unevaluated, ...] = ()
    references: References | None = None
    all_unevaluated: tuple[Unevaluated, ...] | None = None


def endpoints_key(endpoints: EndpointList) -> EndpointsKey:
    return endpoints.kind, endpoints.namespace, endpoints.name


def ingress_key(ingress: Ingress) -> IngressKey:
    return ingress.kind, ingress.namespace, ingress.name


def edited(cluster: Cluster, edit: Edit) -> Cluster:
    """``cluster`` after ``edit``; namespaces that pods, policies or Services name are implied."""
    pods = _edited(
        cluster.pods, edit.pods_out, edit.pods_in, lambda item: (item.namespace, item.name)
    )
    policies = _edited(cluster.policies, edit.policies_out, edit.policies_in, policy_key)
    services = _edited(
        cluster.services,
        edit.services_out,
        edit.services_in,
        lambda item: (item.namespace, item.name),
    )
    endpoints = _edited(cluster.endpoints, edit.endpoints_out, edit.endpoints_in, endpoints_key)
    namespaces = _edited(
        cluster.namespaces, edit.namespaces_out, edit.namespaces_in, lambda item: item.name
    )
    ingresses = _edited(cluster.ingresses, edit.ingresses_out, edit.ingresses_in, ingress_key)
    calls = _edited(
        cluster.api_server_calls,
        edit.api_server_calls_out,
        edit.api_server_calls_in,
        lambda item: (item.kind, item.name),
    )
    known_gaps = cluster.unevaluated if edit.all_unevaluated is None else edit.all_unevaluated
    known = {namespace.name for namespace in namespaces}
    used = {item.namespace for part in (pods, policies, services) for item in part}
    namespaces += tuple(
        Namespace(name, {METADATA_NAME: name}, implied=True)
        for name in sorted(name for name in used - known if name)
    )
    nodes = _edited(cluster.nodes, edit.nodes_out, edit.nodes_in, lambda item: item.name)
    return Cluster(
        namespaces,
        pods,
        policies,
        nodes,
        services,
        ingresses,
        merged(known_gaps, edit.unevaluated),
        endpoints,
        calls,
        cluster.references if edit.references is None else edit.references,
    )


def _edited(
    old: Sequence[_Item],
    out: Collection[object],
    put_in: Iterable[_Item],
    key: Callable[[_Item], object],
) -> tuple[_Item, ...]:
    coming = {key(item): item for item in put_in}
    if not coming and not out:
        return tuple(old)
    gone = set(out)
    kept = [
        coming.pop(key(item), item) for item in old if key(item) not in gone or key(item) in coming
    ]
    return (*kept, *coming.values())
