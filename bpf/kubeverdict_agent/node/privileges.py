"""What the agent may do once it runs: two capabilities, and no more.

CAP_NET_ADMIN puts programs on links and lists addresses in other namespaces; CAP_BPF writes maps on
kernels that check this at each write and not only when the map is opened. Loading programs
(CAP_BPF, CAP_PERFMON), making pins (CAP_BPF and write access to the bpffs) and the socket for
events of other namespaces (CAP_NET_BROADCAST) are done before. Source: capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

CAP_NET_ADMIN, CAP_BPF = 12, 39
KEPT = {"CAP_NET_ADMIN": CAP_NET_ADMIN, "CAP_BPF": CAP_BPF}
# What starting takes: number by name.
NEEDED = {**KEPT, "CAP_NET_BROADCAST": 11, "CAP_PERFMON": 38}

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 24, 38, 47, 4
_VERSION_3 = 0x20080522


def drop() -> None:
    """Give up every capability but those in :data:`KEPT`, for this thread and those it starts.

    Raises OSError as the kernel answers.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    kept = set(KEPT.values())
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    effective = _effective()
    for capability in range(last + 1):
        if capability not in kept and effective >> 8 & 1:  # CAP_SETPCAP
            _check(libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl")
    libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    mask = sum(1 << capability for capability in kept) & effective
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _VERSION_3, 0)
    # Effective, permitted, inheritable; the lower half of each, then the upper.
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    _check(libc.capset(header, data), "capset")


def missing() -> list[str]:
    """The capabilities that starting needs and this process has not."""
    effective = _effective()
    return [name for name, number in NEEDED.items() if not effective >> number & 1]


def _effective() -> int:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
