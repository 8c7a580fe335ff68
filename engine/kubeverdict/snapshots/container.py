"""The file: a header that says what it holds, then arrays.

====================  ==========================================================================
8 bytes               magic, which is damaged by a transfer that takes the file for text
4 bytes               format version
4 bytes               length of the header
4 bytes               CRC-32 of the two numbers above and of the header
4 bytes               zero
the header            msgpack, see :class:`Header`
the arrays            each at a multiple of 64 bytes from the first, which is itself at one
====================  ==========================================================================

Numbers are little-endian. The header has a CRC-32 for each array: the header is checked when the
file is opened and an array when it is asked for first, because most questions need few of them.
That finds damage. What is read is held against the types that it is to have as well: an array's
numbers, lengths that belong together, places that lead somewhere. The shapes of arrays that stand
by themselves and what their numbers mean are not; a file written on purpose can say anything.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict import __version__
from kubeverdict.command.interrupts import at_interrupt
from kubeverdict.errors import InputError, Problem, UsageError
from kubeverdict.model.counts import count

MAGIC = b"\x89KVS\r\n\x1a\n"
# Raise this when this file changes in a way that makes what it writes unreadable to it before.
FORMAT = 1
_START = Struct("<8sIIII")
_CHECKED = Struct("<II")
_ALIGNMENT = 64
_NO_DIGEST = "0" * 64

Data = bytes | memoryview | mmap


class Section(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One array. ``offset`` counts from the first."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int  # in bytes
    checksum: int


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What the file holds.

    ``engine`` is the version of kubeverdict that wrote it and ``layout`` stands for the fields
    of everything that is stored (:func:`kubeverdict.snapshots.layout.fingerprint`): what another
    engine made is not read. ``digest`` is the SHA-256 of all other content, ``length`` the bytes
    from the first array to the end. ``tree`` refers to arrays by number.
    """

    engine: str
    layout: str
    digest: str
    length: int
    sections: list[Section]
    tree: msgspec.Raw


def problem(name: str, message: str) -> InputError:
    """The error for a file that cannot be used."""
    return InputError([Problem(name, 0, "", message)])


