"""From the words of a question to the pods and addresses that it means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from kubeverdict.analyses.spelling import closest
from kubeverdict.errors import UsageError
from kubeverdict.evaluate.ends import address_ids, pod_id
from kubeverdict.model.addresses import Address, parse_address
from kubeverdict.model.cluster import SHORT_NAMES, Pod, Service, WorkloadRef
from kubeverdict.services.names import service_name

if TYPE_CHECKING:
    from kubeverdict.compile.compiled import CompiledPolicy

# What kubectl calls them for short.
KINDS = {
    "po": "pod",
    "deploy": "deployment",
    "sts": "statefulset",
    "ds": "daemonset",
    "rs": "replicaset",
    "rc": "replicationcontroller",
    "cj": "cronjob",
    "svc": "service",
    **SHORT_NAMES,
}


class Party(msgspec.Struct, frozen=True, eq=False):
    """One thing that opens or accepts a connection.

    ``pod`` is None for a bare address. ``managed`` says whether policies select it by its
    labels: a pod on the host network is, to most CNIs, only the address of its node.
    """

    name: str
    addresses: tuple[Address, ...]
    pod: Pod | None = None
    managed: bool = False


class End(msgspec.Struct, frozen=True, eq=False):
    """One end of a question: the parties it stands for, all of one workload or just one."""

    name: str
    parties: tuple[Party, ...]
    notes: tuple[str, ...] = ()


def find_end(compiled: CompiledPolicy, text: str) -> End:
    """The pods or the address that ``text`` names.

    ``NS/NAME`` is a pod or else a workload, ``KIND/NS/NAME`` says which, anything that spells an
    IP address is one. Raises :class:`UsageError` for a name that does not exist, with the nearest
    one that does.
    """
    address = parse_address(text)
    if address is not None:
        return _address_end(compiled, address)
    if service_name(text):
        raise UsageError(f"{text}: a Service can only be asked about as the destination (--to)")
    kind, namespace, name = split_name(text)
    pods = compiled.cluster.pods
    if kind in ("", "pod"):
        for pod in pods:
            if pod.name == name and pod.namespace == namespace:
                return _pods_end(compiled, str(pod), [pod])
    if kind == "service":
        raise UsageError(f"{text}: a Service can only be asked about as the destination (--to)")
    if kind != "pod":
        found = _workloads(pods, kind, namespace, name)
        if len(found) > 1:
            kinds = sorted(ref.kind.lower() for ref in found)
            choices = " or ".join(f"{one}/{namespace}/{name}" for one in kinds)
            raise UsageError(f"{text} is the name of several workloads: use {choices}")
        for ref, members in found.items():
            return _pods_end(compiled, str(ref), members)
    raise _unknown(kind or "pod or workload", namespace, name, _existing(pods, kind))


def find_service(compiled: CompiledPolicy, text: str) -> Service | None:
    """The Service that ``svc/NS/NAME`` or its name in DNS (``db.shop.svc.cluster.local``) names;
    None where ``text`` does not ask for a Service."""
    if parse_address(text) is not None:
        return None
    in_dns = service_name(text)
    kind, namespace, name = ("service", *in_dns) if in_dns else split_name(text)
    if kind != "service":
        return None
    services = compiled.cluster.services
    for service in services:
        if service.name == name and service.namespace == namespace:
            return service
    existing = ((service.namespace, service.name) for service in services)
    raise _unknown("Service", namespace, name, existing)


def pod_party(compiled: CompiledPolicy, pod: Pod) -> Party:
    """A pod with the addresses by which this CNI knows it."""
    known = pod.addresses if compiled.profile.dual_stack else pod.addresses[:1]
    addresses = tuple(a for a in map(parse_address, known) if a is not None)
    return Party(str(pod), addresses, pod, managed=(pod.namespace, pod.name) in compiled.pod_ids)


def address_party(text: str) -> Party:
    """An address alone, in its canonical spelling."""
    address = parse_address(text)
    assert address is not None, text
    return Party(text, (address,))


def party_id(compiled: CompiledPolicy, party: Party) -> int:
    """The party's id among the ends of flows. Raises UsageError for a pod that takes no part."""
    if party.pod is not None:
        return pod_id(compiled, party.pod)
    return int(address_ids(compiled, [str(party.addresses[0])])[0])


