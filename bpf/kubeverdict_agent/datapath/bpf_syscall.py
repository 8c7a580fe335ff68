"""The bpf(2) system call, which the standard library and bcc 0.26 do not offer in full.

Every function takes and returns plain file descriptors and raises OSError as the kernel answers.
The numbers are those of the kernel's ``include/uapi/linux/bpf.h``.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_libc = ctypes.CDLL(None, use_errno=True)
_SYSCALL = {"x86_64": (321, 324), "aarch64": (280, 283)}
_ATTRIBUTES = 152  # bytes; the kernel takes shorter and longer ones
MEMBARRIER_GLOBAL = 1
NO_SUCH_ENTRY = 2  # ENOENT
BPF_FS = 0xCAFE4A11  # what statfs says of a bpffs


class MapType(IntEnum):
    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LPM_TRIE = 11
    RINGBUF = 27


class Flag(IntEnum):
    NO_PREALLOC = 1
    MMAPABLE = 1 << 10


class BpfCommand(IntEnum):
    """Of bpf(2)."""

    MAP_CREATE = 0
    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    OBJ_INFO = 15
    PROG_QUERY = 16
    LOOKUP_BATCH = 24
    LOOKUP_AND_DELETE_BATCH = 25
    UPDATE_BATCH = 26
    LINK_CREATE = 28
    LINK_UPDATE = 29


class MapInfo(NamedTuple):
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


def _numbers() -> tuple[int, int]:
    return _SYSCALL.get(platform.machine(), _SYSCALL["x86_64"])


def call(command: BpfCommand, attributes: bytes) -> tuple[int, bytes]:
    """Do ``command``; the result and the attributes as the kernel left them."""
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), _ATTRIBUTES))
    result = _libc.syscall(_numbers()[0], int(command), buffer, len(buffer))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf {command.name.lower()}: {os.strerror(error)}")
    return result, buffer.raw


def create_map(
    kind: MapType, key_size: int, value_size: int, entries: int, flags: int, name: str
) -> int:
    """A new map; ``name`` is cut to the 15 bytes that the kernel keeps."""
    attributes = struct.pack(
        "<7I16s", kind, key_size, value_size, entries, flags, 0, 0, name.encode()[:15]
    )
    try:
        return call(BpfCommand.MAP_CREATE, attributes)[0]
    except OSError as error:
        if error.errno == errno.E2BIG and kind is MapType.ARRAY:
            words = f"bpf map_create: a value of {value_size >> 20} MB needs Linux 6.0"
            raise OSError(error.errno, words) from None
        raise


def map_info(fd: int) -> MapInfo:
    """What the kernel says about a map."""
    kind, _, key_size, value_size, entries, flags = struct.unpack_from("<6I", object_info(fd))
    return MapInfo(kind, key_size, value_size, entries, flags)


def object_info(fd: int) -> bytes:
    """The beginning of what the kernel says about a map, program or link, as its struct has it."""
    info = ctypes.create_string_buffer(96)
    call(BpfCommand.OBJ_INFO, struct.pack("<IIQ", fd, len(info), ctypes.addressof(info)))
    return info.raw


def pin(fd: int, path: Path) -> None:
    """Give a map or program a name in a bpffs: it lives on without us."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    call(BpfCommand.OBJ_PIN, struct.pack("<QII", ctypes.addressof(name), fd, 0))


