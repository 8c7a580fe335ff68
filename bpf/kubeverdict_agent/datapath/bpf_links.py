"""Programs on the TCX hooks of a link of the network, by bpf(2).

A BPF link holds a program on a hook; pinned, it stays when the process ends. The numbers and
structs are those of the kernel's ``include/uapi/linux/bpf.h``. Linux 6.6 or later.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from enum import IntEnum
from typing import NamedTuple

from kubeverdict_agent.datapath import bpf_syscall
from kubeverdict_agent.datapath.bpf_syscall import BpfCommand

_BEFORE = 1 << 3  # with no other program named: before all of them
_ROOM = 64  # programs that a hook has room for
_LOOPBACK = 1


class Hook(IntEnum):
    """A hook of an interface, by the number that links to it have."""

    INGRESS = 46
    EGRESS = 47


class HookLink(NamedTuple):
    """What the kernel says of a link: its number, the number of its program, and where it is.
    ``ifindex`` is 0 once the interface is gone or the link was taken off it."""

    number: int
    program: int
    ifindex: int
    hook: int


def program_number(fd: int) -> int:
    """The kernel's number of a program."""
    (number,) = struct.unpack_from("<I", bpf_syscall.object_info(fd), 4)
    return int(number)


def link_info(fd: int) -> HookLink:
    """What the kernel says of a link."""
    _, number, program, _, index, hook = struct.unpack_from("<6I", bpf_syscall.object_info(fd))
    return HookLink(number, program, index, hook)


def create_link(program: int, index: int, hook: Hook) -> int:
    """Put a program (a descriptor) on a hook, before all that are there; the link's descriptor."""
    attributes = struct.pack("<6I", program, index, hook, _BEFORE, 0, 0)
    return bpf_syscall.call(BpfCommand.LINK_CREATE, attributes)[0]


def update_link(link: int, program: int) -> None:
    """Let a link hold another program, in one step. Both are descriptors."""
    bpf_syscall.call(BpfCommand.LINK_UPDATE, struct.pack("<4I", link, program, 0, 0))


def programs_on(index: int, hook: Hook) -> list[int]:
    """The numbers of the programs on a hook, in the order in which they run."""
    numbers = (ctypes.c_uint32 * _ROOM)()
    attributes = struct.pack("<4IQ2I", index, hook, 0, 0, ctypes.addressof(numbers), _ROOM, 0)
    _, after = bpf_syscall.call(BpfCommand.PROG_QUERY, attributes)
    (count,) = struct.unpack_from("<I", after, 24)
    return list(numbers[:count])


def supported() -> bool:
    """Whether the kernel has these hooks."""
    try:
        programs_on(_LOOPBACK, Hook.INGRESS)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return False
        raise
    return True
