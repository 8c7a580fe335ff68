"""Network namespaces: made, entered, removed."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TypeVar

_FOLDER = "/var/run/netns"
_CLONE_NEWNET = 0x40000000
_OURS = re.compile(r"kv(\d+)-")

_Result = TypeVar("_Result")


def missing() -> str | None:
    """Why there can be no namespaces here, or None where there can."""
    if sys.platform != "linux":
        return "network namespaces exist on Linux only"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if find_spec("pyroute2") is None:
        return "pyroute2 is not installed"
    try:
        _in_thread(_unshare)
    except OSError as error:
        return f"no network namespace can be made here: {error.strerror}"
    return None


def create(name: str) -> None:
    """Make a namespace that ``ip netns`` and pyroute2 know by ``name``."""
    from pyroute2 import netns

    def make() -> None:
        _unshare()
        # The first one turns the folder into a mount point. Two processes that do so at the same
        # time would hide each other's namespaces.
        with _locked_folder():
            netns.attach(name, threading.get_native_id())

    _in_thread(make)


def remove(name: str) -> None:
    """Remove a namespace; one that is not there is fine."""
    from pyroute2 import netns

    with contextlib.suppress(FileNotFoundError):
        netns.remove(name)


def inside(name: str, function: Callable[[], _Result]) -> _Result:
    """What ``function`` returns when it is called by a thread inside the namespace ``name``.

    Sockets and processes that it makes belong to that namespace for good.
    """
    return entering(f"{_FOLDER}/{name}", function)


def entering(file: str | os.PathLike[str], function: Callable[[], _Result]) -> _Result:
    """The same for the network namespace that ``file`` stands for."""

    def run() -> _Result:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc().setns(descriptor, _CLONE_NEWNET), f"setns {os.fspath(file)}")
        finally:
            os.close(descriptor)
        return function()

    return _in_thread(run)


def clean() -> list[str]:
    """Remove the namespaces of processes that are gone, and say which."""
    try:
        names = os.listdir(_FOLDER)
    except FileNotFoundError:
        return []
    left = [name for name in names if (owner := _OURS.match(name)) and not _lives(owner.group(1))]
    for name in left:
        # A half-made one is a plain file, and another process may clean as well.
        with contextlib.suppress(OSError):
            remove(name)
    return left


def _lives(pid: str) -> bool:
    return os.path.exists(f"/proc/{pid}")


@contextlib.contextmanager
def _locked_folder() -> Iterator[None]:
    os.makedirs(_FOLDER, exist_ok=True)
    descriptor = os.open(_FOLDER, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _unshare() -> None:
    _check(_libc().unshare(_CLONE_NEWNET), "unshare")


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _in_thread(function: Callable[[], _Result]) -> _Result:
    """Call ``function`` in a thread that ends with it, so that no other code sees where the
    thread went."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
