"""The two ends of a connection as reports show them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence

import msgspec

from kubeverdict.model.address_text import Span, address_text, range_text
from kubeverdict.model.addresses import Family, family_of
from kubeverdict.model.cluster import Pod, WorkloadRef

# The identity of a pod in each plane, -1 where it has no address of the plane's families.
Member = tuple[int, ...]


class Peer(msgspec.Struct, frozen=True, gc=False):
    """One end of connections.

    ``whole`` names the workload (or pod) that this is, or is a part of: then ``pods`` lists the
    names of that part. Addresses have neither but a ``family`` and ``spans``: first and last of
    each, ascending and apart. ``order`` sorts peers: pods by name, then addresses by family and
    value.
    """

    name: str
    namespace: str
    order: tuple[int, int, str]
    whole: str = ""
    pods: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()

    @property
    def family(self) -> Family:
        """Of addresses."""
        return family_of(self.order[0])

    def __str__(self) -> str:
        return self.name


def pod_peer(whole: str, namespace: str, pods: Collection[str] = ()) -> Peer:
    """All of a workload, or the part that consists of ``pods``."""
    names = tuple(sorted(pods))
    name = f"{whole}{{{','.join(names)}}}" if names else whole
    return Peer(name, namespace, (0, 0, name), whole, names)


def address_peer(family: Family, spans: Sequence[Span]) -> Peer:
    """Addresses, written as blocks."""
    name = address_text(family, spans)
    return Peer(name, "", (family, spans[0][0], name), spans=tuple(spans))


def range_peers(family: Family, spans: Sequence[Span]) -> list[Peer]:
    """Addresses, each span for itself and written by its ends."""
    return [
        Peer(name, "", (family, span[0], name), spans=(span,))
        for span in spans
        for name in [range_text(family, *span)]
    ]


class PeerGroup(msgspec.Struct, frozen=True, eq=False):
    """Pods that are shown as one peer: those of a workload, or a pod alone.

    ``members`` holds their names by identity, for the case that not all are treated alike.
    """

    peer: Peer
    members: dict[Member, list[str]]

    @property
    def pods(self) -> list[str]:
        return [name for names in self.members.values() for name in names]

    def part(self, members: Iterable[Member]) -> Peer:
        chosen = list(members)
        if len(chosen) == len(self.members):
            return self.peer
        names = [name for member in chosen for name in self.members[member]]
        return pod_peer(self.peer.whole, self.peer.namespace, names)


def group_pods(
    pods: Sequence[Pod],
    identities: Sequence[Sequence[int]],
    *,
    by_pod: bool = False,
    alone: Collection[Hashable] = (),
) -> list[PeerGroup]:
    """Pods by workload, or each for itself.

    ``identities`` has a sequence for each plane, in the order of ``pods``. ``alone`` lists pods
    (namespace, name) to keep apart from their workload.
    """
    found: dict[WorkloadRef, PeerGroup] = {}
    for pod, member in zip(pods, zip(*identities, strict=True), strict=True):
        ref = pod.workload
        if by_pod or (pod.namespace, pod.name) in alone:
            ref = WorkloadRef(pod.namespace, pod.name, "Pod")
        group = found.get(ref)
        if group is None:
            found[ref] = group = PeerGroup(pod_peer(str(ref), ref.namespace), {})
        group.members.setdefault(member, []).append(pod.name)
    return list(found.values())
