"""The datapath of this node, as the rest of the agent sees it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeverdict.model.addresses import Family
from kubeverdict_agent.datapath import bpf_syscall, layout
from kubeverdict_agent.datapath.arena import Arena, LaidOut, check_layout, lay_out
from kubeverdict_agent.datapath.clocks import now_ns
from kubeverdict_agent.datapath.compiling import Programs, compile_programs
from kubeverdict_agent.datapath.layout import PacketReason, PodDirection, State
from kubeverdict_agent.datapath.maps import DEFAULT_FLOWS, Maps, open_maps
from kubeverdict_agent.datapath.ring import Ring
from kubeverdict_agent.errors import DoesNotFit
from kubeverdict_agent.lowering.joining import Joining
from kubeverdict_agent.lowering.tables import Tables

_PLACE = np.dtype([("place", "<u4")])  # the key of an array
_MAPPED = np.array(0xFFFF, ">u4").view("<u4")  # in IPv4 addresses as IPv6
_LONG_LIVED = (6, 132)  # TCP and SCTP, which say when they end


class NodeDatapath:
    """Maps and programs. What is pinned outlives this object."""

    def __init__(self, maps: Maps, programs: Programs | None) -> None:
        self._maps = maps
        self._programs = programs
        self._arena = Arena(maps.arena)
        size = layout.INTERFACES * layout.ENDPOINTS.itemsize
        self._endpoints_memory = bpf_syscall.map_memory(maps.endpoints, size)
        self._endpoints = np.frombuffer(self._endpoints_memory, layout.ENDPOINTS)
        self._ring = Ring(maps.events, layout.EVENT)
        self._cpus = bpf_syscall.possible_cpus()

    @staticmethod
    def open(
        folder: Path, *, flows: int = DEFAULT_FLOWS, compile_programs: bool = True
    ) -> NodeDatapath:
        """Create or adopt the maps pinned in ``folder`` and compile the programs against them.

        ``flows`` is how many connections of each family there is room for. Raises DatapathError
        in words for the operator.
        """
        maps = open_maps(folder, flows)
        try:
            check_layout(maps.arena)
            return NodeDatapath(maps, _compile(maps) if compile_programs else None)
        except BaseException:
            maps.close()
            raise

    @property
    def folder(self) -> Path:
        return self._maps.folder

    @property
    def from_pod(self) -> int:
        """Descriptor of the classifier for the ingress hook of the host side of a veth."""
        return self._loaded().from_pod

    @property
    def to_pod(self) -> int:
        """Descriptor of the classifier for its egress hook."""
        return self._loaded().to_pod

    def _loaded(self) -> Programs:
        if self._programs is None:
            raise RuntimeError("this datapath was opened without programs")
        return self._programs

    @property
    def generation(self) -> int:
        """Of the tables in force; 0: nothing was published yet."""
        return self._arena.generation

    def publish(self, tables: Tables) -> int:
        """Put tables in force for all endpoints in one step; their generation.

        Raises DoesNotFit, with the old ones in force.
        """
        return self._arena.publish(lay_out(tables))

    def swap(self, laid_out: LaidOut) -> int:
        """The same with tables that have been laid out already."""
        return self._arena.publish(laid_out)

    def join(self, joinings: Sequence[Joining]) -> bool:
        """Add the addresses of a new pod to the tables in force; False where there is no room for
        one of them, which is then unknown until the next publication."""
        return all([self._arena.join(each.address, each.peer_class) for each in joinings])

    def settle(self) -> None:
        """Wait (some 16 ms) for packets that still read the tables before; the next publication
        would have to."""
        self._arena.settle()

    def table_bytes(self) -> tuple[int, int]:
        """Bytes that the tables in force take, and that there is room for."""
        return self._arena.used(), layout.HALF_BYTES

    def bind(self, ifindex: int, endpoint: int, slot: int, *, adopt: float = 0.0) -> None:
        """Say which endpoint is behind an interface. ``endpoint`` is below 2^24 and is not given
        to another pod while its flows may live. For ``adopt`` seconds its flows may be older than
        this. Raises DoesNotFit, which takes five interfaces whose indices are the same modulo
        ``layout.INTERFACES``."""
        ways = self._endpoints["way"][ifindex % layout.INTERFACES]
        free = [*np.flatnonzero(ways["ifindex"] == ifindex), *np.flatnonzero(ways["ifindex"] == 0)]
        if not free:
            raise DoesNotFit(f"no room for interface {ifindex} among those with such an index")
        way = ways[free[0] : free[0] + 1]
        # A packet between the stores may find the new slot with the old number, whose flows are
        # no longer looked for.
        way["slot"], way["number"] = slot, endpoint
        way["adopt_until"] = (now_ns() + int(adopt * 1e9)) >> layout.ADOPT_SHIFT if adopt else 0
        # The index last: with it the entry is found.
        way["ifindex"] = ifindex

    def unbind(self, ifindex: int) -> None:
        """Forget an interface; nothing happens where it is not known."""
        ways = self._endpoints["way"][ifindex % layout.INTERFACES]
        ways["ifindex"][ways["ifindex"] == ifindex] = 0

    def bound(self) -> dict[int, tuple[int, int]]:
        """Endpoint and slot by interface index."""
        ways = self._endpoints["way"].ravel()
        return {
            int(way["ifindex"]): (int(way["number"]), int(way["slot"]))
            for way in ways[ways["ifindex"] != 0]
        }

    def set_unknown(self, closed: bool) -> None:
        """Whether packets of an attached interface that belongs to no known pod are dropped."""
        self._set_flag(layout.UNKNOWN_CLOSED, closed)

    def set_stateless(self, stateless: bool) -> None:
        """Judge each packet alone, without connections: for proofs and comparisons."""
        self._set_flag(layout.STATELESS, stateless)

    def _set_flag(self, flag: int, on: bool) -> None:
        self._arena.flags = self._arena.flags | flag if on else self._arena.flags & ~flag

    def adopt_for(self, seconds: float) -> None:
        """For ``seconds`` from now, mid-connection packets count as those of connections that are
        older than the agent."""
        self._arena.adopt_until_ns = now_ns() + int(seconds * 1e9) if seconds else 0

    def counters(self) -> NDArray[np.int64]:
        """Packets and bytes (directions, forwarded or dropped, reasons, 2) since the maps were
        made; axes as layout.Direction and layout.Reason."""
        counts = self._counts()[: layout.COUNTERS]
        return counts.reshape(len(PodDirection), 2, len(PacketReason), 2)

    def lost(self) -> tuple[int, int]:
        """Events and totals that did not find room."""
        counts = self._counts()
        return int(counts[layout.LOST_EVENTS, 0]), int(counts[layout.LOST_TOTALS, 0])

    def _counts(self) -> NDArray[np.int64]:
        out = np.zeros((layout.COUNTS, 2), np.int64)
        size = layout.COUNT.itemsize * self._cpus
        for index in range(layout.COUNTS):
            raw = bpf_syscall.lookup(self._maps.counts, index.to_bytes(4, "little"), size)
            out[index] = np.frombuffer(raw or b"\0" * size, np.int64).reshape(-1, 2).sum(axis=0)
        return out

    def totals(self, *, drain: bool = False) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Denials by their ends: keys (n,) layout.TOTAL_KEY and totals (n,) layout.TOTAL, summed
        over CPUs. ``drain`` removes what it returns."""
        keys: list[NDArray[np.void]] = [np.zeros(0, layout.TOTAL_KEY)]
        totals: list[NDArray[np.void]] = [np.zeros(0, layout.TOTAL)]
        for key, values in bpf_syscall.entries(
            self._maps.totals, layout.TOTAL_KEY, layout.TOTAL, copies=self._cpus, drain=drain
        ):
            keys.append(key.copy())
            totals.append(over_cpus(values.reshape(-1, self._cpus)))
        return np.concatenate(keys), np.concatenate(totals)

    def flows(self) -> Iterator[tuple[Family, NDArray[np.void], NDArray[np.void]]]:
        """Connections, a chunk at a time: the address family, keys (layout.FLOW4 or FLOW6) and
        values (layout.FLOW)."""
        tables: list[tuple[Family, int, np.dtype[np.void]]] = [
            (4, self._maps.flows4, layout.FLOW4),
            (6, self._maps.flows6, layout.FLOW6),
        ]
        for family, fd, key in tables:
            for keys, values in bpf_syscall.entries(fd, key, layout.FLOW):
                yield family, keys, values

    def uncounted(self) -> dict[tuple[Family, bytes], tuple[int, int]]:
        """Packets and bytes that CPUs have counted and not added to their connections yet, by
        family and key (as :meth:`flows` has it)."""
        found: dict[tuple[Family, bytes], tuple[int, int]] = {}
        for _, values in bpf_syscall.entries(
            self._maps.recents, _PLACE, layout.RECENT, copies=self._cpus
        ):
            for value in values[values["packets"] > 0]:
                family, key = _as_flow_key(value["key"])
                packets, size = found.get((family, key), (0, 0))
                found[family, key] = packets + int(value["packets"]), size + int(value["bytes"])
        return found

    def forget_flows(self, endpoints: Collection[int]) -> int:
        """Remove the connections of endpoints that are gone; how many there were."""
        gone = np.fromiter(endpoints, np.uint32, len(endpoints))
        forgotten = 0
        for family, keys, _ in list(self.flows()):
            fd = self._maps.flows4 if family == 4 else self._maps.flows6
            for key in keys[np.isin(keys["owner"] >> 8, gone)]:
                forgotten += bpf_syscall.delete(fd, key.tobytes())
        return forgotten

    def conntrack_size(self) -> dict[Family, tuple[int, int]]:
        """By family: connections that are alive, and how many there is room for.

        Those that have expired make room when it is needed; they are not removed before, because
        one that begins anew at that moment would be removed with them.
        """
        alive: dict[Family, int] = {4: 0, 6: 0}
        tick = self._arena.tick
        for family, keys, values in self.flows():
            age = (tick - values["seen"].astype(np.int64)).astype(np.int32)
            alive[family] += int(np.count_nonzero(age <= _lifetimes(keys, values)))
        return {family: (count, self._maps.flows) for family, count in alive.items()}

    @property
    def events_fd(self) -> int:
        """A descriptor that is readable when there are events."""
        return self._maps.events

    def events(self) -> NDArray[np.void]:
        """Events (n,) layout.EVENT that came since the last call; never blocks."""
        return self._ring.read()

    def close(self) -> None:
        """Close every descriptor; what is pinned stays."""
        self._arena.close()
        self._ring.close()
        del self._endpoints
        self._endpoints_memory.close()
        self._maps.close()
        if self._programs is not None:
            for fd in self._programs:
                os.close(fd)