class Builder:
    """Collects arrays and puts them, with a tree that refers to them, into a file."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []
        self._sections: list[Section] = []
        self._length = 0

    def add(self, name: str, array: NDArray[Any]) -> int:
        """The number of an array, by which the tree refers to it."""
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        section = Section(
            name, array.dtype.str, array.shape, self._length, array.nbytes, crc32(array.data)
        )
        self._arrays.append(array)
        self._sections.append(section)
        self._length = _aligned(self._length + array.nbytes)
        return len(self._arrays) - 1

    def parts(self, tree: object, layout: str) -> list[bytes | memoryview]:
        """The file, in parts that follow one another."""
        encoded = msgspec.Raw(msgspec.msgpack.encode(tree))
        header = Header(__version__, layout, _NO_DIGEST, self._length, self._sections, encoded)
        digest = sha256(msgspec.msgpack.encode(header))
        body: list[bytes | memoryview] = []
        for array in self._arrays:
            data = array.reshape(-1).view(np.uint8).data
            digest.update(data)
            body += (data, bytes(_aligned(array.nbytes) - array.nbytes))
        text = msgspec.msgpack.encode(msgspec.structs.replace(header, digest=digest.hexdigest()))
        start = _START.pack(MAGIC, FORMAT, len(text), _header_checksum(FORMAT, text), 0)
        padding = bytes(_aligned(len(start) + len(text)) - len(start) - len(text))
        return [start, text, padding, *body]


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _header_checksum(version: int, text: bytes | memoryview) -> int:
    return crc32(text, crc32(_CHECKED.pack(version, len(text))))


class SnapshotFile:
    """A file that was opened. Raises InputError, with ``name``, for what is none or is damaged."""

    def __init__(self, data: Data, name: str, layout: str) -> None:
        self.name = name
        self.header, first = _header(memoryview(data), name, layout)
        self._bytes = np.frombuffer(data, np.uint8)[first:]
        if self._bytes.ctypes.data % np.dtype(np.uint64).alignment:
            self._bytes = self._bytes.copy()
        self._bytes.setflags(write=False)
        self._checked: set[int] = set()

    def array(self, number: int) -> NDArray[Any]:
        """Array ``number``, read-only, without a copy. Raises InputError if it is damaged."""
        sections = self.header.sections
        if type(number) is not int or not 0 <= number < len(sections):
            raise self.damaged(f"there is no array {number}")
        section = sections[number]
        data = self._bytes[section.offset : section.offset + section.length]
        if number not in self._checked:
            if not _is_sound(section, self._bytes.size):
                raise self.damaged(f"{section.name} does not fit its entry in the header")
            if crc32(data.data) != section.checksum:
                raise self.damaged(f"{section.name} does not match its checksum")
            self._checked.add(number)
        found: NDArray[Any] = data.view(section.dtype).reshape(section.shape)
        return found

    def damaged(self, how: str) -> InputError:
        """The error for content that is not as it was written."""
        return problem(self.name, f"is damaged: {how}")


def _is_sound(section: Section, size: int) -> bool:
    """Whether an array lies inside ``size`` bytes and has the length that its shape takes."""
    try:
        dtype = np.dtype(section.dtype)
    except (TypeError, ValueError):
        return False
    inside = 0 <= section.offset <= section.offset + section.length <= size
    whole = section.offset % _ALIGNMENT == 0 and min(section.shape, default=1) >= 0
    return (
        inside
        and whole
        and dtype.kind in "biuf"
        and dtype.itemsize * prod(section.shape) == section.length
    )


def _header(data: memoryview, name: str, layout: str) -> tuple[Header, int]:
    """The header, checked, and where the first array begins."""
    if not data.nbytes:
        raise problem(name, "is empty: not a snapshot")
    if data[: len(MAGIC)] != MAGIC[: data.nbytes]:
        raise problem(name, "is not a snapshot")
    if data.nbytes < _START.size:
        raise problem(name, "is cut short")
    _, version, length, checksum, _ = _START.unpack_from(data)
    if version > FORMAT:
        raise problem(
            name,
            f"is a snapshot of format {version}, and this kubeverdict ({__version__}) reads "
            f"format {FORMAT}: a newer one wrote it",
        )
    text = data[_START.size : _START.size + length]
    if version == FORMAT and text.nbytes < length:
        raise problem(name, "is cut short")
    if version < FORMAT or _header_checksum(version, text) != checksum:
        raise problem(name, "is damaged: the header does not match its checksum")
    try:
        header = msgspec.msgpack.decode(text, type=Header)
    except msgspec.DecodeError as error:
        raise problem(name, f"is damaged: {error}") from None
    if (header.engine, header.layout) != (__version__, layout):
        writer = f"kubeverdict {header.engine}"
        if header.engine == __version__:
            writer = "another build of this version"
        raise problem(name, f"was written by {writer}: make it again from its manifests")
    first = _aligned(_START.size + length)
    missing = first + header.length - data.nbytes
    if missing > 0:
        raise problem(name, f"is cut short: {count(missing, 'byte is', 'bytes are')} missing")
    if missing < 0:
        raise problem(name, f"is damaged: {count(-missing, 'byte')} too many")
    return header, first


def is_snapshot(path: str) -> bool:
    """Whether a file begins as a snapshot does; False for what cannot be read. A pipe is left
    alone: its writer would lose its reader."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return file.read(8) == MAGIC
    except (OSError, ValueError):
        return False


def mapped(path: str) -> Data:
    """The bytes of a file. Raises InputError where it cannot be read.

    Snapshots are replaced, never written over, so a file that is mapped does not change.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise problem(path, f"cannot be read: {reason}") from None
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise problem(path, "is a folder, not a snapshot")
        if not stat.S_ISREG(status.st_mode):
            raise problem(path, "is not a file")
        return mmap(handle, 0, access=ACCESS_READ) if status.st_size else b""
    except OSError as error:
        raise problem(path, f"cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)


def replace_file(path: str, parts: Sequence[bytes | memoryview]) -> None:
    """Write a file under another name and then rename it, so that no reader sees half of it.

    A link stays, and what it points to is replaced. Raises UsageError where that cannot be done.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        raise UsageError(f"{path}: cannot be written: it is not a file")
    unfinished = f"{target}.{secrets.token_hex(4)}.part"
    remove = partial(Path(unfinished).unlink, missing_ok=True)
    try:
        with at_interrupt(remove):
            with open(unfinished, "xb") as out:
                out.writelines(parts)
                out.flush()
                os.fsync(out.fileno())
            os.replace(unfinished, target)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        remove()
