"""A snapshot whose checksums are right and whose content is not what its types say.

Nobody writes one by mistake; but it must end in an error that names the file, as damage does, and
not in a traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any
from zlib import crc32

import msgspec
import pytest

from kubeverdict import snapshots
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import InputError
from kubeverdict.evaluate.scenarios.workbench import Workbench, workbench
from kubeverdict.snapshots.container import (
    _START,
    FORMAT,
    MAGIC,
    Header,
    SnapshotFile,
    _aligned,
    _header_checksum,
)
from kubeverdict.snapshots.snapshot import _layout
from tests.clusters.generated import random_cluster
from tests.snapshots.comparing import assert_holds

NAME = "cluster.kvs"


class Sample:
    """A snapshot in parts, to be put together otherwise."""

    def __init__(self) -> None:
        self.compiled: CompiledPolicy = compile_cluster(random_cluster(5, pods=8, policies=5))
        self.bench: Workbench = workbench(self.compiled)
        data = snapshots.to_bytes(self.compiled, self.bench, remarks=[("note", "something")])
        self.header: Header = SnapshotFile(data, NAME, _layout()).header
        self.body = data[len(data) - self.header.length :]
        self.tree: Any = msgspec.msgpack.decode(self.header.tree)

    def packed(self, tree: Any = None, body: bytes | None = None, **fields: Any) -> bytes:
        """A file, with every checksum as it has to be."""
        if tree is not None:
            fields["tree"] = msgspec.Raw(msgspec.msgpack.encode(tree))
        header = msgspec.structs.replace(self.header, **fields)
        text = msgspec.msgpack.encode(header)
        start = _START.pack(MAGIC, FORMAT, len(text), _header_checksum(FORMAT, text), 0)
        padding = bytes(_aligned(len(start) + len(text)) - len(start) - len(text))
        return b"".join((start, text, padding, self.body if body is None else body))

    def assert_refused_or_the_same(self, data: bytes) -> bool:
        """Whether it was refused."""
        try:
            assert_holds(snapshots.read_bytes(data, NAME), self.compiled, self.bench)
        except InputError as error:
            (found,) = error.problems
            assert found.file == NAME and found.message
            return True
        return False


@pytest.fixture(scope="module")
def sample() -> Sample:
    made = Sample()
    assert not made.assert_refused_or_the_same(made.packed())
    return made


def other_sections(random: Random, section: Any) -> Iterator[Any]:
    replace = msgspec.structs.replace
    yield replace(section, dtype=random.choice(["<f8", "<i4", "|u1", "|O", "<U4", "nonsense"]))
    yield replace(section, shape=(*section.shape, 1))
    yield replace(section, shape=tuple(size + 1 for size in section.shape))
    yield replace(section, shape=(-1, *section.shape[1:]))
    yield replace(section, length=section.length + 64)
    yield replace(section, offset=section.offset + 1)
    yield replace(section, offset=-64)


def test_arrays_that_are_not_what_is_said_of_them(sample: Sample) -> None:
    random = Random(1)
    refused = 0
    for number, section in enumerate(sample.header.sections):
        # In turn: each takes a whole reading.
        for changed in list(other_sections(random, section))[number % 7 :: 7]:
            if changed.dtype == section.dtype and changed.shape == section.shape:
                start, length = max(changed.offset, 0), max(changed.length, 0)
                found = crc32(sample.body[start : start + length])
                changed = msgspec.structs.replace(changed, checksum=found)
            sections = [*sample.header.sections]
            sections[number] = changed
            shape_only = changed.shape == (*section.shape, 1)
            if shape_only and section.name.startswith(("compiled.", "workbench.")):
                continue  # of arrays by themselves only the type is known
            if changed != section:
                refused += sample.assert_refused_or_the_same(sample.packed(sections=sections))
    assert refused > len(sample.header.sections) // 2


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(tree, list | dict):
        items = enumerate(tree) if isinstance(tree, list) else tree.items()
        for key, part in items:
            yield from leaves(part, (*path, key))
    yield path


def replaced(tree: Any, path: tuple[Any, ...], value: Callable[[Any], Any]) -> Any:
    if not path:
        return value(tree)
    key, *rest = path
    copy = list(tree) if isinstance(tree, list) else dict(tree)
    copy[key] = replaced(tree[key], tuple(rest), value)
    return copy


# No other number of an array: what has the right type and length in its place is a snapshot of
# something else.
ODD: list[Callable[[Any], Any]] = [
    lambda old: None,
    lambda old: -1,
    lambda old: 10**6,
    lambda old: "text",
    lambda old: [],
    lambda old: {},
    lambda old: [old],
]


def test_trees_that_are_not_as_the_types_have_it(sample: Sample) -> None:
    random = Random(2)
    paths = list(leaves(sample.tree))
    refused = 0
    for _ in range(200):
        tree = replaced(sample.tree, random.choice(paths), random.choice(ODD))
        try:
            refused += sample.assert_refused_or_the_same(sample.packed(tree))
        except AssertionError as error:
            # Text of a profile, or a remark, that is another text.
            assert "Traceback" not in str(error)
            refused += 1
    assert refused > 150


def test_content_that_leads_nowhere(sample: Sample) -> None:
    """Every array of places, edges, text and JSON in turn, filled with what it cannot hold."""
    for number, section in enumerate(sample.header.sections):
        if section.name.startswith(("compiled.", "workbench.")) or not section.length:
            continue
        body = bytearray(sample.body)
        body[section.offset : section.offset + section.length] = b"\xff" * section.length
        found = crc32(body[section.offset : section.offset + section.length])
        sections = [*sample.header.sections]
        sections[number] = msgspec.structs.replace(section, checksum=found)
        data = sample.packed(body=bytes(body), sections=sections)
        try:
            sample.assert_refused_or_the_same(data)
        except AssertionError:
            continue  # a number that may be anything is another number
