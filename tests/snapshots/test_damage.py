"""Damage to a snapshot ends in an error that names it, never in another verdict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from kubeverdict import snapshots
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import InputError
from kubeverdict.evaluate.pairs import count_pairs
from kubeverdict.evaluate.scenarios.workbench import Workbench, workbench
from kubeverdict.snapshots.container import Section, SnapshotFile
from kubeverdict.snapshots.snapshot import _layout
from tests.clusters.generated import random_cluster
from tests.snapshots.comparing import assert_holds

NAME = "cluster.kvs"


class Sample:
    """A snapshot, what is in it, and where."""

    def __init__(self) -> None:
        self.compiled: CompiledPolicy = compile_cluster(random_cluster(2, pods=12, policies=6))
        self.bench: Workbench = workbench(self.compiled)
        remarks = [("warning", "something")]
        self.data = snapshots.to_bytes(self.compiled, self.bench, remarks=remarks)
        header = SnapshotFile(self.data, NAME, _layout()).header
        self.sections: list[Section] = header.sections
        self.first = len(self.data) - header.length

    def assert_unharmed(self, data: bytes | bytearray) -> None:
        """Read everything."""
        assert_holds(snapshots.read_bytes(bytes(data), NAME), self.compiled, self.bench)

    def refused(self, data: bytes | bytearray) -> str:
        with pytest.raises(InputError) as caught:
            self.assert_unharmed(data)
        (found,) = caught.value.problems
        assert found.file == NAME
        return found.message

    def flipped(self, place: int) -> bytearray:
        damaged = bytearray(self.data)
        damaged[place] ^= Random(place).randint(1, 255)
        return damaged


@pytest.fixture(scope="module")
def sample() -> Sample:
    made = Sample()
    made.assert_unharmed(made.data)
    return made


def borders(sample: Sample) -> Iterator[int]:
    for section in sample.sections:
        yield sample.first + section.offset
        yield sample.first + section.offset + section.length


def test_a_cut_at_the_border_of_any_section(sample: Sample) -> None:
    for place in {*borders(sample), sample.first} - {len(sample.data)}:
        assert sample.refused(sample.data[:place]).startswith("is cut short"), place


def test_a_cut_anywhere(sample: Sample) -> None:
    random = Random(1)
    places = [*range(1, 200), *(random.randrange(1, len(sample.data)) for _ in range(500))]
    for place in places:
        assert sample.refused(sample.data[:place]).startswith("is cut short"), place


def test_any_byte_of_the_header(sample: Sample) -> None:
    """Exhaustive: a header says where everything is."""
    for place in range(sample.first):
        data = sample.flipped(place)
        try:
            found = snapshots.read_bytes(bytes(data), NAME)
        except InputError:
            continue
        # Four bytes that mean nothing, and what fills the header up to the first array.
        header = int.from_bytes(sample.data[12:16], "little")
        assert 20 <= place < 24 or place >= 24 + header, place
        assert found.digest == snapshots.read_bytes(sample.data).digest


def test_a_byte_at_the_border_of_any_section(sample: Sample) -> None:
    for section in sample.sections:
        if section.length:
            first = sample.first + section.offset
            for place in {first, first + section.length // 2, first + section.length - 1}:
                message = sample.refused(sample.flipped(place))
                assert message == f"is damaged: {section.name} does not match its checksum"


def test_a_byte_anywhere(sample: Sample) -> None:
    random = Random(2)
    for _ in range(150):
        place = random.randrange(sample.first, len(sample.data))
        try:
            sample.assert_unharmed(sample.flipped(place))
        except InputError as error:
            assert "is damaged" in str(error)
        else:
            offset = place - sample.first
            assert not any(
                section.offset <= offset < section.offset + section.length
                for section in sample.sections
            )


def test_two_sections_that_have_changed_places(sample: Sample) -> None:
    one, other = sorted(sample.sections, key=lambda section: -section.length)[1:3]
    data = bytearray(sample.data)
    length = min(one.length, other.length)
    parts = [
        slice(sample.first + each.offset, sample.first + each.offset + length)
        for each in (one, other)
    ]
    data[parts[0]], data[parts[1]] = data[parts[1]], data[parts[0]]
    assert "does not match its checksum" in sample.refused(data)


def test_a_header_of_another_snapshot(sample: Sample) -> None:
    other = snapshots.to_bytes(compile_cluster(random_cluster(3, pods=12, policies=6)))
    data = bytearray(sample.data)
    data[: sample.first] = other[: sample.first]
    sample.refused(data)


def test_damage_to_what_nobody_asks_for_is_found_when_somebody_does(sample: Sample) -> None:
    (names,) = (section for section in sample.sections if section.name == "Pod.name")
    found = snapshots.read_bytes(bytes(sample.flipped(sample.first + names.offset)), NAME)
    assert count_pairs(found.compiled) == count_pairs(sample.compiled)
    for _ in range(2):
        with pytest.raises(InputError, match=r"cluster\.kvs: is damaged: Pod\.name"):
            list(found.compiled.pods)
        with pytest.raises(InputError, match=r"cluster\.kvs: is damaged: Pod\.name"):
            found.compiled.pods[0]


def test_a_damaged_workbench_leaves_the_rest_usable(sample: Sample) -> None:
    part = next(
        one for one in sample.sections if one.name.startswith("workbench.overlay.planes[0]")
    )
    found = snapshots.read_bytes(bytes(sample.flipped(sample.first + part.offset)), NAME)
    assert count_pairs(found.compiled) == count_pairs(sample.compiled)
    for _ in range(2):
        with pytest.raises(InputError, match=r"workbench\.overlay\.planes"):
            _ = found.workbench


def test_the_file_is_named_as_the_user_named_it(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    snapshots.write("fine.kvs", sample.compiled, sample.bench)
    found = snapshots.read("./fine.kvs")
    assert found.path == "./fine.kvs"
    Path("bad.kvs").write_bytes(Path("fine.kvs").read_bytes()[:-1])
    with pytest.raises(InputError, match=r"^\./bad\.kvs: is cut short: 1 byte is missing$"):
        snapshots.read("./bad.kvs")
