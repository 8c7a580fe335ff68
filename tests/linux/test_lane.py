"""The lane with other kernels: what it starts, and how it ends."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.linux import debian, guest
from tests.linux.__main__ import CHOSEN, ROOT, VERSIONS, split
from tests.linux.debian import DebianKernel, NotToBeHad
from tests.linux.guest import GuestFailed
from tests.linux.ramdisk import BUSYBOX, archive, is_dynamic
from tests.programs.build import Unavailable


@pytest.mark.parametrize(
    ("arguments", "versions", "rest"),
    [
        ([], list(VERSIONS), list(CHOSEN)),
        (["6.12"], ["6.12"], list(CHOSEN)),
        (["6.1", "5.10", "-k", "sctp"], ["6.1", "5.10"], [*CHOSEN, "-k", "sctp"]),
        (["tests/agent", "-x"], list(VERSIONS), ["tests/agent", "-x"]),
        (["6.1", "tests/conftest.py::test_x"], ["6.1"], ["tests/conftest.py::test_x"]),
    ],
)
def test_versions_come_first_and_tests_are_chosen_where_none_are_named(
    arguments: list[str], versions: list[str], rest: list[str]
) -> None:
    assert split(arguments) == (versions, rest)


def test_chosen_tests_are_there() -> None:
    """A test that was renamed would end each run of the lane with a message of pytest's."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *CHOSEN],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0, listed.stdout + listed.stderr


def test_the_archive_holds_what_was_put_in() -> None:
    files = [
        ("bin", stat.S_IFDIR | 0o755, b""),
        ("bin/busybox", stat.S_IFREG | 0o755, b"\x7fELF" + b"x" * 1001),
        ("init", stat.S_IFREG | 0o700, b"#!/bin/sh\n"),
    ]
    data = archive(files)
    assert len(data) % 4 == 0
    assert list(entries(data)) == [*files, ("TRAILER!!!", 0, b"")]


def entries(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    at = 0
    while at < len(data):
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, named = numbers[1], numbers[6], numbers[11]
        name = data[at + 110 : at + 110 + named]
        assert name.endswith(b"\0")
        start = at + 110 + named + -(110 + named) % 4
        yield name[:-1].decode(), mode, data[start : start + size]
        at = start + size + -size % 4


def test_programs_that_need_libraries_are_told_from_others() -> None:
    if not BUSYBOX.exists():
        raise Unavailable(f"{BUSYBOX} is not installed")
    assert not is_dynamic(BUSYBOX.read_bytes())
    assert is_dynamic(Path("/bin/bash").read_bytes())


def test_what_a_guest_says_is_passed_on_with_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    assert guest.watch(["sh", "-c", "echo one; sleep 0.2; echo two; exit 7"], 5.0) == (7, False)
    assert capfd.readouterr().out == "one\ntwo\n"


def test_a_guest_that_says_nothing_is_ended(capfd: pytest.CaptureFixture[str]) -> None:
    status, hung = guest.watch(["sh", "-c", "echo one; exec sleep 60"], 0.5)
    assert status < 0 and hung and capfd.readouterr().out == "one\n"


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotToBeHad, match="apt-get is not installed"):
        debian.fetch("6.1", tmp_path)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> DebianKernel:
    try:
        return debian.fetch("6.1", tmp_path_factory.mktemp("kernel"))
    except NotToBeHad as error:
        raise Unavailable(str(error)) from None


def run(kernel: DebianKernel, script: str, silence: float = 300.0) -> int:
    try:
        return guest.run(kernel, ["bash", "-c", script], ROOT, {"SAID": "well"}, silence)
    except NotToBeHad as error:
        raise Unavailable(str(error)) from None


@pytest.mark.long
def test_a_command_runs_under_another_kernel_and_cannot_change_this_machine(
    kernel: DebianKernel, capfd: pytest.CaptureFixture[str]
) -> None:
    mark = ROOT / "made-by-a-guest"
    assert run(kernel, f"uname -r; echo $SAID; echo x >{mark} && test -s {mark} && exit 5") == 5
    assert capfd.readouterr().out.split() == [kernel.release, "well"]
    assert not mark.exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo begun; sleep 1000", "said nothing for 90 s"),
        ("echo c >/proc/sysrq-trigger", "status 0.*Kernel panic"),
    ],
)
def test_a_guest_that_hangs_or_crashes_has_failed(
    kernel: DebianKernel, script: str, told: str
) -> None:
    with pytest.raises(GuestFailed, match=f"(?s)Linux {kernel.release}.*{told}"):
        run(kernel, script, 90.0)
