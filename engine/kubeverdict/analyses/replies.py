"""Which end began a connection, where a log does not say.

A log may have a record for each direction of a connection, and not say which of them is the reply.
Two ports are seen, that of the server and one that the client was given; taking the second for a
service would write a rule to a port on which nothing listens. What distinguishes them, the
strongest first, in any order of the records:

1. The log itself, in another record: a connection that is known to have begun at one end is that
   connection again, or its reply.
2. A port that a container declares, or to which connections are known to begin, is a server's.
3. Both ports are the same, as between peers of one protocol: each end may begin.
4. A privileged port against another, or any port against one that Linux gives to clients.
5. A port that meets many others is a server's, if those meet nothing else.

What none of these decides is left out and counted.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.attribution import Attribution
from kubeverdict.model.cluster import SERVING
from kubeverdict.model.flows import FlowRecord

# Ports of a client, as Linux gives them by default; and those that need a privilege to listen on.
EPHEMERAL, PRIVILEGED = 32768, 1024
# Stands for any port that a client was given, where which one it was makes no difference: they
# are so many that flows would not come together otherwise.
ANY_EPHEMERAL = 65535
_MEETS_MANY = 3

_PORT_BITS, _PROTOCOL_BITS = 16, 3
_PLACE_BITS = 40  # an end (21), a protocol and a port

Longs = NDArray[np.int64]


class RecordMeaning(IntEnum):
    """What a record describes: a connection, the reply to one, or it is not known which."""

    CONNECTION = 0
    REPLY = 1
    UNKNOWN = 2


class Undirected(msgspec.Struct, frozen=True, eq=False):
    """Flows of which the log does not say which end began; columns (n,). A port at the source of
    0 is not known."""

    source: Longs
    destination: Longs
    protocol: Longs
    source_port: Longs
    port: Longs

    @property
    def here(self) -> Longs:
        """Source, protocol and source port as one number."""
        return places(self.source, self.protocol, self.source_port)

    @property
    def there(self) -> Longs:
        """Destination, protocol and port as one number."""
        return places(self.destination, self.protocol, self.port)


def places(end: Longs, protocol: Longs, port: Longs) -> Longs:
    """An end, a protocol and a port there as one number."""
    return (end << _PROTOCOL_BITS | protocol) << _PORT_BITS | port


def meanings(flows: Undirected, directed: Longs, declared: Longs) -> NDArray[np.int8]:
    """What each flow is (n,), a :class:`RecordMeaning`.

    ``directed`` are connections that are known to have begun at their source, as the number of
    the source above that of the destination, protocol and port; ``declared`` are the ports that
    containers declare, as :func:`places` has them.
    """
    here, there = flows.here, flows.there
    known_here, known_there = flows.source_port > 0, flows.port > 0
    listening = np.concatenate((declared, directed & ((1 << _PLACE_BITS) - 1)))
    serves_here = known_here & np.isin(here, listening)
    serves_there = known_there & np.isin(there, listening)
    rank_here, rank_there = _rank(flows.source_port), _rank(flows.port)
    meets_here, meets_there = _meetings(here, there)
    connection = (
        np.isin(flows.source << _PLACE_BITS | there, directed),
        serves_there & ~serves_here,
        flows.source_port == flows.port,
        known_here & (rank_there < rank_here),
        known_here & (meets_there >= _MEETS_MANY) & (meets_here == 1),
        ~known_here & ~_may_be_reply(flows, rank_there, directed),
    )
    reply = (
        known_here & np.isin(flows.destination << _PLACE_BITS | here, directed),
        serves_here & ~serves_there,
        np.zeros(here.size, np.bool_),
        known_here & (rank_here < rank_there),
        known_here & (meets_here >= _MEETS_MANY) & (meets_there == 1),
        np.zeros(here.size, np.bool_),
    )
    result = np.full(here.size, RecordMeaning.UNKNOWN, np.int8)
    for is_connection, is_reply in zip(connection, reply, strict=True):
        open_ = result == RecordMeaning.UNKNOWN
        result[open_ & is_reply] = RecordMeaning.REPLY
        result[open_ & is_connection] = RecordMeaning.CONNECTION
    return result


def _rank(port: Longs) -> Longs:
    """The lower, the likelier is a port a server's."""
    return (port >= PRIVILEGED).astype(np.int64) + (port >= EPHEMERAL)


