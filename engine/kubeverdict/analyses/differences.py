"""Which connections two inputs do not have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec

from kubeverdict.analyses.blocks import blocks
from kubeverdict.analyses.connections import Connection, Connections
from kubeverdict.analyses.peers import Peer, address_peer, pod_peer, range_peers
from kubeverdict.analyses.port_text import NO_PORTS, Ports
from kubeverdict.model.address_text import Span
from kubeverdict.model.addresses import Family
from kubeverdict.model.unevaluated import Unevaluated, merged

# Ports in the old and in the new input, by family ("" for both alike).
Outcome = tuple[tuple[str, Ports, Ports], ...]
# What each side holds between two ends.
Held = Sequence[Sequence[Connection]]
Value = TypeVar("Value", bound=Hashable)
_BOTH = ["IPv4", "IPv6"]


class Difference(msgspec.Struct, frozen=True):
    """A connection that one input has and the other has not, or on other ports.

    ``before`` or ``after`` holds no ports where the connection does not exist. ``family`` is
    ``IPv4`` or ``IPv6`` where the two differ, and else empty.
    """

    source: Peer
    destination: Peer
    before: Ports
    after: Ports
    family: str = ""

    @property
    def kind(self) -> str:
        if not self.before:
            return "added"
        return "changed" if self.after else "removed"


class Differences(msgspec.Struct, frozen=True):
    """The report. ``appeared`` and ``gone`` are the workloads that only one input has: their
    connections are changes like any other. ``profile`` is that of the new input, ``old_profile``
    that of the old one where it is another. With ``by_range`` each range of addresses is a peer
    of its own. ``conditional`` are changes that depend on the condition of a rule: that come only
    where as much as possible is allowed, or only where as little."""

    profile: str
    changes: tuple[Difference, ...]
    appeared: tuple[str, ...]
    gone: tuple[str, ...]
    by_range: bool = False
    unevaluated: tuple[Unevaluated, ...] = ()
    old_profile: str = ""
    conditional: tuple[Difference, ...] = ()

    @property
    def adds(self) -> bool:
        """Whether anything is allowed that was not, or may be."""
        return any(not change.after.within(change.before) for change in self._all)

    @property
    def removes(self) -> bool:
        """Whether anything is allowed no more, or may not be."""
        return any(not change.before.within(change.after) for change in self._all)

    @property
    def _all(self) -> tuple[Difference, ...]:
        return self.changes + self.conditional


def differences(old: Connections, new: Connections) -> Differences:
    """Compare workload by workload: pods come and go between two dumps under new names.

    Where an input shows the pods of a workload apart, they are compared by name; where sets
    of addresses overlap, range by range.
    """
    found = compared((old, new), lambda held: _outcome(*held))
    changed = (
        one
        for source, destination, outcome in found
        for one in changes(source, destination, outcome)
    )
    return report(old, new, changed)


def report(
    old: Connections,
    new: Connections,
    changed: Iterable[Difference],
    conditional: Iterable[Difference] = (),
) -> Differences:
    """The report of what was found out about two inputs."""
    return Differences(
        new.profile,
        tuple(sorted(changed, key=_place)),
        appeared=tuple(sorted(new.pods.keys() - old.pods.keys())),
        gone=tuple(sorted(old.pods.keys() - new.pods.keys())),
        unevaluated=merged(old.unevaluated, new.unevaluated),
        old_profile=old.profile if old.profile != new.profile else "",
        by_range=old.by_range or new.by_range,
        conditional=tuple(sorted(conditional, key=_place)),
    )


def _place(one: Difference) -> tuple[object, ...]:
    return one.source.order, one.destination.order, one.family


def compared(
    sides: Sequence[Connections], outcome: Callable[[Held], Value]
) -> Iterator[tuple[Peer, Peer, Value]]:
    """What ``outcome`` makes of the connections between two ends that each side holds, where that
    is not empty. Both ends are cut so far that each connection holds for the whole."""
    by_range = any(side.by_range for side in sides)
    pods = [side.pods for side in sides]
    by_pair = [_by_pair(side.connections) for side in sides]
    for pair in dict.fromkeys(pair for side in by_pair for pair in side):
        held = [side.get(pair, []) for side in by_pair]
        if all(side == held[0] for side in held[1:]):
            continue
        if all(pair) and not any(_is_part(one) for side in held for one in side):
            first = next(one for side in held for one in side)
            value = outcome(held)
            if value:
                yield first.source, first.destination, value
        else:
            yield from _refined(held, pods, by_range, outcome)


def _by_pair(connections: Iterable[Connection]) -> dict[tuple[str, str], list[Connection]]:
    """By workloads; addresses are all of one."""
    found: dict[tuple[str, str], list[Connection]] = {}
    for one in connections:
        found.setdefault((one.source.whole, one.destination.whole), []).append(one)
    return found


def _is_part(one: Connection) -> bool:
    return bool(one.source.pods or one.destination.pods)


def _outcome(before: Sequence[Connection], after: Sequence[Connection]) -> Outcome:
    """What changed between two ends, for which each input has one connection at most in each
    family, or one for both."""
    was = {one.family: one.ports for one in before}
    now = {one.family: one.ports for one in after}
    families = sorted({*was, *now})
    if len(families) > 1:
        # One side distinguishes families, so the other's connection counts for each.
        families = _BOTH
    found = []
    for family in families:
        one, other = (side.get(family) or side.get("") or NO_PORTS for side in (was, now))
        if one != other:
            found.append((family, one, other))
    return tuple(found)


def outcomes(held: Held) -> tuple[Outcome, ...]:
    """What changed for certain and what did in one of two bounds only, of four sides: old and new
    where as much as possible is allowed, and where as little. Empty where nothing did."""
    bounds = [_outcome(*held[:2]), _outcome(*held[2:])]
    if bounds[0] == bounds[1]:
        return (bounds[0], ()) if bounds[0] else ()
    if any(family for bound in bounds for family, *_ in bound):
        bounds = [tuple(_by_family(bound)) for bound in bounds]
    certain = tuple(one for one in bounds[0] if one in bounds[1])
    return certain, tuple(one for bound in bounds for one in bound if one not in certain)


def _by_family(outcome: Outcome) -> Iterator[tuple[str, Ports, Ports]]:
    for family, before, after in outcome:
        for each in [family] if family else _BOTH:
            yield each, before, after


def changes(source: Peer, destination: Peer, outcome: Outcome) -> Iterator[Difference]:
    for family, before, after in outcome:
        yield Difference(source, destination, before, after, family)


Within = frozenset[tuple[int, str]]


class _Piece(msgspec.Struct, frozen=True):
    """Something at one end that no connection distinguishes: pods, or addresses.

    ``within`` holds the names of the peers that it is a part of, with the number of their side.
    """

    peer: Peer
    within: Within

    @property
    def is_one_pod(self) -> bool:
        return len(self.peer.pods) == 1


def _refined(
    held: Held,
    pods: Sequence[Mapping[str, Sequence[str]]],
    by_range: bool,
    outcome: Callable[[Held], Value],
) -> Iterator[tuple[Peer, Peer, Value]]:
    """Cut both ends so far that every connection holds for whole pieces, and compare those."""
    sided = [(number, one) for number, side in enumerate(held) for one in side]
    sources = _pieces([(side, one.source) for side, one in sided], pods)
    destinations = _pieces([(side, one.destination) for side, one in sided], pods)

    def cell(source: _Piece, destination: _Piece) -> Value | None:
        if source.peer == destination.peer and source.is_one_pod:
            return None
        inside: list[list[Connection]] = [[] for _ in held]
        for side, one in sided:
            if (side, one.source.name) in source.within and (
                side,
                one.destination.name,
            ) in destination.within:
                inside[side].append(one)
        return outcome(inside)

    table = [[cell(source, destination) for destination in destinations] for source in sources]
    for block in blocks(table):
        if not block.value:
            continue
        for source in _whole([sources[row] for row in block.rows], sources, by_range):
            for destination in _whole(
                [destinations[at] for at in block.columns], destinations, by_range
            ):
                yield source, destination, block.value


def _pieces(
    peers: Sequence[tuple[int, Peer]], pods: Sequence[Mapping[str, Sequence[str]]]
) -> list[_Piece]:
    distinct = {(side, peer.name): peer for side, peer in peers}
    first = peers[0][1]
    if not first.whole:
        return _addresses(distinct)
    if not any(peer.pods for peer in distinct.values()):
        return [_Piece(first, frozenset(distinct))]
    alike: dict[Within, list[str]] = {}
    for name in dict.fromkeys(name for side in pods for name in side.get(first.whole, ())):
        within = frozenset(
            (side, text)
            for (side, text), peer in distinct.items()
            if name in (peer.pods or pods[side].get(peer.whole, ()))
        )
        alike.setdefault(within, []).append(name)
    return [
        _Piece(pod_peer(first.whole, first.namespace, names), within)
        for within, names in alike.items()
    ]


def _addresses(peers: Mapping[tuple[int, str], Peer]) -> list[_Piece]:
    """Addresses cut where any of the peers begins or ends; those within the same are together."""
    pieces = []
    for family in sorted({peer.family for peer in peers.values()}):
        begins: dict[int, list[tuple[int, str]]] = {}
        ends: dict[int, list[tuple[int, str]]] = {}
        for key, peer in peers.items():
            for first, last in peer.spans if peer.family == family else ():
                begins.setdefault(first, []).append(key)
                ends.setdefault(last + 1, []).append(key)
        within: set[tuple[int, str]] = set()
        alike: dict[Within, list[Span]] = {}
        for first, following in pairwise(sorted({*begins, *ends})):
            within.difference_update(ends.get(first, ()))
            within.update(begins.get(first, ()))
            if within:
                alike.setdefault(frozenset(within), []).append((first, following - 1))
        # Without names: they are only compared.
        pieces += [
            _Piece(Peer("", "", (family, spans[0][0], ""), spans=tuple(spans)), key)
            for key, spans in alike.items()
        ]
    return pieces


def _whole(chosen: Sequence[_Piece], everything: Sequence[_Piece], by_range: bool) -> list[Peer]:
    """Pieces with the same changes as the fewest peers: one for pods, and one for the addresses of
    a family or of each range."""
    first = chosen[0].peer
    if first.whole:
        if len(chosen) == len(everything):
            return [pod_peer(first.whole, first.namespace)]
        names = [name for piece in chosen for name in piece.peer.pods]
        return [pod_peer(first.whole, first.namespace, names)]
    spans: dict[Family, list[Span]] = {}
    for family, (begin, end) in sorted(
        (piece.peer.family, span) for piece in chosen for span in piece.peer.spans
    ):
        joined = spans.setdefault(family, [])
        if joined and joined[-1][1] + 1 == begin:
            begin, _ = joined.pop()
        joined.append((begin, end))
    return [
        peer
        for family, listed in spans.items()
        for peer in (range_peers(family, listed) if by_range else [address_peer(family, listed)])
    ]
