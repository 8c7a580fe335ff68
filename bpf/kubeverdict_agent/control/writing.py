"""Whether somebody is writing a file, and what distinguishes its versions.

The kernel knows who has a file open for writing: a read lease on it is refused then (fcntl(2)). A
shell's ``kubectl get … > file`` is empty for as long as the API server takes to answer, and only
this tells such a file from one that was emptied on purpose.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal

from kubeverdict.errors import KubeverdictError

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, and when the content and anything at all were changed last: the first of
these times can be set to anything, the second cannot."""


class BeingWritten(KubeverdictError):
    """Nothing can be taken from a file yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(f"{os.fspath(path)} is being written: it is read when its writer is done")


def stamp(path: str | os.PathLike[str]) -> Stamp | None:
    """What distinguishes versions of a file; None where it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (
        *(status.st_dev, status.st_ino, status.st_size),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )


def has_writer(path: str | os.PathLike[str]) -> bool:
    """Whether some process has a file open for writing. False also where that cannot be known: the
    file system has no leases, or the file is another user's."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # reading it says what is wrong
    try:
        # One who wants to write while the lease is held waits until it is given back, and the
        # holder gets a signal: one that is ignored unless somebody wants it.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(handle)
    return False
