"""Stage 4: cut ports into atoms by the port lists of rules."""

from __future__ import annotations

import numpy as np

from kubeverdict.compile.compiled import PortSpace
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.ports import Runs
from kubeverdict.kernels.sets import spans
from kubeverdict.model.ports import PortRange, Protocol

PortList = tuple[PortRange, ...]

_PROTOCOL_SIZE = 65536
_ICMP = 3 * _PROTOCOL_SIZE
_END = _ICMP + 2


def place(protocol: Protocol, port: int) -> int:
    """Index of a protocol and port in ``PortSpace.table``."""
    if protocol.has_ports:
        return protocol * _PROTOCOL_SIZE + port
    return _ICMP + protocol - Protocol.ICMP


def cut_ports(lists: dict[PortList | None, int]) -> PortSpace:
    """Atoms and port sets for distinct port lists, numbered by the values of ``lists``.

    None is every port of every protocol and must have number 0.
    """
    assert lists[None] == 0
    edges = {0, _ICMP, _ICMP + 1, _END}
    for protocol in range(3):
        # Port 0 is in no rule's range and counts as no port.
        edges |= {protocol * _PROTOCOL_SIZE, protocol * _PROTOCOL_SIZE + 1}
    for ports in lists:
        for part in ports or ():
            edges |= {place(part.protocol, part.first), place(part.protocol, part.last) + 1}
    first = np.array(sorted(edges), np.int64)
    atoms = first.size - 1
    sizes = np.diff(first)
    weight = sizes.copy()
    weight[np.searchsorted(first, [0, _PROTOCOL_SIZE, 2 * _PROTOCOL_SIZE])] = 0
    weight[np.searchsorted(first, _ICMP) :] = 0

    start = [0]
    low: list[int] = []
    high: list[int] = []
    for ports in lists:
        if ports is None:
            low.append(0)
            high.append(_END)
        else:
            low.extend(place(part.protocol, part.first) for part in ports)
            high.extend(place(part.protocol, part.last) + 1 for part in ports)
        start.append(len(low))
    arrays = spans.on(len(low) * 8)(
        np.array(start, np.int64),
        np.searchsorted(first, low).astype(np.int64),
        np.searchsorted(first, high).astype(np.int64),
        np.ones(len(low), np.bool_),
        (atoms + 63) >> 6,
    )
    return PortSpace(
        table=np.repeat(np.arange(atoms, dtype=np.int32), sizes),
        first=first,
        weight=weight,
        sets=Sets(*arrays),
    )


def port_runs(lists: dict[PortList | None, int]) -> Runs:
    """Distinct port lists as ranges of places, numbered by the values of ``lists``."""
    start = [0]
    low: list[int] = []
    high: list[int] = []
    for ports in lists:
        first = len(low)
        for begin, end in _ranges(ports):
            if len(low) > first and begin <= high[-1]:
                high[-1] = max(high[-1], end)
            else:
                low.append(begin)
                high.append(end)
        start.append(len(low))
    return Runs(np.array(start, np.int64), np.array(low, np.int32), np.array(high, np.int32))


def _ranges(ports: PortList | None) -> list[tuple[int, int]]:
    if ports is None:
        return [(0, _END)]
    return sorted(
        (place(part.protocol, part.first), place(part.protocol, part.last) + 1) for part in ports
    )
