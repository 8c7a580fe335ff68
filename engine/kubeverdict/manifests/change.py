"""How changes name objects, and what objects that are applied keep of those they replace."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from kubeverdict.errors import UsageError
from kubeverdict.manifests import policies as apis
from kubeverdict.manifests.loading import Loaded
from kubeverdict.model.cluster import (
    CONTROLLER_LABELS,
    SHORT_NAMES,
    Cluster,
    Ingress,
    Pod,
    Service,
    WorkloadRef,
)
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.policy import Policy

_Named = TypeVar("_Named")
_Located = TypeVar("_Located", Pod, Policy, Service, Ingress, EndpointList)


def given(old: Service | None, new: Service) -> Service:
    """``new`` in the place of ``old``: addresses and node ports that the cluster gave it stay
    where the manifest names none."""
    if old is None or "ExternalName" in (old.type, new.type):
        return new
    outside = new.type in ("NodePort", "LoadBalancer")
    had = {(port.protocol, port.port): port.node_port for port in old.ports if outside}
    ports = tuple(
        msgspec.structs.replace(
            port, node_port=port.node_port or had.get((port.protocol, port.port), 0)
        )
        for port in new.ports
    )
    keeps = not (new.addresses or new.headless)
    return msgspec.structs.replace(
        new,
        ports=ports,
        addresses=old.addresses if keeps else new.addresses,
        headless=old.headless if keeps else new.headless,
        balancers=new.balancers or (old.balancers if new.type == "LoadBalancer" else ()),
    )


def apply_pods(
    old: Iterable[Pod], change: Loaded, taken: Container[tuple[str, str]] = ()
) -> tuple[Pod, ...]:
    """Some pods after a change; ``taken`` are keys that others have."""
    # Template pods of each changed workload, in the order in which they take over.
    coming: dict[WorkloadRef, deque[Pod]] = {ref: deque() for ref in change.workloads}
    singly: dict[tuple[str, str], Pod] = {}
    for pod in change.cluster.pods:
        if pod.template:
            coming.setdefault(pod.workload, deque()).append(pod)
        else:
            singly[pod.namespace, pod.name] = pod
    result = []
    served = set()  # workloads that keep as many pods as they have
    for pod in old:
        ref = pod.workload
        if (pod.namespace, pod.name) in singly:
            result.append(_take_over(pod, singly.pop((pod.namespace, pod.name))))
        elif (left := coming.get(ref)) is None:
            result.append(pod)
        elif left and ref in change.unscaled:
            result.append(_take_over(pod, left[0]))
            served.add(ref)
        elif left:
            result.append(_take_over(pod, left.popleft()))
    used = {(pod.namespace, pod.name) for pod in result}
    for ref, left in coming.items():
        for pod in left if ref not in served else ():
            result.append(_renamed(pod, used, taken))
            used.add((pod.namespace, result[-1].name))
    return (*result, *singly.values())


def _take_over(old: Pod, new: Pod) -> Pod:
    """``new`` in the place of ``old``: what the cluster, not the manifest, decides stays."""
    if new.addresses:
        return new
    labels: Mapping[str, str] = new.labels
    if new.template:
        own = {key: old.labels[key] for key in CONTROLLER_LABELS if key in old.labels}
        labels = {**new.labels, **own}
    return msgspec.structs.replace(
        new,
        name=old.name,
        labels=labels,
        workload=old.workload,
        addresses=old.addresses,
        node=old.node or new.node,
        phase=old.phase,
        template=old.template,
        started=old.started,
    )


def _renamed(pod: Pod, *taken: Container[tuple[str, str]]) -> Pod:
    """A new pod of a workload, under a name that no pod that stays has."""
    name, number = pod.name, 0
    while any((pod.namespace, name) in part for part in taken):
        number += 1
        name = f"{pod.name}-{number}"
    return pod if name == pod.name else msgspec.structs.replace(pod, name=name)


# Kinds as kubectl spells them; all are accepted in lower case and in the plural too. Those of
# policies are in a table of their own.
_SHORT = {
    "Pod": ("po",),
    "Namespace": ("ns",),
    "Node": ("no",),
    "Service": ("svc",),
    "Deployment": ("deploy",),
    "StatefulSet": ("sts",),
    "DaemonSet": ("ds",),
    "ReplicaSet": ("rs",),
    "ReplicationController": ("rc",),
    "Job": (),
    "CronJob": ("cj",),
}
_PLAIN = ("Namespace", "Node")  # not in a namespace


_KINDS = {word: kind for kind in _SHORT for word in (*apis.spellings(kind), *_SHORT[kind])}


def parse_reference(
    reference: str,
    verb: str,
    names_of: Callable[[str], Collection[str]],
    workload_kinds: Callable[[], Iterable[str]],
) -> tuple[str, str, str]:
    """Kind, namespace and name of an object that exists.

    ``names_of`` gives the names of a kind, ``workload_kinds`` those kinds that pods belong to:
    besides Kubernetes' own these may be of any group.
    """
    word, *parts = reference.split("/")
    try:
        kind = _KINDS.get(word.lower()) or _other_kind(word, names_of, workload_kinds)
    except UsageError as error:
        raise UsageError(f"cannot {verb} {reference!r}: {error}") from None
    read = apis.is_evaluated(kind) or apis.is_definition(kind)
    scoped = kind in _PLAIN or (read and not apis.is_namespaced(kind))
    if len(parts) != (1 if scoped else 2):
        form = f"{kind.lower()}/NAME" if scoped else f"{kind.lower()}/NAMESPACE/NAME"
        raise UsageError(f"cannot {verb} {reference!r}: write it as {form}")
    known = names_of(kind)
    path = "/".join(parts)
    if path in known:
        return kind, parts[0] if len(parts) > 1 else "", parts[-1]
    close = difflib.get_close_matches(path, _likely(parts, known), n=1, cutoff=0.0)
    hint = f", did you mean {kind.lower()}/{close[0]}?" if close else ": there is none of its kind"
    raise UsageError(f"cannot {verb} {reference!r}: it does not exist{hint}")


def _other_kind(
    word: str,
    names_of: Callable[[str], Collection[str]],
    workload_kinds: Callable[[], Iterable[str]],
) -> str:
    """The kind of policy or of custom workload that ``word`` means.

    Of several policies of one short name it is the one that there are any of. Raises UsageError,
    without the reference, where the word means none or more."""
    found = apis.named(word)
    evaluated = [name for one in found if (name := apis.evaluated_as(*one)) is not None]
    if len(evaluated) > 1:
        held = [name for name in evaluated if names_of(name)]
        if len(held) != 1:
            choices = " or ".join(name.lower() for name in held or evaluated)
            raise UsageError(f"{word!r} is short for several kinds: write {choices}")
        return held[0]
    if evaluated:
        return evaluated[0]
    words = (word.lower(), SHORT_NAMES.get(word.lower()), word.lower().removesuffix("s"))
    for kind in workload_kinds():
        if kind.lower() in words:
            return kind
    if found:
        choices = " or ".join(f"{kind}.{group}" for group, kind in found)
        message = "policies of this kind are known and not evaluated: nothing would change"
        raise UsageError(f"{choices}: {message}")
    read = (*apis.EVALUATED, *apis.DEFINITIONS)
    known = [*_KINDS, *(each for name in read for each in apis.spellings(name))]
    close = difflib.get_close_matches(word.lower(), known, n=1)
    kinds = ", ".join(kind.lower() for kind in (*apis.EVALUATED, *_SHORT))
    raise UsageError(
        f"unknown kind {word!r}" + (f", did you mean {close[0]}?" if close else f": {kinds}")
    )


def _likely(parts: list[str], known: Collection[str]) -> list[str]:
    """Those of the same name, else those of the same namespace, else all: comparing with every
    pod of a large cluster takes seconds."""
    same_name = [path for path in known if path.rpartition("/")[2] == parts[-1]]
    same_namespace = [path for path in known if path.partition("/")[0] == parts[0]]
    return sorted(same_name or same_namespace or known)


def names(cluster: Cluster, kind: str) -> set[str]:
    """The objects of a kind, as ``NAMESPACE/NAME`` or, for those of no namespace, ``NAME``."""
    objects: dict[str, Iterable[Any]] = {
        "Namespace": (item.name for item in cluster.namespaces),
        "Node": (item.name for item in cluster.nodes),
        "Service": cluster.services,
        "Pod": cluster.pods,
    }
    if apis.is_evaluated(kind):
        return {str(policy) for policy in cluster.policies if policy.kind == kind}
    if apis.is_definition(kind):
        found = (one for one in cluster.references.definitions if one.kind == kind)
        return {apis.path_of(one.namespace, one.name) for one in found}
    if kind in objects:
        return {str(item) for item in objects[kind]}
    refs = {pod.workload for pod in cluster.pods if pod.workload.kind == kind}
    return {f"{ref.namespace}/{ref.name}" for ref in refs}


def workload_kinds(cluster: Cluster) -> set[str]:
    """The kinds of workload that pods belong to."""
    return {pod.workload.kind for pod in cluster.pods}
