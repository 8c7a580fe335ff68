"""The file itself: what goes in comes out, and damage does not."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from kubeverdict.errors import InputError, UsageError
from kubeverdict.snapshots import container
from kubeverdict.snapshots.container import MAGIC, Builder, SnapshotFile, mapped, replace_file

LAYOUT = "layout"
TREE = {"answer": 42}
ARRAYS: dict[str, NDArray[Any]] = {
    "bytes": np.arange(7, dtype=np.uint8),
    "truth": np.array([True, False]),
    "none": np.zeros(0, np.int32),
    "table": np.arange(6, dtype=np.uint64).reshape(3, 2),
    "turned": np.arange(6, dtype=np.int64).reshape(3, 2).T,
    "floats": np.array([0.5, -np.inf]),
    "big-endian": np.arange(3, dtype=">i4"),
}


def packed(arrays: dict[str, NDArray[Any]] = ARRAYS, layout: str = LAYOUT) -> bytes:
    builder = Builder()
    numbers = [builder.add(name, array) for name, array in arrays.items()]
    assert numbers == list(range(len(arrays)))
    return b"".join(builder.parts(TREE, layout))


def opened(data: Any) -> SnapshotFile:
    return SnapshotFile(data, "cluster.kvs", LAYOUT)


def complaint(data: Any) -> str:
    """What is said of a file that cannot be used."""
    with pytest.raises(InputError) as caught:
        opened(data)
    (found,) = caught.value.problems
    assert (found.file, found.line) == ("cluster.kvs", 0)
    return found.message


@pytest.mark.parametrize(
    "data",
    [packed(), bytearray(packed()), memoryview(b"." + packed())[1:]],
    ids=["bytes", "bytearray", "not aligned"],
)
def test_what_goes_in_comes_out(data: Any) -> None:
    found = opened(data)
    assert msgspec.msgpack.decode(found.header.tree) == TREE
    for number, array in enumerate(ARRAYS.values()):
        stored = found.array(number)
        assert stored.shape == array.shape and stored.dtype == array.dtype.newbyteorder("<")
        assert np.array_equal(stored, array)
        assert stored.flags.c_contiguous and stored.flags.aligned
        with pytest.raises(ValueError, match="read-only"):
            stored[...] = 0


def test_arrays_are_aligned_for_vectors(tmp_path: Path) -> None:
    path = tmp_path / "cluster.kvs"
    path.write_bytes(packed())
    found = opened(mapped(str(path)))
    assert all(found.array(number).ctypes.data % 64 == 0 for number in range(len(ARRAYS)))


def test_every_flipped_bit_is_found_or_does_not_matter() -> None:
    data = packed()
    originals = [opened(data).array(number) for number in range(len(ARRAYS))]
    harmless = 0
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            try:
                found = opened(damaged)
                arrays = [found.array(number) for number in range(len(ARRAYS))]
            except InputError:
                continue
            harmless += 1
            assert found.header == opened(data).header
            assert all(map(np.array_equal, arrays, originals))
    # What lies between the arrays, and the four bytes that mean nothing.
    used = sum(array.nbytes for array in ARRAYS.values())
    assert harmless == 8 * (len(data) - used - 20 - struct.unpack_from("<I", data, 12)[0])


def test_every_file_that_is_too_short_or_too_long_is_refused() -> None:
    data = packed()
    assert complaint(b"") == "is empty: not a snapshot"
    for length in range(1, len(data)):
        assert complaint(data[:length]).startswith("is cut short"), length
    assert complaint(data[:-3]) == "is cut short: 3 bytes are missing"
    assert complaint(data + b"..") == "is damaged: 2 bytes too many"


@pytest.mark.parametrize(
    "data",
    [b"x", b"apiVersion: v1\nkind: Pod\n", b"\x89PNG\r\n\x1a\n", bytes(4096), b"\x89KVS\n\x1a\n"],
)
def test_something_else_is_no_snapshot(data: bytes) -> None:
    assert complaint(data) == "is not a snapshot"


def test_a_newer_format_is_refused_whatever_follows() -> None:
    data = bytearray(packed())
    data[8] += 1
    message = complaint(data)
    assert message.startswith("is a snapshot of format 2") and "newer" in message
    assert complaint(data[:24]) == message


def test_another_version_and_another_layout_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    again = "make it again from its manifests"
    message = complaint(packed(layout="other"))
    assert message == f"was written by another build of this version: {again}"
    monkeypatch.setattr(container, "__version__", "9.9.9")
    data = packed()
    monkeypatch.undo()
    assert complaint(data) == f"was written by kubeverdict 9.9.9: {again}"


def test_a_header_that_says_nothing_is_refused() -> None:
    text = msgspec.msgpack.encode({"no": "header"})
    numbers = struct.pack("<II", container.FORMAT, len(text))
    data = MAGIC + numbers + struct.pack("<II", crc32(text, crc32(numbers)), 0) + text
    assert complaint(data).startswith("is damaged")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "empty").touch()
    for name, message in {
        "missing": f"cannot be read: {os.strerror(errno.ENOENT)}",
        ".": "is a folder, not a snapshot",
        "pipe": "is not a file",
        "\0": "cannot be read: ",
        "x" * 300: f"cannot be read: {os.strerror(errno.ENAMETOOLONG)}",
    }.items():
        path = str(tmp_path / name)
        with pytest.raises(InputError) as caught:
            mapped(path)
        # Python says in its own words what is wrong with a null byte.
        found = str(caught.value)
        assert found == f"{path}: {message}" or (name == "\0" and message in found)
    assert complaint(mapped(str(tmp_path / "empty"))) == "is empty: not a snapshot"


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root reads everything, so for as long as this lasts we are not root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_a_file_that_may_not_be_read(nobody: None) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is root's
        path = Path(folder) / "cluster.kvs"
        path.write_bytes(packed())
        path.chmod(0)
        with pytest.raises(InputError, match=f"cannot be read: {os.strerror(errno.EACCES)}"):
            mapped(str(path))


def test_files_are_told_by_how_they_begin(tmp_path: Path) -> None:
    path = tmp_path / "cluster"
    assert not container.is_snapshot(str(path))
    path.write_bytes(b"kind: Pod")
    assert not container.is_snapshot(str(path))
    path.write_bytes(packed()[:9])
    assert container.is_snapshot(str(path))
    assert not container.is_snapshot(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    assert not container.is_snapshot(str(tmp_path / "pipe"))


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "cluster.kvs"
    replace_file(str(path), [b"old"])
    before = mapped(str(path))
    replace_file(str(path), [b"new", memoryview(b" one")])
    # Whoever has the old file open keeps it.
    assert (path.read_bytes(), before[:]) == (b"new one", b"old")
    assert os.listdir(tmp_path) == ["cluster.kvs"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    replace_file(str(link), [b"data"])
    assert link.is_symlink() and target.read_bytes() == b"data"


@pytest.mark.parametrize(
    "name, message",
    [
        ("", "it is not a file"),
        ("pipe", "it is not a file"),
        ("missing/cluster.kvs", os.strerror(errno.ENOENT)),
    ],
)
def test_what_cannot_be_written_is_named(name: str, message: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = str(tmp_path / name)
    with pytest.raises(UsageError) as caught:
        replace_file(path, [b"data"])
    assert str(caught.value) == f"{path}: cannot be written: {message}"
    assert os.listdir(tmp_path) == ["pipe"]


def test_nothing_is_left_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "cluster.kvs"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        replace_file(str(path), [b"new"])
    assert (os.listdir(tmp_path), path.read_bytes()) == (["cluster.kvs"], b"old")
