"""The C structs and their mirror in Python, held against each other by the compiler."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import bpffs
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.datapath.compiling import compile_programs, compile_source
from kubeverdict_agent.datapath.maps import Maps, open_maps
from kubeverdict_agent.errors import DatapathError
from tests.agent.programs import needs_root

pytestmark = needs_root

PROGRAM = "int nothing(struct __sk_buff *skb) { return 0; }\n"


@pytest.fixture
def maps() -> Iterator[Maps]:
    with bpffs() as folder:
        maps = open_maps(folder / "layout", 64)
        yield maps
        maps.close()


def check(maps: Maps, assertions: str) -> None:
    for fd in compile_source(
        f'#include "layout.h"\n{assertions}{PROGRAM}', maps.folder, ("nothing",)
    ):
        os.close(fd)


def test_every_struct_and_number_is_the_same(maps: Maps) -> None:
    check(maps, layout.assertions())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (f"sizeof(struct event) == {layout.EVENT.itemsize}", "sizeof(struct event) == 80"),
        ("(struct local, ipv4) == 8", "(struct local, ipv4) == 12"),
        ("MODE_ENFORCE == 2u", "MODE_ENFORCE == 3u"),
    ],
)
def test_a_difference_does_not_compile(maps: Maps, right: str, wrong: str) -> None:
    assertions = layout.assertions()
    assert right in assertions
    with pytest.raises(DatapathError, match=re.escape(wrong)):
        check(maps, assertions.replace(right, wrong))


def test_the_verifier_takes_the_programs(maps: Maps) -> None:
    """With room to spare: after a million steps it gives up, and other kernels take more."""
    for fd in compile_programs(maps.folder):
        (steps,) = re.findall(
            r"verified_insns:\s+(\d+)", Path(f"/proc/self/fdinfo/{fd}").read_text()
        )
        assert int(steps) < 500_000
        os.close(fd)


def test_what_the_compiler_says_reaches_the_operator(maps: Maps) -> None:
    with pytest.raises(DatapathError, match=r"program\.c:3.*missing"):
        compile_source(
            '#include "layout.h"\n\nint f(void *skb) { return missing; }', maps.folder, ("f",)
        )
