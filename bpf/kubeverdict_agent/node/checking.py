"""Whether this machine offers what the agent needs; what is missing is named."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from kubeverdict.errors import KubeverdictError
from kubeverdict_agent.datapath import bpf_syscall, compiling, layout
from kubeverdict_agent.datapath.bpf_syscall import Flag, MapType
from kubeverdict_agent.datapath.maps import MOUNT, check_place, remove_pins
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.errors import DatapathError, MissingPackage
from kubeverdict_agent.node import kernel_conntrack, privileges
from kubeverdict_agent.node.attaching import Attacher
from kubeverdict_agent.node.netlink import Lister, Monitor

# A single value of an array may be larger than 4 MB since then (63b8ce77b15e in the kernel).
OLDEST_KERNEL = (6, 0)
# What `kubeverdict[agent]` brings. Metrics alone need the second, but they are the default.
PACKAGES = ("pyroute2", "prometheus_client")
_NEW_NETWORK = 0x40000000
_FLOWS = 1024  # of the programs that are tried


@dataclass(frozen=True)
class NodeRequirement:
    """One need. ``detail`` says what was found, or what to do about it."""

    what: str
    ok: bool
    detail: str


def check(bpffs: Path) -> list[NodeRequirement]:
    """Try everything out, without touching the node: in maps that are closed at once and in a
    network namespace of its own."""
    return [
        _finding("kernel", _kernel),
        _finding("capabilities", _capabilities),
        _finding("Python packages", _packages),
        _finding("bcc", lambda: f"found in {compiling.find_bcc()}"),
        _finding("BPF file system", lambda: _bpffs(bpffs)),
        _finding("maps", _maps),
        _finding("netlink", _netlink),
        _finding("hooks", lambda: _in_new_namespace(lambda: _hooks(bpffs))),
        _finding("links", lambda: _in_new_namespace(_links)),
        _finding("older connections", _older_connections),
        _finding("membarrier", _membarrier),
        _finding("programs", lambda: _programs(bpffs)),
    ]


def _finding(what: str, attempt: Callable[[], str]) -> NodeRequirement:
    try:
        return NodeRequirement(what, True, attempt())
    except KubeverdictError as error:
        return NodeRequirement(what, False, str(error))
    except OSError as error:
        return NodeRequirement(what, False, f"{error.strerror or error}")
    except Exception as error:
        # An unexpected error counts as missing too; the other needs are still reported.
        return NodeRequirement(what, False, f"unexpected {type(error).__name__}: {error}")


def _kernel() -> str:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        raise DatapathError(f"Linux {release} is older than {oldest}")
    return f"Linux {release}"


def _capabilities() -> str:
    missing = privileges.missing()
    if missing:
        raise DatapathError(f"missing: {', '.join(missing)}")
    return ", ".join(privileges.NEEDED)


def _packages() -> str:
    for name in PACKAGES:
        try:
            import_module(name)
        except ImportError as error:
            raise MissingPackage(error) from error
    return ", ".join(PACKAGES)


def _bpffs(folder: Path) -> str:
    parent = next(part for part in (folder, *folder.parents) if part.exists())
    if not bpf_syscall.is_bpffs(parent):
        raise DatapathError(f"{folder} is not on one: {MOUNT} {folder.parent}")
    check_place(parent)
    if not os.access(parent, os.W_OK):
        raise DatapathError(f"{parent} cannot be written")
    return str(folder)


def _maps() -> str:
    for kind, key, value, entries, flags in (
        (MapType.ARRAY, 4, layout.ARENA_BYTES, 1, Flag.MMAPABLE),
        (MapType.LRU_HASH, 16, 16, 64, 0),
        (MapType.PERCPU_HASH, 16, 16, 64, Flag.NO_PREALLOC),
        (MapType.RINGBUF, 0, 0, 4096, 0),
    ):
        try:
            os.close(bpf_syscall.create_map(kind, key, value, entries, flags, "check"))
        except OSError as error:
            raise DatapathError(f"{kind.name.lower()}: {error.strerror}") from None
    return "mappable arrays, LRU and per-CPU hashes, ring buffers"


def _programs(bpffs: Path) -> str:
    """Compile them, and load them, so that the verifier checks them."""
    # Next to the folder, not in it: the folder belongs to an agent.
    places = (place for place in (bpffs.parent, bpffs) if place.is_dir())
    place = next((place for place in places if bpf_syscall.is_bpffs(place)), None)
    if place is None:
        raise DatapathError(f"not tried: {bpffs} is not on a BPF file system")
    pins = Path(tempfile.mkdtemp(prefix="kubeverdict-check-", dir=place))
    try:
        NodeDatapath.open(pins, flows=_FLOWS).close()
    finally:
        remove_pins(pins)
    return "compiled, and accepted by the verifier"


def _netlink() -> str:
    with contextlib.closing(Monitor()), contextlib.closing(Lister()) as lister:
        return f"{len(lister.links())} links to pods on this node"


def _hooks(bpffs: Path) -> str:
    with contextlib.closing(Attacher(bpffs)) as attacher:
        return attacher.try_out()


def _links() -> str:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        try:
            netlink.link("add", ifname="netkit0", kind="netkit")
        except Exception:
            return "veth; this kernel has no netkit (Linux 6.7)"
    return "veth and netkit"


def _older_connections() -> str:
    # Nobody needs to track connections: without, these are judged by their next packets.
    try:
        kernel_conntrack.try_out()
    except OSError as error:
        return f"no connection tracking of the kernel tells who began them: {error.strerror}"
    return "the kernel's connection tracking tells who began them"


def _membarrier() -> str:
    bpf_syscall.wait_for_readers()
    return "global"


def _in_new_namespace(attempt: Callable[[], str]) -> str:
    """What ``attempt`` says in a network namespace that ends with it."""
    results: list[str] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_NEW_NETWORK) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"no network namespace: {os.strerror(number)}")
            results.append(attempt())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="check")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
