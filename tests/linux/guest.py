"""A guest: a kernel that runs one command on this machine's files, in qemu, without KVM.

It sees the file system as it is here and cannot change it: what it writes goes to its memory.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.linux.debian import DebianKernel, NotToBeHad
from tests.linux.ramdisk import ramdisk

QEMU = "qemu-system-x86_64"
_SECOND = Path(__file__).with_name("second.sh")
# Those that the kernel does not load by itself when they are asked for by name.
_MODULES = ("veth", "nf_conntrack", "nf_conntrack_netlink", "sctp", "br_netfilter")
_PROCESSORS, _MEGABYTES = 2, 4096
_ENDED = 3  # qemu's status for a command's status 0
_TOLD = 25  # lines of the kernel's log, where a guest fails


class GuestFailed(Exception):
    """A guest that did not come to an end by itself; the text has the kernel's last words."""


def run(
    kernel: DebianKernel,
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    silence: float,
) -> int:
    """Run a command in ``folder`` under a kernel, and its output on ours; its status. The guest is
    ended when it says nothing for ``silence`` seconds. Raises NotToBeHad, and GuestFailed."""
    (kernel.folder / "ramdisk").write_bytes(ramdisk(kernel))
    # Beside the kernel, since the kernel's command line has no room for any path.
    second, session = kernel.folder / "second", kernel.folder / "session"
    second.write_text(_SECOND.read_text())
    session.write_text(_session(kernel, command, folder, environment))
    log = kernel.folder / "log"
    words = [f"SECOND={second}", f"SESSION={session}", "console=ttyS1", "panic=-1"]
    # fmt: off
    line = [
        # It ends with us, however we end.
        "setpriv", "--pdeathsig", "KILL",
        QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(_PROCESSORS),
        "-m", str(_MEGABYTES), "-nodefaults", "-no-reboot", "-display", "none",
        "-kernel", str(kernel.image), "-initrd", str(kernel.folder / "ramdisk"),
        "-append", " ".join(words),
        "-fsdev", "local,id=machine,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=machine,mount_tag=machine",
        "-device", "virtio-rng-pci",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
        "-chardev", "stdio,id=output,signal=off", "-serial", "chardev:output",
        "-serial", f"file:{log}",
    ]
    # fmt: on
    if shutil.which(QEMU) is None:
        raise NotToBeHad(f"{QEMU} is not installed (Debian's qemu-system-x86)")
    status, hung = watch(line, silence)
    # The device ends qemu with twice the number that is written to it, and one; the number is one
    # more than the command's status, as 1 is what qemu's own failures end with.
    if status >= _ENDED and status % 2 and not hung:
        return (status - _ENDED) // 2
    why = f"said nothing for {silence:.0f} s" if hung else f"ended, and qemu with status {status}"
    last = log.read_text(errors="replace").splitlines()[-_TOLD:] if log.exists() else []
    raise GuestFailed("\n".join([f"Linux {kernel.release} {why}; its last words:", *last]))


def _session(
    kernel: DebianKernel, command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> str:
    place = f"/usr/lib/modules/{kernel.release}"
    settings = [f"{name}={value}" for name, value in environment.items()]
    return "\n".join(
        [
            f"mkdir -p {place}",
            f"mount --bind {shlex.quote(str(kernel.modules))} {place}",
            f"modprobe --all {' '.join(_MODULES)}",
            f"(cd {shlex.quote(str(folder))} && exec {shlex.join(['env', *settings, *command])})",
            "",
        ]
    )


def watch(line: Sequence[str], silence: float) -> tuple[int, bool]:
    """Run a command and pass on what it says; its status, and whether it was ended because it said
    nothing for ``silence`` seconds."""
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    heard = time.monotonic()

    def pass_on() -> None:
        nonlocal heard
        assert process.stdout is not None
        with process.stdout as output:
            while data := os.read(output.fileno(), 65536):
                heard = time.monotonic()
                os.write(sys.stdout.fileno(), data)

    reader = threading.Thread(target=pass_on)
    reader.start()
    hung = False
    try:
        while process.poll() is None and not hung:
            time.sleep(0.1)
            hung = time.monotonic() - heard > silence
    finally:
        process.kill()
        process.wait()
        reader.join()
    return process.returncode, hung
