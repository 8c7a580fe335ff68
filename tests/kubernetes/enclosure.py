"""Where a cluster runs: namespaces of the kernel that take everything in them along when they end.

The first process of a PID namespace is its anchor: when that process ends, the kernel ends every
other one in the namespace, with it the mounts and links of the namespaces that only they had. So
nothing has to be recorded while a cluster is built up, and it can be torn down at any moment,
however its builder ended.

Whether a cluster is up, a lock on a file of its folder tells: the anchor holds it. The anchor is
found again by its environment, which names the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.kubernetes import cgroups
from tests.programs.build import Unavailable

_FOLDER = "KUBEVERDICT_CLUSTER"
_ROOM = "KUBEVERDICT_ROOM"
_MAIN = "main"
_LOCK = "lock"
# Made as a file when a cluster stays without its maker.
_STAYS = "stays"
_IDLE = ("sleep", "infinity")
# Ends when its maker's end of a pipe closes, unless the maker wrote a line before. Not a shell: one
# would no longer ignore SIGCHLD.
_BOUND = (
    *(sys.executable, "-I", "-S", "-c"),
    "import signal, sys; sys.stdin.readline() and signal.sigwait([])",
)
# What this process started, by folder; first the anchor's, whose input holds the cluster.
_started: dict[Path, list[subprocess.Popen[str]]] = {}
_SECONDS_TO_END = 30.0
_SECONDS_FOR_ANOTHER = 5.0


class Room:
    """Namespaces of a cluster, held by a process that is idle."""

    def __init__(self, folder: Path, holder: int, network: Path | None = None) -> None:
        self.folder = folder
        self.holder = holder
        self._network = network

    def with_network(self, file: Path) -> Room:
        """This room, but on the network that ``file`` stands for."""
        return Room(self.folder, self.holder, file)

    def release(self) -> None:
        """Let a cluster stay when its maker ends. To be called by the maker."""
        bond = _started[self.folder][0].stdin
        assert bond is not None
        (self.folder / _STAYS).touch()
        with bond:
            bond.write("stay\n")

    def command(self, arguments: Sequence[str]) -> list[str]:
        """A command line that runs ``arguments`` in here."""
        elsewhere = [f"--net={self._network}"] if self._network else []
        return ["nsenter", "--target", str(self.holder), "--all", *elsewhere, "--", *arguments]

    def on_network(self, arguments: Sequence[str]) -> list[str]:
        """A command line that runs ``arguments`` on this network, and elsewhere as its caller."""
        return ["nsenter", f"--net={self.network}", "--", *arguments]

    @property
    def network(self) -> Path:
        """The file that stands for the network namespace."""
        return self._network or Path(f"/proc/{self.holder}/ns/net")

    def run(self, *arguments: str, input: str | None = None) -> str:
        """Run a command in here to its end; returns its output. Raises RuntimeError with the
        command's own message where it fails."""
        return _run(self.command(arguments), input)

    def run_on_network(self, *arguments: str, input: str | None = None) -> str:
        """The same on this network, and elsewhere as the caller."""
        return _run(self.on_network(arguments), input)

    def start(self, name: str, arguments: Sequence[str]) -> Daemon:
        """Start a program that stays; what it says goes to ``log/NAME`` of the cluster's folder."""
        log = self.folder / "log" / name
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Not ended by a Ctrl-C that is meant for the caller.
                start_new_session=True,
                text=True,
            )
        _started.setdefault(self.folder, []).append(process)
        return Daemon(name, log, process)

    def add(self, name: str) -> Room:
        """A room inside: networks and mounts of its own, among the processes of the cluster."""
        idle = ["unshare", "--mount", "--net", *_marked(self.folder, name, _IDLE)]
        process = subprocess.Popen(
            self.command(idle),
            stdin=subprocess.DEVNULL,
            # Whoever reads what the caller says would wait for the end of the cluster.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        _started.setdefault(self.folder, []).append(process)
        return _wait_for(self.folder, name)


def _run(command: list[str], input: str | None) -> str:
    done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=120)
    if done.returncode:
        message = (done.stderr or done.stdout).strip()[-2000:]
        wanted = " ".join(command[command.index("--") + 1 :])
        raise RuntimeError(f"{wanted}: status {done.returncode}: {message}")
    return done.stdout


