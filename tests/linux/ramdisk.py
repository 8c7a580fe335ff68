"""The first files that a guest's kernel sees: what finds the file system of this machine.

An initial RAM disk is a cpio archive of the "newc" format (``buffer-format.rst`` of the kernel's
documentation): a header of hexadecimal numbers and the name, then the data of each file, each
padded to four bytes.
"""

from __future__ import annotations

import lzma
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.linux.debian import DebianKernel, NotToBeHad

BUSYBOX = Path("/usr/bin/busybox")  # of Debian's busybox-static
_FIRST = Path(__file__).with_name("first.sh")
# What the machine's file system comes by, and what lies over it.
_NEEDED = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_FOLDERS = ("bin", "dev", "modules", "machine", "memory", "root")
_TRAILER = "TRAILER!!!"


def ramdisk(kernel: DebianKernel) -> bytes:
    """The archive for a kernel. Raises NotToBeHad."""
    if not BUSYBOX.exists():
        raise NotToBeHad(f"{BUSYBOX} is not installed (Debian's busybox-static)")
    if is_dynamic(BUSYBOX.read_bytes()):
        raise NotToBeHad(f"{BUSYBOX} needs libraries: Debian's busybox-static does not")
    files = [(name, stat.S_IFDIR | 0o755, b"") for name in _FOLDERS]
    files.append(("init", stat.S_IFREG | 0o755, _FIRST.read_bytes()))
    files.append(("bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes()))
    for number, module in enumerate(_in_order(kernel)):
        data = module.read_bytes()
        if module.suffix == ".xz":
            data = lzma.decompress(data)
        # The names say in which order they are loaded.
        files.append((f"modules/{number:03}", stat.S_IFREG | 0o644, data))
    return archive(files)


def _in_order(kernel: DebianKernel) -> Iterator[Path]:
    """The modules' files, each after those that it needs."""
    asked = subprocess.run(
        [
            *("modprobe", "--dirname", str(kernel.folder), "--set-version", kernel.release),
            *("--show-depends", "--all", *_NEEDED),
        ],
        capture_output=True,
        text=True,
    )
    if asked.returncode:
        raise NotToBeHad(f"Linux {kernel.release} cannot be booted: {asked.stderr.strip()}")
    # "insmod PATH" with a blank at the end, or "builtin NAME".
    lines = (line.split() for line in asked.stdout.splitlines())
    return (Path(path) for path in dict.fromkeys(path for what, path in lines if what == "insmod"))


def is_dynamic(program: bytes) -> bool:
    """Whether an ELF program of 64 bits names a loader (PT_INTERP)."""
    (headers,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    kinds = (struct.unpack_from("<I", program, headers + n * size)[0] for n in range(count))
    return 3 in kinds


def archive(files: list[tuple[str, int, bytes]]) -> bytes:
    """Names, modes and data as a cpio archive."""
    parts = []
    for inode, (name, mode, data) in enumerate([*files, (_TRAILER, 0, b"")], start=1):
        encoded = name.encode() + b"\0"
        # Inode, mode, owner, group, links, time, size, two devices of two numbers, length, check.
        numbers = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % number for number in numbers) + encoded
        parts += [_padded(header), _padded(data)]
    return b"".join(parts)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
