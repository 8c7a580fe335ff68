"""The arena: one mapped array with control data and two halves, of which one is in force.

New tables are written into the other half, and one store of the generation makes them visible to
every packet of every endpoint. Before a half is used again, all packets that may still read it
must have finished: an RCU grace period is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.model.addresses import Address
from kubeverdict_agent.datapath import bpf_syscall, layout
from kubeverdict_agent.errors import DatapathError, DoesNotFit
from kubeverdict_agent.lowering.hashing import AddressTables, buckets_of_ipv4, buckets_of_ipv6
from kubeverdict_agent.lowering.tables import Tables

_ALIGN = 64  # a cache line
_LAST_GENERATION = 0xFFFFFFFE  # flows keep 32 bits of it
_LOW = (1 << 64) - 1


class LaidOut(NamedTuple):
    """The parts of a half with their offsets, and the header (1,) that says where they are."""

    parts: list[tuple[int, NDArray[Any]]]
    header: NDArray[np.void]


def check_layout(fd: int) -> None:
    """Refuse an arena whose tables a version with other structs wrote; mark one that is new.

    Raises DatapathError.
    """
    arena = Arena(fd)
    try:
        if arena.generation and arena.made_for != layout.fingerprint():
            raise DatapathError(
                "the maps are those of another version of the agent, which stays in force; "
                "remove it: kubeverdict-agent detach"
            )
        arena.made_for = layout.fingerprint()
    finally:
        arena.close()


class Arena:
    """The agent's view of the arena; one process at a time may write it."""

    def __init__(self, fd: int) -> None:
        self._memory = bpf_syscall.map_memory(fd, layout.ARENA_BYTES)
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self._control = self._bytes[: layout.CONTROL.itemsize].view(layout.CONTROL)
        # Another process may have just put the other half out of force.
        self._readers_gone = False

    @property
    def generation(self) -> int:
        """Of the tables in force; 0 where there are none."""
        return int(self._control["generation"][0])

    @property
    def made_for(self) -> int:
        """The fingerprint of the layout that the tables have."""
        return int(self._control["layout"][0])

    @made_for.setter
    def made_for(self, value: int) -> None:
        self._control["layout"][0] = value

    @property
    def tick(self) -> int:
        """Of the last packet, on the clock of connections."""
        return int(self._control["tick"][0])

    @property
    def flags(self) -> int:
        return int(self._control["flags"][0])

    @flags.setter
    def flags(self, value: int) -> None:
        self._control["flags"][0] = value

    @property
    def idle(self) -> tuple[int, int]:
        """Ticks for which idle connections are remembered: those of TCP and SCTP, and others."""
        return int(self._control["tcp_idle"][0]), int(self._control["other_idle"][0])

    @idle.setter
    def idle(self, value: tuple[int, int]) -> None:
        self._control["tcp_idle"][0], self._control["other_idle"][0] = value

    @property
    def share(self) -> int:
        """Connections of each family that a pod has a place of its own for, together."""
        return int(self._control["share"][0])

    @share.setter
    def share(self, value: int) -> None:
        self._control["share"][0] = value

    def publish(self, laid_out: LaidOut) -> int:
        """Put tables in force; the new generation. Raises DoesNotFit, with the old in force."""
        parts, header = laid_out
        if header["used"][0] > layout.HALF_BYTES:
            raise DoesNotFit(
                f"the policies of this node need {header['used'][0]:,} bytes in the kernel; "
                f"{layout.HALF_BYTES:,} fit"
            )
        self.settle()
        generation = self.generation + 1
        if generation > _LAST_GENERATION:
            generation = 2 - (generation & 1)
        header["generation"] = generation
        half = self._half(generation)
        half[: header.nbytes] = header.view(np.uint8)
        for offset, part in parts:
            half[offset : offset + part.nbytes] = part.view(np.uint8).ravel()
        # One aligned store; everything before it is visible to every reader that sees it.
        self._control["generation"][0] = generation
        self._readers_gone = False
        return generation

    def join(self, address: Address, peer_class: int) -> bool:
        """Add an address to the tables in force; False where its buckets are full.

        A store of eight aligned bytes makes it visible, so a packet sees all of it or nothing.
        The class of ``peer_class`` must be one of the tables in force, the address not in them.
        """
        header = self._half(self.generation)[: layout.TABLES.itemsize].view(layout.TABLES)[0]
        if address.family == 4:
            wide = np.array([address.value], np.uint64)
            buckets = buckets_of_ipv4(wide, 32 - int(header["shift4"]))
            entries = self._entries(int(header["peers4"]), np.dtype(np.uint64), buckets)
            for entry in entries:
                if ~entry[0] == 0:
                    entry[0] = wide[0] | np.uint64(peer_class << 32)
                    return True
            return False
        halves = np.array([(address.value >> 64, address.value & _LOW)], np.uint64)
        buckets = buckets_of_ipv6(halves, 64 - int(header["shift6"]))
        for entry in self._entries(int(header["peers6"]), layout.PEER6, buckets):
            if entry["class"][0] == layout.NO_CLASS:
                entry["high"], entry["low"] = halves[0]
                entry["class"] = peer_class
                return True
        return False

    def _entries(
        self, table: int, entry: np.dtype[Any], buckets: Sequence[NDArray[np.uint64]]
    ) -> Iterator[NDArray[Any]]:
        """The places (1,) of some buckets, one by one."""
        half = self._half(self.generation)
        for bucket in buckets:
            first = table + int(bucket[0]) * layout.BUCKET * entry.itemsize
            for place in range(first, first + layout.BUCKET * entry.itemsize, entry.itemsize):
                yield half[place : place + entry.itemsize].view(entry)

    def settle(self) -> None:
        """Wait now for what the next publication would wait for."""
        if not self._readers_gone:
            bpf_syscall.wait_for_readers()
            self._readers_gone = True

    def used(self) -> int:
        """Bytes of a half that the tables in force take; 0 where there are none."""
        if not self.generation:
            return 0
        header = self._half(self.generation)[: layout.TABLES.itemsize].view(layout.TABLES)
        return int(header["used"][0])

    def _half(self, generation: int) -> NDArray[np.uint8]:
        first = layout.PAGE_BYTES + (generation & 1) * layout.HALF_BYTES
        return self._bytes[first : first + layout.HALF_BYTES]

    def close(self) -> None:
        del self._bytes, self._control
        self._memory.close()


