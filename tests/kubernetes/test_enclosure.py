"""What a cluster runs in: nothing is left of it, however it ends. Needs no built programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kubernetes import enclosure
from tests.kubernetes.enclosure import Room
from tests.programs.build import Unavailable

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes networks")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """The namespaces of a cluster, with a network of its own, which the test takes down."""
    return enclosure.begin(tmp_path / "cluster", own_network=True)


def processes(folder: Path) -> list[int]:
    """Those that have something of ``folder`` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def on_the_host(mark: str) -> bool:
    """Whether a mount or a link of the machine has ``mark`` in its name."""
    return mark in Path("/proc/mounts").read_text() or mark in os.listdir("/sys/class/net")


def until_gone(folder: Path) -> bool:
    deadline = time.monotonic() + 20
    while enclosure.find(folder) is not None or processes(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@needs_root
def test_everything_in_it_ends_with_it(room: Room) -> None:
    # Other tests mount and add links on this machine at the same time: ours have a name.
    mark = f"kv{os.getpid()}"
    node = room.add("node")
    room.run("ip", "link", "add", mark, "type", "bridge")
    node.run("mount", "-t", "tmpfs", mark, "/mnt")
    assert mark in room.run("ip", "-brief", "link") and mark in node.run("cat", "/proc/mounts")
    # Its parent ends at once, so that the first process of the namespace inherits it.
    marked = f"import time; {str(room.folder)!r}; time.sleep(1000)"
    child = node.start("child", ["setsid", "--fork", sys.executable, "-c", marked])
    deadline = time.monotonic() + 20
    while not any(
        Path(f"/proc/{pid}/comm").read_text() == "python\n" for pid in processes(room.folder)
    ):
        assert time.monotonic() < deadline, child.log.read_text()
        time.sleep(0.05)
    assert not on_the_host(mark) and not on_the_host(str(room.folder))

    assert enclosure.end(room.folder)
    assert until_gone(room.folder)
    assert not room.folder.exists()
    assert not on_the_host(mark) and not on_the_host(str(room.folder))
    assert not enclosure.end(room.folder)


@needs_root
def test_rooms_are_found_again(room: Room) -> None:
    node = room.add("node")
    assert enclosure.find(room.folder, "node").holder == node.holder  # type: ignore[union-attr]
    assert enclosure.find(room.folder, "other") is None
    assert enclosure.find(room.folder.parent) is None
    own = {os.readlink(f"/proc/{holder}/ns/net") for holder in (os.getpid(), room.holder)}
    assert len(own) == 2 and os.readlink(node.network) not in own
    enclosure.end(room.folder)


def test_a_program_that_ends_says_why(tmp_path: Path) -> None:
    room = enclosure.begin(tmp_path / "cluster", own_network=False)
    try:
        daemon = room.start("shell", ["sh", "-c", "echo no such luck; exit 7"])
        with pytest.raises(RuntimeError, match=r"shell ended with status 7.*\nno such luck"):
            for _ in range(200):
                daemon.check()
                time.sleep(0.05)
    finally:
        enclosure.end(room.folder)


@pytest.mark.parametrize("released", [False, True])
def test_a_maker_that_is_killed(tmp_path: Path, released: bool) -> None:
    """Its cluster ends with it; one that was released is there until it is taken down."""
    folder = tmp_path / "cluster"
    code = (
        "import sys, time; from pathlib import Path; from tests.kubernetes import enclosure\n"
        "room = enclosure.begin(Path(sys.argv[1]), own_network=False)\n"
        "(room.folder / 'file').touch()\n"
        "room.start('sleep', ['sleep', '1000'])\n"
        f"if {released}: room.release()\n"
        "print('up', flush=True); time.sleep(1000)"
    )
    maker = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    with maker:
        assert maker.stdout is not None and maker.stdout.readline() == b"up\n"
        maker.send_signal(signal.SIGKILL)
    if released:
        assert enclosure.find(folder) is not None
        enclosure.clean(tmp_path, "clust")
        assert folder.exists(), "a cluster that is up was removed"
        assert enclosure.end(folder)
    else:
        assert until_gone(folder)
        enclosure.clean(tmp_path, "clust")
    assert until_gone(folder)
    assert not folder.exists()


@pytest.mark.parametrize("released", [False, True])
def test_the_next_one_after_a_killed_maker(tmp_path: Path, released: bool) -> None:
    """begins anew where the first was not finished, and at once."""
    folder = tmp_path / "cluster"
    room = enclosure.begin(folder, own_network=False)
    (folder / "file").touch()
    if released:
        room.release()
        with pytest.raises(FileExistsError, match="a cluster is up in"):
            enclosure.begin(folder, own_network=False)
    else:
        # As when its maker is killed: nothing is there to take it down.
        os.kill(room.holder, signal.SIGKILL)
        enclosure.begin(folder, own_network=False)
        assert not (folder / "file").exists()
    assert enclosure.end(folder)


def test_what_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    fake = tools / "unshare"
    fake.write_text("#!/bin/sh\necho 'unshare: Operation not permitted' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with pytest.raises(Unavailable, match="cannot be made here: unshare: Operation not permitted"):
        enclosure.begin(tmp_path / "cluster", own_network=False)


@needs_root
@pytest.mark.parametrize("stays", [False, True])
def test_processes_whose_parents_end_are_reaped(room: Room, stays: bool) -> None:
    if stays:
        room.release()
    try:
        room.run("sh", "-c", "setsid --fork true; setsid --fork true")
        deadline = time.monotonic() + 10
        while room.run("ps", "-e", "-o", "stat=,comm=").count("true"):
            assert time.monotonic() < deadline, room.run("ps", "-e", "-o", "pid,ppid,stat,comm")
            time.sleep(0.05)
    finally:
        enclosure.end(room.folder)