def open_pin(path: Path) -> int:
    """A descriptor of what is pinned."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return call(BpfCommand.OBJ_GET, struct.pack("<QII", ctypes.addressof(name), 0, 0))[0]


def lookup(fd: int, key: bytes, size: int) -> bytes | None:
    """The value under ``key``, of ``size`` bytes (of a per-CPU map: of all CPUs together)."""
    wanted = ctypes.create_string_buffer(key, len(key))
    value = ctypes.create_string_buffer(size)
    attributes = struct.pack("<IIQQQ", fd, 0, ctypes.addressof(wanted), ctypes.addressof(value), 0)
    try:
        call(BpfCommand.MAP_LOOKUP, attributes)
    except OSError as error:
        if error.errno == NO_SUCH_ENTRY:
            return None
        raise
    return value.raw


def update(fd: int, key: bytes, value: bytes) -> None:
    """Set the value under ``key``."""
    wanted = ctypes.create_string_buffer(key, len(key))
    given = ctypes.create_string_buffer(value, len(value))
    attributes = struct.pack("<IIQQQ", fd, 0, ctypes.addressof(wanted), ctypes.addressof(given), 0)
    call(BpfCommand.MAP_UPDATE, attributes)


def delete(fd: int, key: bytes) -> bool:
    """Remove ``key``; False where it was not there."""
    wanted = ctypes.create_string_buffer(key, len(key))
    try:
        call(BpfCommand.MAP_DELETE, struct.pack("<IIQQQ", fd, 0, ctypes.addressof(wanted), 0, 0))
    except OSError as error:
        if error.errno == NO_SUCH_ENTRY:
            return False
        raise
    return True


def update_batch(fd: int, keys: NDArray[np.generic], values: NDArray[np.generic]) -> None:
    """Set many: contiguous arrays with an element each."""
    if keys.size:
        _batch(BpfCommand.UPDATE_BATCH, fd, keys, values, 0, 0)


def entries(
    fd: int,
    key: np.dtype[np.void],
    value: np.dtype[np.void],
    *,
    copies: int = 1,
    drain: bool = False,
    chunk: int = 4096,
) -> Iterator[tuple[NDArray[np.void], NDArray[np.void]]]:
    """Everything in a hash, a chunk at a time: keys (n,) and values (n,) or (n, copies).

    ``copies`` is the number of possible CPUs for a per-CPU map. ``drain`` removes what it
    returns, each entry in one step, so nothing that is counted meanwhile is lost.
    """
    command = BpfCommand.LOOKUP_AND_DELETE_BATCH if drain else BpfCommand.LOOKUP_BATCH
    # The token is the number of a bucket, or a key for some kinds of map.
    token = ctypes.create_string_buffer(max(key.itemsize, 8))
    cursor = 0
    while True:
        keys = np.zeros(chunk, key)
        values = np.zeros((chunk, copies), value)
        try:
            found = _batch(command, fd, keys, values, cursor, ctypes.addressof(token))
            last = False
        except _Ended as ended:
            found, last = ended.found, True
        except OSError as error:
            if error.errno != 28:  # ENOSPC: a bucket holds more than a chunk
                raise
            chunk *= 2
            continue
        yield keys[:found], values[:found, 0] if copies == 1 else values[:found]
        if last:
            return
        cursor = ctypes.addressof(token)


class _Ended(Exception):
    def __init__(self, found: int) -> None:
        self.found = found


def _batch(
    command: BpfCommand,
    fd: int,
    keys: NDArray[np.generic],
    values: NDArray[np.generic],
    begin: int,
    end: int,
) -> int:
    attributes = struct.pack(
        "<QQQQIIQQ", begin, end, keys.ctypes.data, values.ctypes.data, keys.shape[0], fd, 0, 0
    )
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTES)
    result = _libc.syscall(_numbers()[0], int(command), buffer, len(buffer))
    (found,) = struct.unpack_from("<I", buffer.raw, 32)
    if result >= 0:
        return int(found)
    error = ctypes.get_errno()
    if error == NO_SUCH_ENTRY and command in (
        BpfCommand.LOOKUP_BATCH,
        BpfCommand.LOOKUP_AND_DELETE_BATCH,
    ):
        raise _Ended(int(found))
    raise OSError(error, f"bpf {command.name.lower()}: {os.strerror(error)}")


def test_run(fd: int, packet: bytes, repeat: int = 1) -> tuple[int, int]:
    """Run a classifier on a packet: its action (signed) and nanoseconds a run.

    The packet is seen on interface 1 of the network namespace, the loopback.
    """
    data = ctypes.create_string_buffer(packet, len(packet))
    attributes = struct.pack(
        "<IIIIQQII", fd, 0, len(packet), 0, ctypes.addressof(data), 0, repeat, 0
    )
    _, after = call(BpfCommand.PROG_TEST_RUN, attributes)
    (action,) = struct.unpack_from("<i", after, 4)
    (duration,) = struct.unpack_from("<I", after, 36)
    return action, duration


def map_memory(fd: int, size: int) -> mmap.mmap:
    """The value of a mmapable array, shared with the kernel."""
    return mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


def wait_for_readers() -> None:
    """Return when no packet is on its way that began before the call (an RCU grace period)."""
    if _libc.syscall(_numbers()[1], MEMBARRIER_GLOBAL, 0, 0) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"membarrier: {os.strerror(error)}")


def possible_cpus() -> int:
    """How many values a per-CPU map keeps for each key."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return max(int(part.split("-")[-1]) for part in text.split(",")) + 1


def is_bpffs(folder: Path) -> bool:
    """Whether ``folder`` is on a BPF file system."""
    # struct statfs begins with the type, a long; 256 bytes hold all of it everywhere.
    answer = ctypes.create_string_buffer(256)
    if _libc.statfs(ctypes.create_string_buffer(os.fsencode(folder)), answer) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(folder))
    return int(struct.unpack_from("<q", answer.raw)[0]) & 0xFFFFFFFF == BPF_FS