class LayingOut:
    """Lays out tables again and again. What is the same as before is not made again."""

    def __init__(self) -> None:
        self._addresses = AddressTables()
        self._starts4 = np.zeros(0, np.uint32)
        self._index4 = np.zeros(0, np.uint32)

    def lay_out(self, tables: Tables) -> LaidOut:
        """Tables as they will lie in a half."""
        if not np.array_equal(tables.starts4, self._starts4):
            self._starts4, self._index4 = tables.starts4, _upper_index(tables.starts4)
        return _laid_out(
            tables,
            self._addresses.of_ipv4(tables.ipv4, tables.class4 | tables.flags4),
            self._addresses.of_ipv6(tables.ipv6, tables.class6 | tables.flags6),
            self._index4,
        )


def _laid_out(
    tables: Tables,
    table4: tuple[NDArray[np.uint64], int],
    table6: tuple[NDArray[np.void], int],
    index4: NDArray[np.uint32],
) -> LaidOut:
    (peers4, bits4), (peers6, bits6) = table4, table6
    header = np.zeros(1, layout.TABLES)
    parts: list[tuple[int, NDArray[Any]]] = []
    end = layout.PAGE_BYTES

    def put(part: NDArray[Any]) -> int:
        nonlocal end
        offset = end
        parts.append((offset, np.ascontiguousarray(part)))
        end += -(-part.nbytes // _ALIGN) * _ALIGN
        return offset

    header["locals"] = put(tables.locals)
    header["ports"] = put(tables.ports)
    header["peers4"] = put(peers4)
    header["peers6"] = put(peers6)
    header["index4"] = put(index4)
    header["starts4"] = put(tables.starts4)
    header["classes4"] = put(tables.starts_class4)
    header["starts6"] = put(tables.starts6)
    header["classes6"] = put(tables.starts_class6)
    header["cells"][0] = [put(cells) for cells in tables.cells]
    header["rows"] = put(tables.rows)
    header["shift4"], header["shift6"] = 32 - bits4, 64 - bits6
    header["atom_icmp"], header["atom_other"] = tables.ports[-2:]
    header["any"], header["atoms"] = tables.atoms, tables.rows.shape[1]
    header["peers"] = tables.cells[0].shape[1]
    header["intervals6"] = tables.starts6.shape[0]
    header["conditional"] = tables.conditional
    header["own_node"] = tables.own_node
    header["guarded"] = bool(
        (np.concatenate((tables.flags4, tables.flags6)) & layout.PEER_GUARDED).any()
    )
    header["used"] = end
    return LaidOut(parts, header)


def _upper_index(starts: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """(65537,) the interval that holds the first address of each /16, and at the end the last."""
    first = np.searchsorted(starts, np.arange(65536, dtype=np.uint32) << np.uint32(16), "right") - 1
    return np.append(first, starts.size - 1).astype(np.uint32)
