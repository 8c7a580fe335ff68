"""The datapath of this node, as the rest of the agent sees it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kubeverdict.model.addresses import Family
from kubeverdict_agent.datapath import bpf_syscall, layout
from kubeverdict_agent.datapath.arena import Arena, LaidOut, LayingOut, check_layout
from kubeverdict_agent.datapath.clocks import tick_now, ticks_of
from kubeverdict_agent.datapath.compiling import Programs, compile_programs
from kubeverdict_agent.datapath.layout import PacketReason, PodDirection, State
from kubeverdict_agent.datapath.maps import Maps, open_maps
from kubeverdict_agent.datapath.ring import Ring
from kubeverdict_agent.errors import DoesNotFit
from kubeverdict_agent.lowering.joining import Joining
from kubeverdict_agent.lowering.tables import Tables

_PLACE = np.dtype([("place", "<u4")])  # the key of an array
_MAPPED = np.array(0xFFFF, ">u4").view("<u4")  # in IPv4 addresses as IPv6
_NO_LIMIT = 0xFFFFFFFF
_EXPIRED_TICKS = 30  # after which a connection that expired is removed
_Table = tuple[Family, int, np.dtype[np.void]]  # family, descriptor and key of a table
_LONG_LIVED = (6, 132)  # TCP and SCTP, which say when they end


# Seconds; of TCP as long as kube-proxy has the kernel track it, and the others of a stream.
TCP_IDLE, OTHER_IDLE = 86_400.0, 180.0


class Adopted(Protocol):
    """A connection to be remembered: of its other end the address is packed, and ``origin`` is the
    direction of its first packet."""

    @property
    def remote(self) -> bytes: ...
    @property
    def local_port(self) -> int: ...
    @property
    def remote_port(self) -> int: ...
    @property
    def protocol(self) -> int: ...
    @property
    def origin(self) -> PodDirection: ...
    @property
    def replied(self) -> bool: ...


class NodeDatapath:
    """Maps and programs. What is pinned outlives this object."""

    def __init__(self, maps: Maps, programs: Programs | None) -> None:
        self._maps = maps
        self._programs = programs
        self._arena = Arena(maps.arena)
        self._laying_out = LayingOut()
        size = layout.INTERFACES * layout.ENDPOINTS.itemsize
        self._endpoints_memory = bpf_syscall.map_memory(maps.endpoints, size)
        self._endpoints = np.frombuffer(self._endpoints_memory, layout.ENDPOINTS)
        self._shares_memory = bpf_syscall.map_memory(
            maps.shares, layout.SLOTS * layout.SHARE.itemsize
        )
        self._shares = np.frombuffer(self._shares_memory, layout.SHARE)
        self._ring = Ring(maps.events, layout.EVENT)
        self._cpus = bpf_syscall.possible_cpus()

    @staticmethod
    def open(
        folder: Path, *, flows: int | None = None, compile_programs: bool = True
    ) -> NodeDatapath:
        """Create or adopt the maps pinned in ``folder`` and compile the programs against them.

        ``flows`` is as :func:`open_maps` has it. Raises DatapathError in words for the operator.
        """
        maps = open_maps(folder, flows)
        try:
            check_layout(maps.arena)
            made = NodeDatapath(maps, _compile(maps) if compile_programs else None)
            made.set_idle(TCP_IDLE, OTHER_IDLE)
            return made
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
        return self._arena.publish(self._laying_out.lay_out(tables))

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

    def bind(self, ifindex: int, endpoint: int, slot: int) -> None:
        """Say which endpoint is behind an interface. ``endpoint`` is below 2^24 and is not given
        to another pod while its flows may live. Raises DoesNotFit, which takes five interfaces
        whose indices are the same modulo ``layout.INTERFACES``."""
        ways = self._endpoints["way"][ifindex % layout.INTERFACES]
        free = [*np.flatnonzero(ways["ifindex"] == ifindex), *np.flatnonzero(ways["ifindex"] == 0)]
        if not free:
            raise DoesNotFit(f"no room for interface {ifindex} among those with such an index")
        way = ways[free[0] : free[0] + 1]
        # A packet between the stores may find the new slot with the old number, whose flows are
        # no longer looked for.
        if way["number"] != endpoint or way["slot"] != slot:
            self._shares[slot] = (0, 0)
        way["slot"], way["number"] = slot, endpoint
        # The index last: with it the entry is found.
        way["ifindex"] = ifindex
        self._share_out()

    def unbind(self, ifindex: int) -> None:
        """Forget an interface; nothing happens where it is not known."""
        ways = self._endpoints["way"][ifindex % layout.INTERFACES]
        ways["ifindex"][ways["ifindex"] == ifindex] = 0
        self._share_out()

    def _share_out(self) -> None:
        """Give each pod the same share of the first table, of which the kernel may use a part only
        before it forgets what was used least; a single pod has all of it."""
        pods = np.count_nonzero(self._endpoints["way"]["ifindex"])
        self._arena.share = self._maps.first * 15 // 16 // int(pods) if pods > 1 else _NO_LIMIT

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

    def set_encapsulation(self, allowed: bool) -> None:
        """Whether pods may send nodes tunnels (VXLAN, Geneve, IP in IP, GRE)."""
        self._set_flag(layout.ALLOW_ENCAPSULATION, allowed)

    def set_idle(self, tcp: float, other: float) -> None:
        """Seconds for which idle connections are remembered: of TCP and SCTP, and of others."""
        self._arena.idle = ticks_of(tcp), ticks_of(other)

    def adopt(self, endpoint: int, local: bytes, connections: Sequence[Adopted]) -> None:
        """Remember connections of an endpoint's address ``local`` (packed) that are older than its
        filtering. Each is judged by its next packet, in its original direction."""
        key_type = layout.FLOW4 if len(local) == 4 else layout.FLOW6
        keys = np.zeros(len(connections), key_type)
        values = np.zeros(len(connections), layout.FLOW)
        keys["local"] = np.frombuffer(local, "<u4")
        remotes = np.frombuffer(b"".join(one.remote for one in connections), "<u4")
        keys["remote"] = remotes.reshape(keys["remote"].shape)
        for key, value, one in zip(keys, values, connections, strict=True):
            key["local_port"], key["remote_port"] = one.local_port, one.remote_port
            key["owner"] = endpoint << 8 | one.protocol
            value["origin"] = one.origin
            value["state"] = State.ADOPTED | (State.REPLIED if one.replied else 0)
        values["seen"] = values["since"] = self._arena.tick or tick_now()
        bpf_syscall.update_batch(
            self._maps.flows4 if len(local) == 4 else self._maps.flows6, keys, values
        )

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
        for family, fd, key in (*self._first(), *self._crowded()):
            for keys, values in bpf_syscall.entries(fd, key, layout.FLOW):
                yield family, keys, values

    def _first(self) -> list[_Table]:
        return [(4, self._maps.flows4, layout.FLOW4), (6, self._maps.flows6, layout.FLOW6)]

    def _crowded(self) -> list[_Table]:
        return [(4, self._maps.crowded4, layout.FLOW4), (6, self._maps.crowded6, layout.FLOW6)]

    def tend_connections(self) -> None:
        """Remove connections that expired, and count anew what each pod takes of the first table.

        One that begins anew at that moment may be removed with them; the next packet that policy
        allows makes it again.
        """
        held, crowded = self._held(), self._in_second_table()
        for number, slot in self.bound().values():
            share = self._shares[slot : slot + 1]
            share["held"] = held.get(number, 0)
            if number in crowded:
                share["crowded"] = 1
            elif held.get(number, 0) < self._arena.share // 2:
                # Far from having to use the second table while this is written.
                share["crowded"] = 0

    def _held(self) -> Counter[int]:
        """Connections in the first table by endpoint number, after the expired are removed."""
        held: Counter[int] = Counter()
        for _, fd, key in self._first():
            for keys, values in list(bpf_syscall.entries(fd, key, layout.FLOW)):
                over = self._beyond_life(keys, values)
                for expired in keys[over > _EXPIRED_TICKS]:
                    bpf_syscall.delete(fd, expired.tobytes())
                numbers, counts = np.unique(
                    keys["owner"][over <= _EXPIRED_TICKS] >> 8, return_counts=True
                )
                held.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        return held

    def _in_second_table(self) -> set[int]:
        """Endpoint numbers of connections that live there."""
        found: set[int] = set()
        for _, fd, key in self._crowded():
            for keys, values in bpf_syscall.entries(fd, key, layout.FLOW):
                alive = self._beyond_life(keys, values) <= _EXPIRED_TICKS
                found.update(np.unique(keys["owner"][alive] >> 8).tolist())
        return found

    def _beyond_life(self, keys: NDArray[np.void], values: NDArray[np.void]) -> NDArray[np.int64]:
        """Ticks since each connection (n,) expired; up to zero for those that live."""
        age = (self._arena.tick - values["seen"].astype(np.int64)).astype(np.int32)
        return age - _lifetimes(keys, values, self._arena.idle)

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
        for _, fd, key_type in (*self._first(), *self._crowded()):
            for keys, _ in list(bpf_syscall.entries(fd, key_type, layout.FLOW)):
                for key in keys[np.isin(keys["owner"] >> 8, gone)]:
                    forgotten += bpf_syscall.delete(fd, key.tobytes())
        return forgotten

    def conntrack_size(self) -> dict[Family, tuple[int, int]]:
        """By family: connections that are alive, and how many there is room for."""
        alive: dict[Family, int] = {4: 0, 6: 0}
        for family, keys, values in self.flows():
            alive[family] += int(np.count_nonzero(self._beyond_life(keys, values) <= 0))
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
        del self._shares
        self._shares_memory.close()
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


def _lifetimes(
    keys: NDArray[np.void], values: NDArray[np.void], idle: tuple[int, int]
) -> NDArray[np.int64]:
    """How many ticks connections live after their last packet, as ``lifetime`` in conntrack.h."""
    state = values["state"]
    long = np.isin(keys["owner"] & 0xFF, _LONG_LIVED)
    lived = np.where(long, *idle)
    lived[(state & (State.REPLIED | State.ADOPTED)) == 0] = layout.NO_REPLY_TICKS
    lived[(state & (State.CLOSING | State.RESET)) != 0] = layout.CLOSING_TICKS
    return lived
