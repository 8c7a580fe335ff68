"""Paths to chunks of lines, with memory that does not depend on how long a file is."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple, cast

from kubeverdict.errors import InputError, Problem

STDIN = "<stdin>"
SUFFIXES = (".json", ".jsonl", ".log", ".csv", ".txt", ".parquet", ".ndjson")
_CHUNK = 1 << 20
# A line that is longer is not one.
_LONGEST = 4 << 20
_GZIP = b"\x1f\x8b"
_GZIP_BITS = 31  # zlib: with a gzip header


class Chunk(NamedTuple):
    """Whole lines of a file, without their ends. ``first`` is the number of the first of them.
    ``wrong``: why what is here is no line but, at most, the beginning of one."""

    lines: list[bytes]
    first: int
    wrong: str = ""


def files(paths: Sequence[str]) -> list[str]:
    """The files behind paths in order, folders in order of name."""
    found: list[str] = []
    for path in paths:
        if path == "-" or not os.path.isdir(path):
            found.append(path)
            continue
        inside = sorted(
            os.path.join(parent, name)
            for parent, _, names in os.walk(path)
            for name in names
            if not name.startswith(".") and name.removesuffix(".gz").endswith(SUFFIXES)
        )
        if not inside:
            endings = ", ".join(f"*{suffix}" for suffix in SUFFIXES)
            raise InputError([Problem(path, 0, "", f"this folder holds no {endings}")])
        found += inside
    return found


def chunks(stream: BinaryIO, name: str, head: bytes) -> Iterator[Chunk]:
    """The lines of a stream, of which ``head`` has been read. What is compressed is unpacked, as
    far as it goes."""
    first = 1
    rest = b""
    cut = False
    try:
        for data in _pieces(stream, name, head):
            lines = data.split(b"\n")
            if cut:
                # Still the line that was too long: skip it.
                if len(lines) == 1:
                    continue
                lines[0], cut = b"", False
            else:
                lines[0] = rest + lines[0]
            rest = lines.pop()
            if lines:
                yield Chunk(lines, first)
                first += len(lines)
            if len(rest) > _LONGEST:
                yield Chunk([rest[:80]], first, "a line without an end")
                rest, cut = b"", True
    except EOFError as error:
        yield Chunk([], first, str(error))
        return
    if rest:
        yield Chunk([rest], first)


def _pieces(stream: BinaryIO, name: str, head: bytes) -> Iterator[bytes]:
    """Pieces of text, of any length. Raises EOFError where an archive is cut short."""
    unpack = zlib.decompressobj(wbits=_GZIP_BITS) if head.startswith(_GZIP) else None
    data, inside = head, False
    try:
        while data:
            if unpack is None:
                yield data
                data = b""
            while data and unpack is not None:
                yield unpack.decompress(data, _CHUNK)
                data, inside = unpack.unconsumed_tail, not unpack.eof
                if unpack.eof:
                    # Rotated logs are often several gzip members in one file.
                    data = unpack.unused_data
                    unpack = zlib.decompressobj(wbits=_GZIP_BITS)
            data = more(stream)
    except (OSError, zlib.error) as error:
        raise InputError([Problem(name, 0, "", f"cannot be read: {error}")]) from None
    if inside and unpack is not None:
        yield unpack.flush()
        raise EOFError("ends in the middle of what gzip packed")


def more(stream: BinaryIO) -> bytes:
    """The next piece, of a pipe what is available; empty at the end."""
    read = getattr(stream, "read1", stream.read)
    return cast(bytes, read(_CHUNK))
