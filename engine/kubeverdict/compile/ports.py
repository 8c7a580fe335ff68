"""Stage 4: cut ports into atoms by the port lists of rules.

A *place* is a protocol and a port in one number: 65536 for each of TCP, UDP and SCTP, one for ICMP
and one for all other protocols. Behind these come the types and codes of ICMP and of ICMPv6. Only
where a rule names a type does the table of places go that far; otherwise the place of ICMP stands
for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import PortSpace
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.ports import END, TYPES, Runs
from kubeverdict.kernels.sets import spans
from kubeverdict.model.ports import IcmpMatch, PortMatch, PortRange, Protocol, icmp_port

PortList = tuple[tuple[int, int], ...]
"""Ranges of places, each without its end, ascending and apart."""

_PROTOCOL_SIZE = 65536
_ICMP = 3 * _PROTOCOL_SIZE
# Where the types of ICMP begin.
FIRST_TYPE = TYPES
ALL_ICMP = ((_ICMP, _ICMP + 1), (TYPES, END))


def place(protocol: Protocol, port: int) -> int:
    """Index of a protocol and port in ``PortSpace.table``."""
    if protocol.has_ports:
        return protocol * _PROTOCOL_SIZE + port
    if protocol is Protocol.ICMP and port:
        return TYPES + port - 1
    return _ICMP + protocol - Protocol.ICMP


def unknown_type(version: int) -> int:
    """The place of an ICMP packet whose type is not known, where types have places: no rule for a
    type covers it, but one for all types of the version does."""
    return END - 1 if version == 6 else END - 2


def port_list(ports: Iterable[PortMatch] | None, excluded: Iterable[PortMatch] = ()) -> PortList:
    """The places that numbered ports and ICMP types cover (None: every place), without those of
    ``excluded``. Named ports are left out."""
    found = joined(
        [(0, END)] if ports is None else chain.from_iterable(map(_places, ports)),
    )
    # Types of both versions are ICMP of any type.
    if any(low <= TYPES and high == END for low, high in found):
        found = joined((*found, ALL_ICMP[0]))
    return without(found, joined(chain.from_iterable(map(_places, excluded))))


def without(ports: PortList, excluded: PortList) -> PortList:
    """A port list without the places of another."""
    for low, high in excluded:
        ports = tuple(_without(ports, low, high))
    return ports


def joined(ranges: Iterable[tuple[int, int]]) -> PortList:
    """Ranges ascending, those that meet as one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return tuple(found)


def _places(port: PortMatch) -> Iterator[tuple[int, int]]:
    if isinstance(port, IcmpMatch):
        types = (port.icmp_type, port.icmp_type) if port.icmp_type is not None else (0, 255)
        codes = (port.code, port.code) if port.code is not None else (0, 255)
        first, last = (
            place(Protocol.ICMP, icmp_port(port.version, type, code))
            for type, code in zip(types, codes, strict=True)
        )
        yield first, last + 1
        if port.icmp_type is None:
            yield unknown_type(port.version), unknown_type(port.version) + 1
    elif isinstance(port, PortRange):
        if port.protocol is Protocol.ICMP:
            yield from ALL_ICMP
        else:
            yield place(port.protocol, port.first), place(port.protocol, port.last) + 1


def _without(ranges: PortList, low: int, high: int) -> Iterator[tuple[int, int]]:
    for first, stop in ranges:
        if first < low and first < stop:
            yield first, min(stop, low)
        if stop > high and first < stop:
            yield max(first, high), stop


def cut_ports(lists: Mapping[PortList | None, int], runs: Runs | None = None) -> PortSpace:
    """Atoms and port sets for distinct port lists, numbered by the values of ``lists``. ``runs``
    are these as :func:`port_runs` has them, where they are at hand.

    None is every port of every protocol and must have number 0.
    """
    assert lists[None] == 0
    if runs is None:
        runs = port_runs(lists)
    # Port 0 is in no rule's range and counts as no port.
    fixed = [protocol * _PROTOCOL_SIZE + port for protocol in range(3) for port in (0, 1)]
    edges = np.concatenate(([*fixed, _ICMP, _ICMP + 1, TYPES], runs.low, runs.high))
    end = TYPES
    if ((edges > TYPES) & (edges < END)).any():
        end = END
        version_6 = place(Protocol.ICMP, icmp_port(6, 0))
        edges = np.append(edges, [version_6, unknown_type(4), unknown_type(6), END])
    first = np.unique(edges[edges <= end]).astype(np.int64)
    atoms = first.size - 1
    sizes = np.diff(first)
    weight = sizes.copy()
    weight[np.searchsorted(first, [0, _PROTOCOL_SIZE, 2 * _PROTOCOL_SIZE])] = 0
    weight[np.searchsorted(first, _ICMP) :] = 0

    within = runs.low < end
    low, high = runs.low[within], np.minimum(runs.high[within], end)
    arrays = spans.on(low.size * 8)(
        np.append(0, np.cumsum(within))[runs.start].astype(np.int64),
        np.searchsorted(first, low).astype(np.int64),
        np.searchsorted(first, high).astype(np.int64),
        np.ones(low.size, np.bool_),
        (atoms + 63) >> 6,
    )
    return PortSpace(
        table=np.repeat(np.arange(atoms, dtype=np.int32), sizes),
        first=first,
        weight=weight,
        sets=Sets(*arrays),
    )


def port_runs(lists: Mapping[PortList | None, int], known: Runs | None = None) -> Runs:
    """Distinct port lists as ranges of places, numbered by the values of ``lists``, which are in
    this order. ``known`` are those of the first ones."""
    if known is None:
        known = Runs(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))
    start: list[int] = []
    low: list[int] = []
    high: list[int] = []
    for ports in islice(lists, known.start.size - 1, None):
        for begin, end in ((0, END),) if ports is None else ports:
            low.append(begin)
            high.append(end)
        start.append(known.low.size + len(low))
    return Runs(
        np.append(known.start, np.array(start, np.int64)),
        np.append(known.low, np.array(low, np.int32)),
        np.append(known.high, np.array(high, np.int32)),
    )


def atoms_at(space: PortSpace, places: NDArray[np.int64]) -> NDArray[np.int32]:
    """The atoms of places; those of ICMP types where the table does not go that far too."""
    return space.table[np.where(places < space.table.size, places, _ICMP)]