def _may_be_reply(flows: Undirected, rank: Longs, directed: Longs) -> NDArray[np.bool_]:
    """Whether a flow without a source port leads to a client's port, and its destination talks to
    its source as well."""
    talking = np.concatenate(
        (
            _ends(flows.source, flows.destination),
            directed >> (_PROTOCOL_BITS + _PORT_BITS),
        )
    )
    may: NDArray[np.bool_] = np.isin(_ends(flows.destination, flows.source), talking)
    may &= rank == _rank(np.array(EPHEMERAL))
    return may


def _ends(source: Longs, destination: Longs) -> Longs:
    return source << (_PLACE_BITS - _PROTOCOL_BITS - _PORT_BITS) | destination


def _meetings(here: Longs, there: Longs) -> tuple[Longs, Longs]:
    """How many others the place at each end of a flow was seen with, in either direction."""
    one, other = np.minimum(here, there), np.maximum(here, there)
    numbers, codes = np.unique(np.concatenate((one, other)), return_inverse=True)
    pairs = np.unique(codes[: one.size] * numbers.size + codes[one.size :])
    counts = np.bincount(pairs // max(numbers.size, 1), minlength=numbers.size)
    counts += np.bincount(pairs % max(numbers.size, 1), minlength=numbers.size)
    return counts[np.searchsorted(numbers, here)], counts[np.searchsorted(numbers, there)]


class UndirectedFlows:
    """Collects flows of which a log does not say which end began, each distinct one once."""

    def __init__(self, attribution: Attribution) -> None:
        self._attribution = attribution
        self._counts: dict[tuple[int, int, int, int, int, int], int] = {}
        self._ports: dict[int, frozenset[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, source: int, destination: int, record: FlowRecord) -> None:
        """Another record between two numbers of ends."""
        protocol, here, there = record.protocol, record.source_port, record.port
        if here:
            if here >= EPHEMERAL > there:
                if (protocol, here) not in self._declared(source):
                    here = ANY_EPHEMERAL
            elif there >= EPHEMERAL > here and (protocol, there) not in self._declared(destination):
                there = ANY_EPHEMERAL
        key = (source, destination, protocol, here, there, record.seen)
        self._counts[key] = self._counts.get(key, 0) + record.count

    def take(self, same: Longs) -> tuple[Undirected, Longs, Longs]:
        """The flows, what was seen of each (n,) and how often (n,), and begin anew. ``same`` has
        for each number of an end the one to use for it."""
        columns = np.array(list(self._counts), np.int64).reshape(-1, 6).T
        counts = np.fromiter(self._counts.values(), np.int64, len(self._counts))
        self._counts.clear()
        source, destination, protocol, here, there, seen = columns
        return Undirected(same[source], same[destination], protocol, here, there), seen, counts

    def declared(self, flows: Undirected) -> Longs:
        """The ports that containers of the ends of flows declare, as :func:`places` has them."""
        ends = np.unique(np.concatenate((flows.source, flows.destination))).tolist()
        found = [(end, *port) for end in ends for port in self._declared(end)]
        self._ports.clear()
        return places(*np.array(found, np.int64).reshape(-1, 3).T)

    def _declared(self, end: int) -> frozenset[tuple[int, int]]:
        ports = self._ports.get(end)
        if ports is None:
            pod = self._attribution.ends[end].pod
            listed = pod.ports if pod is not None else ()
            found = (
                (int(port.protocol), port.number) for port in listed if port.container in SERVING
            )
            ports = self._ports[end] = frozenset(found)
        return ports