def split_name(text: str) -> tuple[str, str, str]:
    """``deploy/shop/web`` as (``deployment``, ``shop``, ``web``); no kind comes out as ``""``."""
    parts = text.split("/")
    if not all(parts) or len(parts) not in (2, 3):
        raise UsageError(
            f"{text or 'an empty name'}: use NAMESPACE/NAME, KIND/NAMESPACE/NAME or an IP address"
        )
    kind = parts[0].lower() if len(parts) == 3 else ""
    # Plurals as kubectl takes them ("deployments/shop/web").
    kind = kind[:-1] if kind.endswith("s") and kind not in KINDS else kind
    return KINDS.get(kind, kind), parts[-2], parts[-1]


def _address_end(compiled: CompiledPolicy, address: Address) -> End:
    text = str(address)
    number = int(address_ids(compiled, [text])[0])
    if number < len(compiled.pods):
        pod = compiled.pods[number]
        return End(str(pod), (pod_party(compiled, pod),), (f"{text} is the address of pod {pod}",))
    for node in compiled.cluster.nodes:
        if any(parse_address(spelling) == address for spelling in node.addresses):
            return End(
                text, (Party(text, (address,)),), (f"{text} is the address of node {node.name}",)
            )
    return End(text, (Party(text, (address,)),))


def _pods_end(compiled: CompiledPolicy, name: str, pods: list[Pod]) -> End:
    left_out = {id(pod): reason for pod, reason in compiled.excluded}
    parties = []
    notes = []
    for pod in pods:
        party = pod_party(compiled, pod)
        if party.managed:
            parties.append(party)
        elif pod.host_network and not pod.finished and party.addresses:
            parties.append(party)
            notes.append(f"{pod} uses the host network: policies see it as {party.addresses[0]}")
        else:
            notes.append(f"{pod} is left out: {left_out.get(id(pod), 'policies do not manage it')}")
    if not parties:
        raise UsageError("; ".join(notes))
    return End(name, tuple(parties), tuple(notes))


def _workloads(
    pods: Iterable[Pod], kind: str, namespace: str, name: str
) -> dict[WorkloadRef, list[Pod]]:
    found: dict[WorkloadRef, list[Pod]] = {}
    for pod in pods:
        ref = pod.workload
        if (
            ref.name == name
            and ref.namespace == namespace
            and (not kind or ref.kind.lower() == kind)
        ):
            found.setdefault(ref, []).append(pod)
    return found


def _existing(pods: Iterable[Pod], kind: str) -> Iterator[tuple[str, str]]:
    for pod in pods:
        if kind in ("", "pod"):
            yield pod.namespace, pod.name
        ref = pod.workload
        if not kind or ref.kind.lower() == kind:
            yield ref.namespace, ref.name


def _unknown(
    what: str, namespace: str, name: str, existing: Iterable[tuple[str, str]]
) -> UsageError:
    """The error for a name that does not exist, with a guess at the one that was meant.

    The same name in another namespace is the likeliest mistake, then a misspelt name in the right
    namespace, then any name that is spelt nearly alike.
    """
    names = set(existing)
    message = f"no {what} {namespace}/{name} in the input"
    elsewhere = sorted(other for other, existing_name in names if existing_name == name)
    if elsewhere:
        nearest = closest(namespace, elsewhere)
        return UsageError(f"{message}; there is {nearest.word if nearest else elsewhere[0]}/{name}")
    inside = {existing_name for other, existing_name in names if other == namespace}
    guess = closest(name, inside)
    if guess is None:
        guess = closest(f"{namespace}/{name}", (f"{other}/{word}" for other, word in names))
    if guess is not None:
        return UsageError(f"{message} ({guess})")
    if not inside:
        namespaces = {other for other, _ in names}
        nearest = closest(namespace, namespaces)
        return UsageError(
            f"{message}, nor any in namespace {namespace}{f' ({nearest})' if nearest else ''}"
        )
    return UsageError(message)
