"""Ranges end where the tests end: the constraints hold the first and the last of every range."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
RANGES: dict[str, SpecifierSet] = {
    str(canonicalize_name(requirement.name)): requirement.specifier
    for requirement in map(
        Requirement,
        chain(
            PYPROJECT["build-system"]["requires"],
            PROJECT["dependencies"],
            *PROJECT["optional-dependencies"].values(),
        ),
    )
}
FILES = {path.stem: path for path in (ROOT / "constraints").glob("*.txt")}


def pins(name: str) -> dict[str, Version]:
    found = {}
    for line in FILES[name].read_text().splitlines():
        # Names and versions only: no address, no hash, no marker.
        match = re.fullmatch(r"([a-z0-9-]+)==([0-9a-z.]+)", line)
        assert match is not None, line
        found[match[1]] = Version(match[2])
    return found


def bound(specifiers: SpecifierSet, operator: str) -> Version:
    (found,) = [each.version for each in specifiers if each.operator == operator]
    return Version(found)


def test_each_supported_python_has_its_constraints() -> None:
    python = SpecifierSet(PROJECT["requires-python"])
    minors = [minor for minor in range(50) if f"3.{minor}" in python]
    assert set(FILES) == {"lowest", *(f"python3.{minor}" for minor in minors)}
    script = (ROOT / "run").read_text()
    assert f"oldest_minor={minors[0]} newest_minor={minors[-1]}\n" in script
    name = "Programming Language :: Python :: 3."
    assert [one for one in PROJECT["classifiers"] if one.startswith(name)] == [
        f"{name}{minor}" for minor in minors
    ]


@pytest.mark.parametrize("name", FILES)
def test_constraints_are_within_the_ranges(name: str) -> None:
    found = pins(name)
    assert {one: found.get(one) for one, range_ in RANGES.items() if found[one] not in range_} == {}


@pytest.mark.parametrize("name", RANGES)
def test_a_range_begins_and_ends_with_a_tested_version(name: str) -> None:
    lowest = pins("lowest")[name]
    begin = bound(RANGES[name], ">=").release
    assert lowest.release[: len(begin)] == begin and not any(lowest.release[len(begin) :])
    newest = max(pins(file)[name] for file in FILES)
    end = bound(RANGES[name], "<").release
    *before, last = newest.release[: len(end)]
    assert end == (*before, last + 1)
