"""The maps of the datapath, pinned in a folder of a bpffs so that they outlive the agent.

They are created here rather than by bcc: so their sizes are ours to choose, a map that is already
there is checked before it is used, and an incomplete set of pins (an agent was killed
while it made them) is completed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kubeverdict_agent.datapath import bpf_syscall, layout
from kubeverdict_agent.datapath.bpf_syscall import Flag, MapType
from kubeverdict_agent.errors import DatapathError

DEFAULT_FLOWS = 131_072
MOUNT = "mount -t bpf -o mode=0700 bpf"
_EVENT_BYTES = 4 << 20
_DATAGRAMS = 8_192
_TOTALS = 32_768


@dataclass(frozen=True, slots=True)
class Maps:
    """Descriptors by map; ``flows`` is how many connections each family has room for, and
    ``first`` how many of them are in the table that pods have shares of."""

    folder: Path
    flows: int
    first: int
    arena: int
    endpoints: int
    flows4: int
    flows6: int
    crowded4: int
    crowded6: int
    shares: int
    recents: int
    datagrams: int
    totals: int
    counts: int
    events: int

    def close(self) -> None:
        for name in _shapes(self.flows):
            os.close(getattr(self, name))


def _shapes(flows: int) -> dict[str, tuple[MapType, int, int, int, int]]:
    """By name: type, key size, value size, entries, flags."""
    crowded = flows // 4
    size = {name: dtype.itemsize for name, dtype in layout.STRUCTS.items()}
    return {
        "arena": (MapType.ARRAY, 4, layout.ARENA_BYTES, 1, Flag.MMAPABLE),
        "endpoints": (MapType.ARRAY, 4, size["endpoints"], layout.INTERFACES, Flag.MMAPABLE),
        "flows4": (MapType.LRU_HASH, size["flow4"], size["flow"], flows - crowded, 0),
        "flows6": (MapType.LRU_HASH, size["flow6"], size["flow"], flows - crowded, 0),
        "crowded4": (MapType.LRU_HASH, size["flow4"], size["flow"], crowded, 0),
        "crowded6": (MapType.LRU_HASH, size["flow6"], size["flow"], crowded, 0),
        "shares": (MapType.ARRAY, 4, size["share"], layout.SLOTS, Flag.MMAPABLE),
        "recents": (MapType.PERCPU_ARRAY, 4, size["recent"], 2 << layout.RECENT_BITS, 0),
        "datagrams": (MapType.LRU_HASH, size["datagram"], size["datagram_verdict"], _DATAGRAMS, 0),
        # Entries are made when they are needed: most nodes have few denials.
        "totals": (
            MapType.PERCPU_HASH,
            size["total_key"],
            size["total"],
            _TOTALS,
            Flag.NO_PREALLOC,
        ),
        "counts": (MapType.PERCPU_ARRAY, 4, size["count"], layout.COUNTS, 0),
        "events": (MapType.RINGBUF, 0, 0, _EVENT_BYTES, 0),
    }


def make_folder(folder: Path) -> None:
    """Make the folder of the maps. Raises DatapathError where it is not on a bpffs, or on one that
    is not its owner's alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DatapathError(f"{folder}: {error.strerror}") from None
    check_place(folder)


def check_place(folder: Path) -> None:
    """Raises DatapathError where a folder is not on a bpffs, or on one in which others could put
    maps in place of ours."""
    try:
        if not bpf_syscall.is_bpffs(folder):
            raise DatapathError(f"{folder} is not on a BPF file system: {MOUNT} {folder.parent}")
        device = folder.stat().st_dev
        for place in (folder, *folder.parents):
            status = place.stat()
            if status.st_dev != device:
                break
            if status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid()):
                mode = f"mode {status.st_mode & 0o7777:04o}"
                raise DatapathError(
                    f"{place} is open to others than its owner ({mode}): mount it with mode=0700,"
                    f" or chmod 0700 {place}"
                )
    except OSError as error:
        raise DatapathError(f"{folder}: {error.strerror}") from None


def open_maps(folder: Path, flows: int | None = None) -> Maps:
    """Create the maps that are not pinned in ``folder`` yet, adopt those that are. ``flows`` is how
    many connections of each family there is room for: by default as many as those that are there.

    Raises DatapathError as :func:`make_folder` does, where a map cannot be created, and where one
    that is there has another shape.
    """
    make_folder(folder)
    fds: dict[str, int] = {}
    name = "flows4"
    try:
        there = _room(folder)
        room = flows or there or DEFAULT_FLOWS
        if there and there != room:
            raise DatapathError(
                f"{folder} has room for {there} connections, not for {room}, and cannot be made"
                f" anew without losing them: --connections {there}, or first"
                " kubeverdict-agent detach"
            )
        for name, shape in _shapes(room).items():
            fds[name] = _open_map(folder / name, shape)
        first = bpf_syscall.map_info(fds["flows4"]).max_entries
    except OSError as error:
        _close(fds)
        raise DatapathError(f"{folder / name}: {error.strerror}") from None
    except DatapathError:
        _close(fds)
        raise
    return Maps(folder, room, first, **fds)


def _room(folder: Path) -> int:
    """For how many connections the maps in a folder have room; 0 where they are not all there."""
    room = 0
    for name in ("flows4", "crowded4"):
        if not (folder / name).exists():
            return 0
        fd = bpf_syscall.open_pin(folder / name)
        try:
            room += bpf_syscall.map_info(fd).max_entries
        finally:
            os.close(fd)
    return room


def _close(fds: dict[str, int]) -> None:
    for fd in fds.values():
        os.close(fd)


def _open_map(path: Path, shape: tuple[MapType, int, int, int, int]) -> int:
    kind, key_size, value_size, entries, flags = shape
    if not path.exists():
        fd = bpf_syscall.create_map(*shape, name=path.name)
        bpf_syscall.pin(fd, path)
        return fd
    fd = bpf_syscall.open_pin(path)
    found = bpf_syscall.map_info(fd)
    wanted = (kind, key_size, value_size, flags, entries)
    if (found.type, found.key_size, found.value_size, found.flags, found.max_entries) != wanted:
        os.close(fd)
        raise DatapathError(
            f"{path} is a map of another shape ({found}); remove what the other version left: "
            "kubeverdict-agent detach"
        )
    return fd


def remove_pins(folder: Path) -> None:
    """Unpin every map of ``folder`` and remove it; the kernel frees what nothing uses."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
