"""What policy denied or would have, and what it allows under a condition only: counts in a ledger,
and the newest events for followers.

The kernel counts every packet, and reports an event at most once a second for each kind of
denial, so the counts are exact even if events are lost. They are drained once a second.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.model.addresses import format_address
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.datapath.layout import Mode, PacketReason
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.node.endpoints import PodKey
from kubeverdict_agent.observe.naming import PROTOCOLS, DecidedBy, NamedEnd, Naming

# Beyond so many, addresses outside the cluster are counted together, and all ports of an end.
_ENTRIES = 20_000
_MOST_ENTRIES = 40_000  # of pods too: beyond, packets are only counted
OTHER_ADDRESSES = "other addresses"
_RECENT = 4096
_QUEUED = 10_000


class Key(msgspec.Struct, frozen=True):
    """The key of an entry. ``source`` and ``destination`` are workloads
    (``namespace/name``) or addresses. It is the policy of the destination where ``direction`` is
    ingress. ``port`` is 0 where a protocol has none, and for further ports of a full ledger.
    ``conditional`` ones pass, and depend on a condition."""

    source: str
    destination: str
    protocol: str
    port: int
    direction: str
    mode: str
    conditional: bool = False

    @property
    def namespace(self) -> str:
        """The namespace whose policy denied."""
        subject = self.destination if self.direction == "ingress" else self.source
        return subject.partition("/")[0]


class LedgerEntry(msgspec.Struct):
    """Denials of one kind. Times are seconds since the epoch."""

    packets: int = 0
    bytes: int = 0
    first: float = 0.0
    last: float = 0.0
    reasons: tuple[str, ...] = ()
    deciders: tuple[DecidedBy, ...] = ()


class Denial(msgspec.Struct, frozen=True):
    """A single event, with names."""

    time: float
    direction: str
    mode: str
    reason: str
    protocol: int
    family: int
    local: NamedEnd
    remote: NamedEnd
    local_port: int
    remote_port: int
    tcp_flags: int
    length: int
    generation: int
    decider: DecidedBy


PodOf = Callable[[int], PodKey | None]
"""The pod that has or had an endpoint number."""


class Collector:
    """Gathers from ``datapath``. ``pod_of`` resolves endpoint numbers."""

    def __init__(self, datapath: NodeDatapath, naming: Naming, pod_of: PodOf) -> None:
        self._datapath = datapath
        self._draining = threading.Lock()
        self._naming = naming
        self._pod_of = pod_of
        self._lock = threading.Lock()
        self._ledger: dict[Key, LedgerEntry] = {}
        self._recent = np.zeros(0, layout.EVENT)
        self._followers: list[queue.Queue[Denial]] = []
        self.since = time.time()
        self.seen = 0
        self.lost_by_followers = 0
        self.unlisted = 0  # packets for which the ledger had no room

    def read_events(self) -> None:
        """Read the events since the last call. For one thread alone."""
        events = self._datapath.events()
        if not events.size:
            return
        self.seen += int(events.size)
        joined = np.concatenate((self._recent, events[-_RECENT:]))
        self._recent = joined[-_RECENT:].copy()
        if not self._followers:
            return
        for denial in self.named(events):
            with self._lock:
                followers = tuple(self._followers)
            for follower in followers:
                try:
                    follower.put_nowait(denial)
                except queue.Full:
                    self.lost_by_followers += 1

    def recent(self, count: int) -> list[Denial]:
        """The newest events, oldest first."""
        return list(self.named(self._recent[-count:] if count else self._recent[:0]))

    @contextlib.contextmanager
    def following(self) -> Iterator[queue.Queue[Denial]]:
        """A queue of what happens from now on. What does not fit in is counted as lost."""
        follower: queue.Queue[Denial] = queue.Queue(_QUEUED)
        with self._lock:
            self._followers.append(follower)
        try:
            yield follower
        finally:
            with self._lock:
                self._followers.remove(follower)

    def named(self, events: NDArray[np.void]) -> Iterator[Denial]:
        offset = _clock_offset()
        for event in events:
            pod = self._pod_of(int(event["endpoint"])) or ("", "")
            direction = int(event["direction"])
            yield Denial(
                time=int(event["time_ns"]) / 1e9 + offset,
                direction=_direction(direction),
                mode=Mode(int(event["mode"])).name.lower(),
                reason=reason_word(int(event["reason"])),
                protocol=int(event["protocol"]),
                family=int(event["family"]),
                local=self._naming.pod_end(pod, address_text(event["local"])),
                remote=self._naming.address_end(address_text(event["remote"])),
                local_port=int(event["local_port"]),
                remote_port=int(event["remote_port"]),
                tcp_flags=int(event["tcp_flags"]),
                length=int(event["length"]),
                generation=int(event["generation"]),
                decider=self._decider(event, int(event["generation"]), pod),
            )

    def _decider(self, what: Any, generation: int, pod: PodKey) -> DecidedBy:
        """Takes a layout.EVENT or TOTAL_KEY."""
        decision = int(what["decision"])
        if decision == layout.NO_DECISION:
            return self._naming.unjudged(reason_word(int(what["reason"])))
        return self._naming.decider(generation, decision, pod, int(what["direction"]))

    def drain(self) -> None:
        """Move the kernel's counts into the ledger, which is exact from then on."""
        with self._draining:
            self._take_totals(*self._datapath.totals(drain=True))

    def _take_totals(self, keys: NDArray[np.void], totals: NDArray[np.void]) -> None:
        """Takes layout.TOTAL_KEY and layout.TOTAL."""
        offset = _clock_offset()
        for key, total in zip(keys, totals, strict=True):
            pod = self._pod_of(int(key["endpoint"])) or ("", "")
            direction = int(key["direction"])
            local = self._naming.pod_end(pod)
            remote = self._naming.address_end(address_text(key["remote"]))
            decider = self._decider(key, int(total["generation"]), pod)
            self._count(
                _key(key, local, remote, direction),
                remote,
                int(total["packets"]),
                int(total["bytes"]),
                int(total["first_ns"]) / 1e9 + offset,
                int(total["last_ns"]) / 1e9 + offset,
                reason_word(int(key["reason"])),
                decider,
            )

    def _count(
        self,
        key: Key,
        remote: NamedEnd,
        packets: int,
        size: int,
        first: float,
        last: float,
        reason: str,
        decider: DecidedBy,
    ) -> None:
        with self._lock:
            entry = self._ledger.get(key)
            if entry is None and len(self._ledger) >= _ENTRIES:
                key = msgspec.structs.replace(key, port=0)
                if not remote.pod:
                    end = "source" if key.direction == "ingress" else "destination"
                    key = msgspec.structs.replace(key, **{end: OTHER_ADDRESSES})
                entry = self._ledger.get(key)
            if entry is None and len(self._ledger) >= _MOST_ENTRIES:
                self.unlisted += packets
                return
            if entry is None:
                entry = self._ledger[key] = LedgerEntry(first=first, last=last)
            entry.packets += packets
            entry.bytes += size
            entry.first = min(entry.first, first)
            entry.last = max(entry.last, last)
            if reason not in entry.reasons:
                entry.reasons = (*entry.reasons, reason)
            if decider not in entry.deciders:
                entry.deciders = (*entry.deciders, decider)[-4:]

    def ledger(self) -> list[tuple[Key, LedgerEntry]]:
        """A copy of all entries."""
        with self._lock:
            return [(key, msgspec.structs.replace(entry)) for key, entry in self._ledger.items()]

    def forget(self) -> None:
        """Begin a new report."""
        with self._lock:
            self._ledger.clear()
            self.unlisted = 0
            self.since = time.time()


def _key(key: Any, local: NamedEnd, remote: NamedEnd, direction: int) -> Key:
    source, destination = (
        (remote, local) if direction == layout.PodDirection.INGRESS else (local, remote)
    )
    protocol = int(key["protocol"])
    return Key(
        source.text,
        destination.text,
        PROTOCOLS.get(protocol, str(protocol)),
        int(key["port"]),
        _direction(direction),
        Mode(int(key["mode"])).name.lower(),
        int(key["reason"]) == PacketReason.CONDITIONAL,
    )


def _direction(number: int) -> str:
    return layout.PodDirection(number).name.lower()


def reason_word(number: int) -> str:
    return PacketReason(number).name.lower().replace("_", "-")


def address_text(words: NDArray[np.uint32]) -> str:
    """An address as the kernel keeps it, four words in network order, as text."""
    packed = np.ascontiguousarray(words).tobytes()
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return format_address(4, int.from_bytes(packed[12:], "big"))
    return format_address(6, int.from_bytes(packed, "big"))


def _clock_offset() -> float:
    """From the kernel's monotonic clock to seconds since the epoch."""
    return time.time() - time.monotonic()
