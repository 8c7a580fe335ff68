"""Programs as filters on the clsact hooks of links: what kernels before 6.6 have.

Each is at a fixed place (priority and handle), so that putting one where one is replaces it in a
single step and no packet passes in between. They stay when the agent ends, and go with their link.
The action for packets that pass lets other programs on the hook run.

A link has one such qdisc. The ``ingress`` qdisc, which plug-ins use to limit a pod's bandwidth, is
in its place and has no egress hook: what is put there runs on ingress.
"""

from __future__ import annotations

import errno
from typing import Any

from kubeverdict_agent.datapath.bpf_links import Hook
from kubeverdict_agent.errors import DatapathError, MissingPackage
from kubeverdict_agent.node.netlink import Lister

PRIORITY = 1
HANDLE = 0x6B76
FROM_POD, TO_POD = "kubeverdict_from_pod", "kubeverdict_to_pod"
_PARENTS = {Hook.INGRESS: 0xFFFFFFF2, Hook.EGRESS: 0xFFFFFFF3}
_NAMES = {Hook.INGRESS: FROM_POD, Hook.EGRESS: TO_POD}
_CLSACT, _INGRESS = "clsact", "ingress"
_ETH_P_ALL = 3


class FilterHooks:
    """Works in the network namespace of the thread that makes it, and in that thread alone."""

    def __init__(self) -> None:
        try:
            from pyroute2 import IPRoute
        except ImportError as error:
            raise MissingPackage(error) from error
        self._netlink: Any = IPRoute()
        self._lister = Lister()

    def close(self) -> None:
        self._netlink.close()
        self._lister.close()

    def attach(self, index: int, hook: Hook, program: int) -> None:
        """Put a program (a descriptor) on a hook, in place of ours. Raises DatapathError, and
        what pyroute2 raises."""
        self._add_hooks(index)
        self._netlink.tc(
            "replace-filter",
            "bpf",
            index,
            parent=_PARENTS[hook],
            fd=program,
            name=_NAMES[hook],
            direct_action=True,
            classid=1,
            prio=PRIORITY,
            handle=HANDLE,
            protocol=_ETH_P_ALL,
        )

    def order(self, index: int, hook: Hook) -> list[int]:
        """The numbers of the programs on a hook, as they run; 0 for a filter of another sort."""
        return [found.program for found in self._lister.filters(index, _PARENTS[hook])]

    def detach(self, index: int) -> bool:
        """Take ours off a link, and the hooks where no one else uses them. False where nothing of
        ours was there."""
        kind = self.links().get(index)
        ours: list[Hook] = []
        others = False
        # Where the qdisc is `ingress`, both hooks are one.
        for hook in Hook if kind == _CLSACT else (Hook.INGRESS,):
            for found in self._lister.filters(index, _PARENTS[hook]):
                if found.name in (FROM_POD, TO_POD) and found.handle == HANDLE:
                    ours.append(hook)
                else:
                    others = True
        if not ours:
            return False
        if kind == _CLSACT and not others:
            self._netlink.tc("del", _CLSACT, index)
            return True
        for hook in ours:
            self._netlink.tc(
                "del-filter",
                "bpf",
                index,
                parent=_PARENTS[hook],
                prio=PRIORITY,
                handle=HANDLE,
                protocol=_ETH_P_ALL,
            )
        return True

    def links(self) -> dict[int, str]:
        """All links of the namespace that have hooks, ours or not: the kind of qdisc by index."""
        return {
            found["index"]: kind
            for found in self._netlink.get_qdiscs()
            if (kind := found.get_attr("TCA_KIND")) in (_CLSACT, _INGRESS)
        }

    def try_out(self) -> None:
        """Put hooks on the loopback of this namespace. Raises DatapathError."""
        try:
            self._netlink.tc("add", _CLSACT, 1)
        except Exception as error:
            raise DatapathError(f"clsact: {error}") from error

    def is_gone(self, error: Exception, index: int) -> bool:
        """Whether a link vanished: the kernel has several words for that."""
        if error_number(error) in (errno.ENODEV, errno.ENXIO):
            return True
        try:
            return not self._netlink.get_links(index)
        except Exception as second:
            return error_number(second) in (errno.ENODEV, errno.ENXIO)

    def _add_hooks(self, index: int) -> None:
        try:
            self._netlink.tc("add", _CLSACT, index)
        except Exception as error:
            if error_number(error) != errno.EEXIST:
                raise
            if self.links().get(index) != _CLSACT:
                raise DatapathError(
                    f"link {index} has an ingress qdisc (a plug-in limits bandwidth), which leaves"
                    " no room for clsact: Linux 6.6 has hooks that do not depend on it"
                ) from None


def error_number(error: Exception) -> int | None:
    """The error number of a NetlinkError, or of an OSError."""
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    return code if isinstance(code, int) else None
