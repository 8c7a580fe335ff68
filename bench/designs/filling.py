"""From the agent's tables to the maps of the other designs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kubeverdict.model.policy import Direction
from kubeverdict_agent.datapath.layout import DECISION_ALLOWS
from kubeverdict_agent.lowering.tables import Tables

PROTOCOLS = (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP)
MOST_PORTS = 128

PREFIX = np.dtype([("length", "<u4"), ("address", ">u4")])
POLICY = np.dtype(
    [("length", "<u4"), ("identity", "<u4"), ("protocol", "u1"), ("pad", "u1"), ("port", ">u2")]
)
RANGE = np.dtype([("protocol", "<u4"), ("first", "<u4"), ("last", "<u4")])
LIST = np.dtype([("count", "<u4"), ("pad", "<u4"), ("ranges", RANGE, MOST_PORTS)])
TUPLE = np.dtype([("remote", ">u4"), ("port", "<u2"), ("protocol", "u1"), ("pad", "u1")])

Span = tuple[int, int, int]
"""Protocol number, first and last port."""


class Subject:
    """What may reach one pod, by class of peers."""

    def __init__(self, tables: Tables, slot: int = 0) -> None:
        self.tables = tables
        subject = tables.locals["subject"][slot][Direction.INGRESS]
        self._row_of_class = tables.cells[Direction.INGRESS][subject]
        self._spans: dict[int, tuple[Span, ...]] = {}

    def allowed_ports(self, peer_class: int) -> NDArray[np.bool_]:
        """(3, 65536) what a class may reach, over TCP, UDP and SCTP."""
        decisions = self.tables.rows[self._row_of_class[peer_class]]
        allows: NDArray[np.bool_] = decisions & DECISION_ALLOWS != 0
        return allows[self.tables.ports[: 3 * 65536]].reshape(3, -1)

    def spans(self, peer_class: int) -> tuple[Span, ...]:
        """The same as ranges."""
        row = int(self._row_of_class[peer_class])
        if (known := self._spans.get(row)) is None:
            known = self._spans[row] = tuple(_spans(self.allowed_ports(peer_class)))
        return known

    def prefixes(self) -> Iterator[tuple[int, int, int]]:
        """Address, prefix length and class of all of IPv4: intervals, then single addresses."""
        tables = self.tables
        ends = np.append(tables.starts4.astype(np.int64), 1 << 32)
        for (first, stop), peer_class in zip(
            pairwise(ends.tolist()), tables.starts_class4.tolist(), strict=True
        ):
            for address, length in aligned(first, stop, 32):
                yield address, length, peer_class
        for address, peer_class in zip(tables.ipv4.tolist(), tables.class4.tolist(), strict=True):
            yield address, 32, peer_class


def _spans(allowed: NDArray[np.bool_]) -> Iterator[Span]:
    for protocol, ports in zip(PROTOCOLS, allowed, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate(([False], ports, [False]))))
        for first, stop in edges.reshape(-1, 2).tolist():
            yield protocol, first, stop - 1


def aligned(first: int, stop: int, bits: int) -> Iterator[tuple[int, int]]:
    """The fewest prefixes (value, length) that make up ``first`` to ``stop - 1``."""
    while first < stop:
        size = min(first & -first or 1 << bits, 1 << (stop - first).bit_length() - 1)
        yield first, bits - size.bit_length() + 1
        first += size


def identity_maps(
    subject: Subject,
) -> tuple[NDArray[np.void], NDArray[np.uint32], NDArray[np.void]]:
    """Cilium's: keys and values of address to identity, and keys of the policy map."""
    keys, values, policies = [], [], []
    for address, length, peer_class in subject.prefixes():
        keys.append((length, address))
        values.append(peer_class + 1)
    for peer_class in sorted(set(values)):
        for protocol, first, last in subject.spans(peer_class - 1):
            for port, length in aligned(first, last + 1, 16):
                policies.append((48 + length, peer_class, protocol, 0, port))
    return np.array(keys, PREFIX), np.array(values, np.uint32), np.array(policies, POLICY)


def cidr_maps(subject: Subject) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """The AWS agent's: keys and values of CIDR to ports. Raises ValueError where a CIDR has more
    ports than it can hold."""
    keys, values = [], []
    for address, length, peer_class in subject.prefixes():
        spans = subject.spans(peer_class)
        if len(spans) > MOST_PORTS:
            raise ValueError(f"{len(spans)} port ranges in one CIDR; {MOST_PORTS} fit")
        # A CIDR without ports still has to hide the shorter one around it.
        keys.append((length, address))
        padding = [(0, 1, 0)] * (MOST_PORTS - len(spans))
        values.append((len(spans), 0, [*spans, *padding]))
    return np.array(keys, PREFIX), np.array(values, LIST)


def tuples(subject: Subject, count: int, seed: int = 1) -> NDArray[np.void]:
    """(count,) what is judged: half of it allowed if anything is, the first one too. ``pad`` is
    the verdict."""
    chance = np.random.default_rng(seed)
    tables = subject.tables
    found = np.zeros(count, TUPLE)
    classes = [int(peer_class) for peer_class in np.unique(tables.class4)]
    spans = {peer_class: subject.spans(peer_class) for peer_class in classes}
    open_to = np.isin(tables.class4, [peer_class for peer_class in classes if spans[peer_class]])
    some = np.flatnonzero(open_to)
    everybody = np.arange(tables.ipv4.size)
    used = sorted({port for ranges in spans.values() for _, *ports in ranges for port in ports})
    for number in range(count):
        wanted = number % 2 == 0 and some.size
        index = int(chance.choice(some if wanted else everybody))
        peer_class = int(tables.class4[index])
        if wanted:
            ranges = spans[peer_class]
            protocol, port, _ = ranges[int(chance.integers(len(ranges)))]
        else:
            protocol = PROTOCOLS[int(chance.integers(3))]
            port = int(chance.choice(used)) if used else 80
        allowed = any(p == protocol and a <= port <= b for p, a, b in spans[peer_class])
        found[number] = (tables.ipv4[index], port, protocol, allowed)
    return found
