"""Who may talk to whom."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from kubeverdict.analyses.cells import CellRow, Cells, gather
from kubeverdict.analyses.ends import End, find_end
from kubeverdict.analyses.external import External, families_in_use
from kubeverdict.analyses.links import Fan, Fans, GroupKinds
from kubeverdict.analyses.outside import outside
from kubeverdict.analyses.peers import Peer, PeerGroup, group_pods
from kubeverdict.analyses.port_text import Ports, PortTexts
from kubeverdict.analyses.spelling import closest
from kubeverdict.compile.compiled import CompiledPolicy, Plane
from kubeverdict.errors import UsageError
from kubeverdict.evaluate.pairs import rows
from kubeverdict.model.addresses import BITS, Family
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import Direction
from kubeverdict.model.unevaluated import Unevaluated


class Connection(msgspec.Struct, frozen=True, gc=False):
    """``family`` is ``IPv4`` or ``IPv6`` where the two differ, and else empty."""

    source: Peer
    destination: Peer
    ports: Ports
    family: str = ""


class ConditionalConnection(msgspec.Struct, frozen=True):
    """A connection that depends on the condition of a rule: the ports on which it is allowed at
    least, which may be none, and at most."""

    source: Peer
    destination: Peer
    at_least: Ports
    at_most: Ports
    family: str = ""


class Connections(msgspec.Struct, frozen=True):
    """The report: for each source what it reaches, in order of source, then destination.

    ``fans`` can be gone through again and again, and makes them as it goes: between a thousand
    pods there may be a million connections. ``pods`` holds the names of the pods of every peer
    that could be listed. With ``by_range`` each range of addresses is a peer of its own.
    ``conditional`` are those that are allowed, or on more ports, only under a condition.
    """

    profile: str
    fans: Iterable[Fan[Ports]]
    pods: Mapping[str, Sequence[str]]
    by_range: bool = False
    unevaluated: tuple[Unevaluated, ...] = ()
    conditional: tuple[ConditionalConnection, ...] = ()

    @property
    def connections(self) -> Iterator[Connection]:
        for fan in self.fans:
            for target in fan.targets:
                yield Connection(fan.source, target.peer, target.value, target.family)


class Selection(msgspec.Struct, frozen=True):
    """Which connections to list.

    Those with one end in ``focus`` (a pod or workload) and one end in ``namespaces``, where given.
    With ``direction`` only those that come to the focus or leave it, or, without a focus, the
    namespaces.
    """

    focus: str = ""
    namespaces: tuple[str, ...] = ()
    direction: Direction | None = None


EVERYTHING = Selection()


def connections(
    compiled: CompiledPolicy,
    *,
    by_pod: bool = False,
    by_range: bool = False,
    families: Collection[Family] | None = None,
    selection: Selection = EVERYTHING,
) -> Connections:
    """The allowed connections between workloads, or between pods, and with addresses outside.

    A pod and itself are no connection, and what a pod's own node may do whatever the rules say is
    not listed: it is the same for all. With ``by_range`` each range of addresses is listed for
    itself; otherwise only those of ``families``, by default those that the cluster has anything
    of. Raises :class:`UsageError` for a focus or a
    namespace that does not exist.
    """
    end = find_end(compiled, selection.focus) if selection.focus else None
    alone = set()
    if end is not None:
        # A pod in focus is shown by itself, whatever workload it belongs to.
        alone = {_key(party.pod) for party in end.parties if party.pod and party.name == end.name}
    groups = group_pods(
        compiled.pods,
        [plane.ends.identity[: len(compiled.pods)].tolist() for plane in compiled.planes],
        by_pod=by_pod,
        alone=alone,
    )
    wanted = _wanted(compiled, groups, selection, end)
    kinds = GroupKinds(groups)
    only = kinds.numbers(lambda group: group.peer.whole in wanted[0]) if wanted else None
    destinations = only if selection.direction is Direction.INGRESS else None
    texts = PortTexts(compiled.ports.first, without_icmp=compiled.profile.icmp == "always")
    planes = [
        _plane_cells(compiled, plane, kinds.in_plane(number), texts, destinations)
        for number, plane in enumerate(compiled.planes)
    ]
    if by_range:
        families = BITS.keys()
    elif families is None:
        families = families_in_use(compiled.cluster)
    external = External(planes, families, by_range=by_range)
    fans: Iterable[Fan[Ports]] = Fans(kinds, planes, external, texts.ports, only)
    if wanted:
        fans = tuple(_selected(fans, wanted, selection.direction))
    return Connections(
        compiled.profile.name,
        fans,
        {group.peer.whole: group.pods for group in groups},
        by_range,
        compiled.unevaluated,
    )


def _selected(
    fans: Iterable[Fan[Ports]], wanted: list[set[str]], direction: Direction | None
) -> Iterator[Fan[Ports]]:
    for fan in fans:
        source = fan.source.whole
        targets = [
            target
            for target in fan.targets
            if _is_wanted(source, target.peer.whole, wanted, direction)
        ]
        if targets:
            yield Fan(fan.source, targets)


def _key(pod: Pod) -> tuple[str, str]:
    return pod.namespace, pod.name


def _wanted(
    compiled: CompiledPolicy, groups: list[PeerGroup], selection: Selection, end: End | None
) -> list[set[str]]:
    """The peers that the selection names; each set must have an end of a connection."""
    wanted: list[set[str]] = []
    if end is not None:
        pods = {_key(party.pod) for party in end.parties if party.pod and party.managed}
        if not pods:
            raise UsageError(f"{selection.focus} is not a pod or workload that policies select")
        wanted.append(
            {
                group.peer.whole
                for group in groups
                if any((group.peer.namespace, name) in pods for name in group.pods)
            }
        )
    if selection.namespaces:
        existing = {namespace.name for namespace in compiled.cluster.namespaces}
        for name in selection.namespaces:
            if name not in existing:
                guess = closest(name, existing)
                hint = f" ({guess})" if guess else ""
                raise UsageError(f"no namespace {name} in the input{hint}")
        wanted.append(
            {group.peer.whole for group in groups if group.peer.namespace in selection.namespaces}
        )
    if selection.direction is not None and not wanted:
        raise UsageError("--direction needs --focus or --in-namespace: the direction is theirs")
    return wanted


def _is_wanted(
    source: str, destination: str, wanted: list[set[str]], direction: Direction | None
) -> bool:
    directed, *others = wanted
    ends = source, destination
    if direction is Direction.INGRESS:
        found = destination in directed
    elif direction is Direction.EGRESS:
        found = source in directed
    else:
        found = not directed.isdisjoint(ends)
    return found and all(not other.isdisjoint(ends) for other in others)


def _plane_cells(
    compiled: CompiledPolicy,
    plane: Plane,
    kinds: list[list[int]],
    texts: PortTexts,
    destinations: set[int] | None,
) -> Cells:
    def values(identities: Sequence[int]) -> Iterator[CellRow]:
        for row in rows(compiled, plane, identities):
            yield CellRow(row.destinations, row.sources, [texts.number(one) for one in row.atoms])

    identity = plane.ends.identity.tolist()
    space = (
        (compiled.addresses.interval(atom), identity[compiled.first_atom + atom])
        for atom in range(compiled.addresses.atoms)
    )
    hosts = zip(compiled.hosts, identity[compiled.first_host :], strict=False)
    return gather(values, plane.size, plane.families, kinds, outside(space, hosts), destinations)
