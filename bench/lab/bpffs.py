"""A BPF file system of one's own, for maps that must not meet those of an agent in use."""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "kubeverdict-bpf-"
_MNT_DETACH = 2


@contextlib.contextmanager
def bpffs() -> Iterator[Path]:
    """A folder on a new bpffs; the mount and everything pinned in it go when the block is left.
    What crashed processes left is removed first."""
    _clean()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"kubeverdict", os.fsencode(folder), b"bpf", 0, b"mode=0700"):
            raise OSError(ctypes.get_errno(), "a bpffs cannot be mounted", str(folder))
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    ctypes.CDLL(None).umount2(os.fsencode(folder), _MNT_DETACH)
    # Another process may clean up the same one.
    with contextlib.suppress(OSError):
        folder.rmdir()


def _clean() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            _remove(folder)
