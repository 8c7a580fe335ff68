"""What nobody foresaw ends with status 2 and a sentence; status 1 means findings only."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from kubeverdict.command.failures import BROKEN_PIPE, exit_with, write_out
from tests.cli.running import SHOP, Done, command, run

PROGRAM = {
    "kubeverdict": command(),
    "kubeverdict-agent": [sys.executable, "-m", "kubeverdict_agent"],
}
TO_STDOUT = [
    ("kubeverdict", "list", "-f", str(SHOP)),
    ("kubeverdict", "--help"),
    ("kubeverdict", "--version"),
    ("kubeverdict-agent", "check", "--bpffs", "/nowhere"),
    ("kubeverdict-agent", "--help"),
]
in_every_way = pytest.mark.parametrize("arguments", TO_STDOUT, ids=" ".join)


def through_shell(redirection: str, program: str, *arguments: str) -> Done:
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *PROGRAM[program], *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


@in_every_way
def test_a_full_disk_behind_standard_output(arguments: tuple[str, ...]) -> None:
    done = through_shell("> /dev/full", *arguments)
    assert done.status == 2 and "No space left on device" in done.err
    *_, last = done.err.splitlines()
    assert last.startswith(f"error: {arguments[0]}") and "KUBEVERDICT_DEBUG=1" in last


@in_every_way
def test_standard_output_that_is_closed(arguments: tuple[str, ...]) -> None:
    done = through_shell(">&-", *arguments)
    assert done.status == 2 and "Bad file descriptor" in done.err


@in_every_way
def test_a_reader_that_goes_away_is_no_error(arguments: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [*PROGRAM[arguments[0]], *arguments[1:]], stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, b"")


def test_standard_input_that_is_closed() -> None:
    asked = ("explain", "--from", "shop/cart", "--to", "shop/cart", "--port", "80")
    done = through_shell("<&-", "kubeverdict", *asked, "-f", "-")
    assert done.status == 2
    assert done.err.startswith("<stdin>: cannot be read: Bad file descriptor\n")
    flows = ("replay", "-f", str(SHOP), "--flows", "-")
    done = through_shell("<&-", "kubeverdict", *flows)
    assert (done.status, done.err.splitlines()[-1]) == (2, "error: 1 error in the input")
    # Who does not read it does not miss it.
    assert through_shell("<&-", "kubeverdict", "list", "-f", str(SHOP)).status == 0


def test_standard_error_that_cannot_be_written_leaves_the_status() -> None:
    for redirection in ("2>&-", "2>/dev/full"):
        assert through_shell(redirection, "kubeverdict", "list", "-f", "/nowhere").status == 2
    assert through_shell("2>&-", "kubeverdict", "list", "-f", str(SHOP), "--cni", "calico").out


def no_room() -> None:
    """Files stay shorter than a snapshot, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.parametrize(
    "arguments",
    [
        ("snapshot", "-f", SHOP, "-o", "kept.kvs"),
        ("bulk", "-f", SHOP, "--delete-each", "--resume", "kept.jsonl"),
        ("recommend", "-f", SHOP, "--flows", SHOP.parent / "shop-flows.jsonl", "--out", "kept"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk_behind_a_file(tmp_path: Path, arguments: tuple[object, ...]) -> None:
    (tmp_path / "roomy").mkdir()
    run(*arguments, folder=tmp_path / "roomy")  # the cache of kernels must need no room below
    done = subprocess.run(
        [*command(), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        preexec_fn=no_room,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "kept" in done.stderr and "File too large" in done.stderr
    assert "KUBEVERDICT_DEBUG" not in done.stderr, "this is foreseen"


@pytest.mark.parametrize(
    "arguments",
    [
        ("snapshot", "-f", SHOP, "-o", "folder"),
        ("snapshot", "-f", SHOP, "-o", "nowhere/kept.kvs"),
        ("snapshot", "-f", SHOP, "-o", ""),
        ("bulk", "-f", SHOP, "--delete-each", "--resume", "folder"),
        ("bulk", "-f", SHOP, "--delete-each", "--resume", "nowhere/kept.jsonl"),
        ("recommend", "-f", SHOP, "--flows", SHOP.parent / "shop-flows.jsonl", "--out", "file"),
        ("recommend", "-f", SHOP, "--flows", SHOP.parent / "shop-flows.jsonl", "--out", "file/a"),
    ],
)
def test_output_paths_that_cannot_be_written(tmp_path: Path, arguments: tuple[object, ...]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    done = run(*arguments, folder=tmp_path)
    assert done.status == 2 and done.out == ""
    assert "KUBEVERDICT_DEBUG" not in done.err, done.err


def ended(capsys: pytest.CaptureFixture[str], act: Callable[[], int]) -> Done:
    with pytest.raises(SystemExit) as end:
        exit_with("kubeverdict", act)
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return Done(end.value.code, out, err)


def raising(error: Exception) -> Callable[[], int]:
    def act() -> int:
        raise error

    return act


def too_deep() -> int:
    return too_deep() + 1


REPORT = "this is a fault of the program, please report it; KUBEVERDICT_DEBUG=1 shows where"
WHERE = "KUBEVERDICT_DEBUG=1 shows where"


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (raising(KeyError("x")), f"unexpected KeyError: 'x' ({REPORT})"),
        (raising(AssertionError()), f"unexpected AssertionError ({REPORT})"),
        (raising(MemoryError()), f"there is not enough memory ({WHERE})"),
        (too_deep, f"the input is nested more deeply than can be followed ({WHERE})"),
        (raising(OSError(28, "No space", b"a.yaml")), f"a.yaml: No space ({WHERE})"),
        (raising(OSError("odd")), f"odd ({WHERE})"),
        (
            raising(ModuleNotFoundError("No module", name="numba.core")),
            f"the Python package numba is not installed ({WHERE})",
        ),
    ],
)
def test_whatever_is_raised_is_a_sentence(
    act: Callable[[], int],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["kubeverdict", "list", "-f", "a.yaml"])
    monkeypatch.delenv("KUBEVERDICT_DEBUG", raising=False)
    done = ended(capsys, act)
    assert done == Done(2, "", f"error: kubeverdict list: {sentence}\n")
    monkeypatch.setenv("KUBEVERDICT_DEBUG", "1")
    told = ended(capsys, act).err
    assert told.startswith("Traceback") and told.endswith(done.err)


def test_a_status_is_handed_on(capsys: pytest.CaptureFixture[str]) -> None:
    def act() -> int:
        write_out("one finding\n")
        return 1

    assert ended(capsys, act) == Done(1, "one finding\n", "")


def _installed_commands() -> dict[str, str]:
    """Each command that an installation puts on the path, and the function that it calls."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    commands: dict[str, str] = project["project"]["scripts"]
    return commands


def test_a_library_that_is_missing_or_broken(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('gone', name='click')")
    modules = [["-m", module] for module in ("kubeverdict", "kubeverdict_agent")]
    installed = []
    for name, target in _installed_commands().items():
        module, _, function = target.partition(":")
        call = f"import sys; sys.argv[0] = {name!r}; from {module} import {function} as main"
        installed.append(["-c", f"{call}; sys.exit(main())"])
    assert len(installed) == 3
    for started in modules + installed:
        done = subprocess.run(
            [sys.executable, *started, "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
            check=False,
        )
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "the Python package click is not installed" in done.stderr