class Daemon:
    """A program that runs in a room."""

    def __init__(self, name: str, log: Path, process: subprocess.Popen[str]) -> None:
        self.name = name
        self.log = log
        self._process = process

    def check(self) -> None:
        """Raises RuntimeError, with the end of its log, where the program has ended."""
        status = self._process.poll()
        if status is not None:
            last = self.log.read_text("utf-8", "replace")[-3000:].strip()
            raise RuntimeError(
                f"{self.name} ended with status {status}; the end of its log:\n{last}"
            )

    @property
    def pids(self) -> list[int]:
        """The program's process, as the caller sees it; none where it has ended."""
        self._process.poll()
        children = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return [int(pid) for child in children for pid in child.read_text().split()]

    def pause(self) -> None:
        """Have it stand still until :meth:`resume`."""
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        # What entered the room for it stops and goes on together with it.
        for pid in (self._process.pid, *self.pids):
            os.kill(pid, signal.SIGCONT)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, as an administrator would; what it started goes on."""
        for pid in self.pids:
            os.kill(pid, how)
        self._process.wait(_SECONDS_TO_END)


def begin(folder: Path, *, own_network: bool) -> Room:
    """Make the namespaces of a cluster that lives in ``folder``; what an earlier one left there is
    removed. It ends with the calling process, unless that releases it.

    Raises FileExistsError where the folder's cluster is up or being made, and Unavailable where
    namespaces cannot be made.
    """
    began = time.monotonic()
    while (lock := _lock(folder)) is None:
        # One whose maker was killed is about to end.
        if (folder / _STAYS).exists() or time.monotonic() - began > _SECONDS_FOR_ANOTHER:
            raise FileExistsError(f"a cluster is up in {folder}")
        time.sleep(0.05)
    with lock:
        _forget(folder)
        _empty(folder)
        flags = ["--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        if own_network:
            flags.append("--net")
        if os.geteuid() != 0:
            flags += ["--user", "--map-root-user"]
        process = subprocess.Popen(
            ["unshare", *flags, *_marked(folder, _MAIN, _BOUND)],
            pass_fds=[lock.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        _started[folder] = [process]
        assert process.stderr is not None
        with process.stderr:
            try:
                return _wait_for(folder, _MAIN, process)
            except BaseException:
                process.kill()
                _forget(folder)
                _remove(folder)
                raise


def find(folder: Path, room: str = _MAIN) -> Room | None:
    """A room of the cluster that is up in ``folder``, or None."""
    marks = {f"{_FOLDER}={folder}".encode(), f"{_ROOM}={room}".encode()}
    for process in Path("/proc").glob("[0-9]*"):
        # Processes end while one looks at them, and other users' are none of our business.
        with contextlib.suppress(OSError):
            if marks <= set((process / "environ").read_bytes().split(b"\0")):
                return Room(folder, int(process.name))
    return None


def end(folder: Path) -> bool:
    """Take down the cluster of ``folder``, whole or half made, and remove the folder.

    Returns whether there was anything. Raises TimeoutError where it does not end.
    """
    if not folder.exists():
        _forget(folder)
        return False
    began = time.monotonic()
    while (lock := _lock(folder)) is None:
        # The anchor may be about to start, or its command about to see that it is gone.
        if anchor := find(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(anchor.holder, signal.SIGKILL)
        if time.monotonic() - began > _SECONDS_TO_END:
            raise TimeoutError(f"the cluster in {folder} does not end")
        time.sleep(0.05)
    with lock:
        _remove(folder)
    _forget(folder)
    return True


def _forget(folder: Path) -> None:
    """Collect the processes of this one that ended together with a cluster."""
    for process in _started.pop(folder, ()):
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def clean(parent: Path, prefix: str) -> None:
    """Remove the folders of clusters that ended together with their makers."""
    for folder in parent.glob(f"{prefix}*"):
        if lock := _lock(folder):
            with lock:
                _remove(folder)


def _marked(folder: Path, room: str, idle: Sequence[str]) -> list[str]:
    # The first process of a PID namespace inherits the others' children. Those of a process that
    # ignores SIGCHLD are reaped by the kernel.
    return ["env", "--ignore-signal=CHLD", f"{_FOLDER}={folder}", f"{_ROOM}={room}", *idle]


def _wait_for(folder: Path, name: str, maker: subprocess.Popen[str] | None = None) -> Room:
    deadline = time.monotonic() + _SECONDS_TO_END
    while time.monotonic() < deadline:
        if room := find(folder, name):
            return room
        if maker is not None and maker.poll() is not None:
            assert maker.stderr is not None
            message = maker.stderr.read().strip() or "no message"
            raise Unavailable(f"namespaces for a cluster cannot be made here: {message}")
        time.sleep(0.01)
    raise TimeoutError(f"{name}: no namespaces after {_SECONDS_TO_END:.0f} s")


class _Lock(contextlib.AbstractContextManager["_Lock"]):
    """An exclusive lock; processes that inherit its descriptor hold it as well."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _lock(folder: Path) -> _Lock | None:
    """The folder's lock, and the folder made for it; None where somebody holds it."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        # Whoever had it may have removed the folder meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == (folder / _LOCK).stat().st_ino:
                return _Lock(descriptor)
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Remove the folder of a cluster that is down; the caller has its lock."""
    _empty(folder)
    (folder / _LOCK).unlink()
    folder.rmdir()


def _empty(folder: Path) -> None:
    cgroups.remove(folder)
    for path in folder.iterdir():
        if path.name == _LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