def _as_flow_key(key: np.void) -> tuple[Family, bytes]:
    """The family and layout.FLOW4 or FLOW6 of a key as ``struct packet`` has the addresses."""
    local, remote = key["local"], key["remote"]
    if local[0] or local[1] or local[2] != _MAPPED:
        return 6, key.tobytes()
    four = (local[3], remote[3], key["local_port"], key["remote_port"], key["owner"])
    return 4, np.array(four, layout.FLOW4).tobytes()


def _compile(maps: Maps) -> Programs:
    return compile_programs(maps.folder)


def over_cpus(values: NDArray[Any]) -> NDArray[np.void]:
    """Totals (n, CPUs) as one each."""
    out = np.zeros(values.shape[0], layout.TOTAL)
    for field in ("packets", "bytes"):
        out[field] = values[field].sum(axis=1)
    # Only the CPU that made the entry wrote when, and it was the first.
    never = np.iinfo(np.uint64).max
    out["first_ns"] = np.where(values["first_ns"] > 0, values["first_ns"], never).min(axis=1)
    newest = values["last_ns"].argmax(axis=1)[:, None]
    for field in ("last_ns", "generation", "reported"):
        out[field] = np.take_along_axis(values[field], newest, axis=1)[:, 0]
    return out


def _lifetimes(keys: NDArray[np.void], values: NDArray[np.void]) -> NDArray[np.int64]:
    """How many ticks connections live after their last packet, as ``lifetime`` in conntrack.h."""
    state = values["state"]
    long = np.isin(keys["owner"] & 0xFF, _LONG_LIVED)
    lived = np.where(long, layout.TCP_TICKS, layout.OTHER_TICKS)
    lived[(state & (State.REPLIED | State.ADOPTED)) == 0] = layout.NO_REPLY_TICKS
    lived[(state & State.CLOSING) != 0] = layout.CLOSING_TICKS
    return lived
