"""Compiling the datapath with bcc.

bcc is the distribution's package (python3-bpfcc), not a dependency that pip could install, so it
is imported by its place. Compilation happens in a child process: it would leave a hundred
megabytes in ours. The child sends the descriptors of the programs over a socket (SCM_RIGHTS).

No kernel headers are needed: ``include/`` holds the little that bcc asks for.
"""

from __future__ import annotations

import array
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from kubeverdict_agent.datapath import layout
from kubeverdict_agent.datapath.clocks import tick_shift
from kubeverdict_agent.errors import DatapathError

_HERE = Path(__file__).parent
SOURCES = _HERE
BCC_PLACES = (Path("/usr/lib/python3/dist-packages"), Path("/usr/lib/python3/site-packages"))
# Seconds for a compilation, which takes half a second on a machine at rest; some are slow and busy.
_PATIENCE = 600

# What the child runs; it knows nothing of this package, so any Python will do.
_CHILD = """
import importlib.util, os, socket, sys
place, folder, source, programs, channel = sys.argv[1:6]
spec = importlib.util.spec_from_file_location(
    "bcc", place + "/bcc/__init__.py", submodule_search_locations=[place + "/bcc"])
bcc = importlib.util.module_from_spec(spec)
sys.modules["bcc"] = bcc
spec.loader.exec_module(bcc)
b = bcc.BPF(text=open(source, "rb").read(), cflags=sys.argv[6:])
fds = [b.load_func(name, bcc.BPF.SCHED_CLS).fd for name in programs.split(",")]
with socket.socket(fileno=int(channel)) as end:
    socket.send_fds(end, [b"ok"], fds)
"""


class Programs(NamedTuple):
    """Descriptors of the two classifiers."""

    from_pod: int  # for the ingress hook of the host side
    to_pod: int  # for its egress hook


def find_bcc() -> Path:
    """The folder that holds the distribution's bcc. Raises DatapathError where it is missing."""
    for place in BCC_PLACES:
        if (place / "bcc" / "libbcc.py").is_file():
            return place
    raise DatapathError(
        "bcc is not installed: it comes with the distribution (Debian and Ubuntu: "
        "apt install python3-bpfcc); the project called bcc on PyPI is something else"
    )


def compile_programs(pins: Path) -> Programs:
    """Compile the datapath against the maps pinned in ``pins``, and load it.

    Raises DatapathError with what the compiler or the verifier said.
    """
    text = (SOURCES / "program.c").read_text() + layout.assertions()
    return Programs(*compile_source(text, pins, ("from_pod", "to_pod")))


def in_one_piece(text: str, name: str = "program.c", seen: set[str] | None = None) -> str:
    """C with the headers of the datapath put in where they are included, each once: bcc rewrites
    what lies in the main file only."""
    seen = set() if seen is None else seen

    def put_in(match: re.Match[str]) -> str:
        header = match[1]
        if header in seen:
            return ""
        seen.add(header)
        inside = (SOURCES / header).read_text().replace("#pragma once\n", "\n")
        after = text.count("\n", 0, match.start()) + 2
        inside = in_one_piece(inside, header, seen)
        return f'#line 1 "{header}"\n{inside}\n#line {after} "{name}"'

    return re.sub(r'^#include "([a-z0-9_]+\.h)"$', put_in, text, flags=re.MULTILINE)


def compile_source(text: str, pins: Path, programs: tuple[str, ...]) -> list[int]:
    """Compile C that may include the headers of the datapath; descriptors of ``programs``.

    Raises DatapathError with what the compiler or the verifier said.
    """
    place = find_bcc()
    ours, theirs = socket.socketpair()
    with ours, theirs, _in_memory(in_one_piece(text)) as source:
        child = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-W", "ignore", "-c", _CHILD),
                *(str(place), str(pins), f"/proc/self/fd/{source}"),
                *(",".join(programs), str(theirs.fileno())),
                *(f'-DFOLDER="{pins}"', f"-DTICK_SHIFT={tick_shift()}", "-Wno-unused-function"),
            ],
            env={"BCC_KERNEL_SOURCE": str(_HERE), "PATH": os.environ.get("PATH", "")},
            pass_fds=(theirs.fileno(), source),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        theirs.close()
        with child:
            try:
                output, _ = child.communicate(timeout=_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                raise DatapathError("bcc did not finish compiling the datapath") from None
        if child.returncode:
            said = output.decode(errors="replace").strip()
            raise DatapathError(f"the datapath could not be compiled or loaded:\n{said}")
        room = len(programs) * array.array("i").itemsize
        _, ancillary, _, _ = ours.recvmsg(16, socket.CMSG_SPACE(room))
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        return list(fds)


@contextmanager
def _in_memory(text: str) -> Iterator[int]:
    """A text as a file that has no name on any disk."""
    fd = os.memfd_create("datapath.c")
    try:
        os.write(fd, text.encode())
        yield fd
    finally:
        os.close(fd)
