"""Counting what the oracle says about all pairs of pods: the slow twin of the engine's sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import NamedTuple

from kubeverdict.model.addresses import Family
from kubeverdict.model.ports import PortRange, Protocol
from tests.oracle import Oracle
from tests.oracle_parts import PORTED


@dataclass(frozen=True)
class PairCount:
    """Ordered pairs of different managed pods that connect on some port of TCP, UDP or SCTP,
    and the number of (pair, protocol, port) that connect, ports 1 to 65535."""

    pairs: int
    pair_ports: int


@dataclass(frozen=True)
class ChangeCount:
    """Between two versions of a cluster: pairs that gain and that lose a port (one may do both),
    and how many (pair, protocol, port) open and close. Pods are the same by name."""

    pairs_opened: int
    pairs_closed: int
    ports_opened: int
    ports_closed: int


class Run(NamedTuple):
    """Ports ``first`` to ``last`` of a protocol, which nothing distinguishes."""

    protocol: Protocol
    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


# By the names of source and destination.
Connections = dict[tuple[str, str], set[Run]]


def count_pairs(oracle: Oracle, family: Family | None = None) -> PairCount:
    """What connects in a cluster."""
    connected = connections(oracle, port_runs(oracle), family)
    return PairCount(len(connected), sum(map(_size, connected.values())))


def count_changes(old: Oracle, new: Oracle, family: Family | None = None) -> ChangeCount:
    """What connects in one version and not in the other."""
    runs = port_runs(old, new)
    before, after = connections(old, runs, family), connections(new, runs, family)
    pairs = before.keys() | after.keys()
    opened = [after.get(pair, set()) - before.get(pair, set()) for pair in pairs]
    closed = [before.get(pair, set()) - after.get(pair, set()) for pair in pairs]
    return ChangeCount(
        pairs_opened=sum(map(bool, opened)),
        pairs_closed=sum(map(bool, closed)),
        ports_opened=sum(map(_size, opened)),
        ports_closed=sum(map(_size, closed)),
    )


def connections(oracle: Oracle, runs: Iterable[Run], family: Family | None) -> Connections:
    """The pairs of different managed pods that connect, and on which of ``runs``."""
    found: Connections = {}
    for source, destination in permutations(oracle.managed, 2):
        open_runs = {
            run
            for run in runs
            if oracle.judge(source, destination, run.protocol, run.first, family).allowed
        }
        if open_runs:
            found[str(source), str(destination)] = open_runs
    return found


def port_runs(*oracles: Oracle) -> list[Run]:
    """Ports 1 to 65535, cut wherever a rule or a container port of any of the clusters could
    distinguish them."""
    cuts = {(protocol, port) for protocol in PORTED for port in (1, 65536)}
    for oracle in oracles:
        for policy in oracle.policies:
            for rule in policy.rules:
                for port in (*(rule.ports or ()), *rule.excluded_ports):
                    if isinstance(port, PortRange) and port.protocol in PORTED:
                        edges = {port.first, port.first + 1, port.last + 1}
                        cuts |= {(port.protocol, edge) for edge in edges}
        for pod in oracle.managed:
            for declared in pod.ports:
                edges = {declared.number, declared.number + 1}
                cuts |= {(declared.protocol, edge) for edge in edges}
    return [
        Run(protocol, first, after - 1)
        for (protocol, first), (same, after) in pairwise(sorted(cuts))
        if protocol is same
    ]


def _size(runs: Iterable[Run]) -> int:
    return sum(run.size for run in runs)
