"""Which connections two inputs do not have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from kubeverdict.analyses.blocks import blocks
from kubeverdict.analyses.connections import Connection, Connections
from kubeverdict.analyses.peers import Peer, address_peer, pod_peer
from kubeverdict.analyses.port_text import NO_PORTS, Ports
from kubeverdict.model.addresses import family_of
from kubeverdict.model.unevaluated import Unevaluated, merged

# Ports in the old and in the new input, by family ("" for both alike).
Outcome = tuple[tuple[str, Ports, Ports], ...]


class Change(msgspec.Struct, frozen=True):
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
    that of the old one where it is another."""

    profile: str
    changes: tuple[Change, ...]
    appeared: tuple[str, ...]
    gone: tuple[str, ...]
    unevaluated: tuple[Unevaluated, ...] = ()
    old_profile: str = ""

    @property
    def adds(self) -> bool:
        """Whether anything is allowed that was not."""
        return any(not change.after.within(change.before) for change in self.changes)

    @property
    def removes(self) -> bool:
        """Whether anything is allowed no more."""
        return any(not change.before.within(change.after) for change in self.changes)


def differences(old: Connections, new: Connections) -> Differences:
    """Compare workload by workload: pods come and go between two dumps under new names.

    Where an input shows the pods of a workload apart, they are compared by name; where ranges of
    addresses overlap, piece by piece.
    """
    changes: list[Change] = []
    by_pair = [_by_pair(side.connections) for side in (old, new)]
    for pair in dict.fromkeys((*by_pair[0], *by_pair[1])):
        before, after = (side.get(pair, []) for side in by_pair)
        if before == after:
            continue
        if all(pair) and not any(_is_part(one) for one in (*before, *after)):
            first = (before or after)[0]
            changes += _changes(first.source, first.destination, _outcome(before, after))
        else:
            changes += _refined(before, after, (old.pods, new.pods))
    changes.sort(key=lambda one: (one.source.order, one.destination.order, one.family))
    return Differences(
        new.profile,
        tuple(changes),
        appeared=tuple(sorted(new.pods.keys() - old.pods.keys())),
        gone=tuple(sorted(old.pods.keys() - new.pods.keys())),
        unevaluated=merged(old.unevaluated, new.unevaluated),
        old_profile=old.profile if old.profile != new.profile else "",
    )


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
        # One side tells families apart, so the other's connection counts for each.
        families = ["IPv4", "IPv6"]
    found = []
    for family in families:
        one, other = (side.get(family) or side.get("") or NO_PORTS for side in (was, now))
        if one != other:
            found.append((family, one, other))
    return tuple(found)


def _changes(source: Peer, destination: Peer, outcome: Outcome) -> Iterator[Change]:
    for family, before, after in outcome:
        yield Change(source, destination, before, after, family)


class _Piece(msgspec.Struct, frozen=True):
    """Something at one end that no connection tells apart: pods, or a range of addresses.

    ``within`` holds the peers that it is a part of, with their side (0 before, 1 after).
    """

    peer: Peer
    within: frozenset[tuple[int, Peer]]

    @property
    def is_one_pod(self) -> bool:
        return len(self.peer.pods) == 1


def _refined(
    before: Sequence[Connection],
    after: Sequence[Connection],
    pods: tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]],
) -> Iterator[Change]:
    """Cut both ends so far that every connection holds for whole pieces, and compare those."""
    sided = [(0, one) for one in before] + [(1, one) for one in after]
    sources = _pieces([(side, one.source) for side, one in sided], pods)
    destinations = _pieces([(side, one.destination) for side, one in sided], pods)

    def cell(source: _Piece, destination: _Piece) -> Outcome | None:
        if source.peer == destination.peer and source.is_one_pod:
            return None
        held = [
            (side, one)
            for side, one in sided
            if (side, one.source) in source.within and (side, one.destination) in destination.within
        ]
        return _outcome(
            [one for side, one in held if side == 0], [one for side, one in held if side == 1]
        )

    table = [[cell(source, destination) for destination in destinations] for source in sources]
    for block in blocks(table):
        if not block.value:
            continue
        for source in _joined([sources[row] for row in block.rows], sources):
            for destination in _joined([destinations[at] for at in block.columns], destinations):
                yield from _changes(source, destination, block.value)


def _pieces(
    peers: Sequence[tuple[int, Peer]],
    pods: tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]],
) -> list[_Piece]:
    distinct = dict.fromkeys(peers)
    first = peers[0][1]
    if not first.whole:
        return _ranges(list(distinct))
    if not any(peer.pods for _, peer in distinct):
        return [_Piece(first, frozenset(distinct))]
    alike: dict[frozenset[tuple[int, Peer]], list[str]] = {}
    for name in dict.fromkeys((*pods[0].get(first.whole, ()), *pods[1].get(first.whole, ()))):
        within = frozenset(
            (side, peer)
            for side, peer in distinct
            if name in (peer.pods or pods[side].get(peer.whole, ()))
        )
        alike.setdefault(within, []).append(name)
    return [
        _Piece(pod_peer(first.whole, first.namespace, names), within)
        for within, names in alike.items()
    ]


def _ranges(peers: Sequence[tuple[int, Peer]]) -> list[_Piece]:
    pieces = []
    for number in sorted({peer.order[0] for _, peer in peers}):
        family = family_of(number)
        own = [(side, peer) for side, peer in peers if peer.order[0] == family]
        edges = sorted({edge for _, peer in own for edge in (peer.order[2], peer.last + 1)})
        for first, following in pairwise(edges):
            within = frozenset(
                (side, peer) for side, peer in own if peer.order[2] <= first < peer.last + 1
            )
            pieces.append(_Piece(address_peer(family, first, following - 1), within))
    return pieces


def _joined(chosen: Sequence[_Piece], everything: Sequence[_Piece]) -> list[Peer]:
    """Pieces that share a fate as the fewest peers: one for pods, neighbours for addresses."""
    first = chosen[0].peer
    if first.whole:
        if len(chosen) == len(everything):
            return [pod_peer(first.whole, first.namespace)]
        names = [name for piece in chosen for name in piece.peer.pods]
        return [pod_peer(first.whole, first.namespace, names)]
    joined: list[Peer] = []
    for piece in chosen:
        peer = piece.peer
        if joined and joined[-1].order[0] == peer.order[0] and joined[-1].last + 1 == peer.order[2]:
            peer = address_peer(family_of(peer.order[0]), joined.pop().order[2], peer.last)
        joined.append(peer)
    return joined
