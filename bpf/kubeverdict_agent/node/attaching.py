"""Programs on links: attach, find, detach.

Classifiers on the clsact hooks, each at a fixed place (priority and handle), so that putting one
where one is replaces it in a single step and no packet passes in between. They stay when the agent
ends, and go with their link.

Decided: cls_bpf and not TCX, which is 20 times slower to attach and goes away with the agent unless
each link is pinned (measured). The action for packets that pass lets other programs on the hook
run.
"""

from __future__ import annotations

import errno
import threading
from dataclasses import dataclass
from typing import Any

from kubeverdict_agent.errors import DatapathError, MissingPackage

PRIORITY = 1
HANDLE = 0x6B76
FROM_POD, TO_POD = "kubeverdict_from_pod", "kubeverdict_to_pod"
_INGRESS_HOOK, _EGRESS_HOOK = 0xFFFFFFF2, 0xFFFFFFF3
# The host end's ingress hook sees what comes from the pod, its egress hook what goes to it.
_HOOKS = ((_INGRESS_HOOK, FROM_POD), (_EGRESS_HOOK, TO_POD))
_ETH_P_ALL = 3
_GONE = (errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class Placed:
    """Which of our programs a link has: names by hook, and whether others are there as well."""

    index: int
    names: tuple[str, ...]
    others: bool

    @property
    def complete(self) -> bool:
        return len(self.names) == len(_HOOKS)


class Attacher:
    """Works in the network namespace of the thread that makes it, and in that thread alone."""

    def __init__(self) -> None:
        try:
            from pyroute2 import IPRoute
        except ImportError as error:
            raise MissingPackage(error) from error
        self._netlink: Any = IPRoute()
        self._thread = threading.get_ident()

    def close(self) -> None:
        self._netlink.close()

    def attach(self, index: int, from_pod: int, to_pod: int) -> bool:
        """Put both programs (descriptors) on a link, in place of older ones. False where the
        link is gone. Raises :class:`DatapathError`."""
        try:
            self._add_hooks(index)
            for (hook, name), program in zip(_HOOKS, (from_pod, to_pod), strict=True):
                self._netlink.tc(
                    "replace-filter",
                    "bpf",
                    index,
                    parent=hook,
                    fd=program,
                    name=name,
                    direct_action=True,
                    classid=1,
                    prio=PRIORITY,
                    handle=HANDLE,
                    protocol=_ETH_P_ALL,
                )
        except Exception as error:
            if self._is_gone(error, index):
                return False
            raise DatapathError(f"link {index}: no program can be attached: {error}") from error
        return True

    def placed(self, index: int) -> Placed:
        """What is on the hooks of a link."""
        names: list[str] = []
        others = False
        for hook, _ in _HOOKS:
            try:
                filters = list(self._netlink.get_filters(index=index, parent=hook))
            except Exception as error:
                if _code(error) not in (*_GONE, errno.EINVAL, errno.ENOENT):
                    raise DatapathError(f"link {index}: {error}") from error
                continue  # no hooks, or no link
            for found in filters:
                options = found.get_attr("TCA_OPTIONS")
                name = options.get_attr("TCA_BPF_NAME") if options is not None else None
                if name in (FROM_POD, TO_POD) and found["handle"] == HANDLE:
                    names.append(name)
                elif found["handle"]:
                    others = True
        return Placed(index, tuple(names), others)

    def detach(self, index: int) -> bool:
        """Take our programs off a link, and the hooks where no one else uses them. False where
        nothing of ours was there."""
        placed = self.placed(index)
        if not placed.names:
            return False
        try:
            if not placed.others:
                self._netlink.tc("del", "clsact", index)
                return True
            for hook, name in _HOOKS:
                if name in placed.names:
                    self._netlink.tc(
                        "del-filter",
                        "bpf",
                        index,
                        parent=hook,
                        prio=PRIORITY,
                        handle=HANDLE,
                        protocol=_ETH_P_ALL,
                    )
        except Exception as error:
            if not self._is_gone(error, index):
                raise DatapathError(f"link {index}: cannot be detached: {error}") from error
        return True

    def everywhere(self) -> list[int]:
        """All links of the namespace that have hooks, ours or not."""
        return sorted(
            {
                found["index"]
                for found in self._netlink.get_qdiscs()
                if found.get_attr("TCA_KIND") == "clsact"
            }
        )

    def try_out(self) -> None:
        """Put hooks on the loopback of this namespace. Raises DatapathError."""
        try:
            self._netlink.tc("add", "clsact", 1)
        except Exception as error:
            raise DatapathError(f"clsact: {error}") from error

    def _add_hooks(self, index: int) -> None:
        try:
            self._netlink.tc("add", "clsact", index)
        except Exception as error:
            if _code(error) != errno.EEXIST:
                raise

    def _is_gone(self, error: Exception, index: int) -> bool:
        """Whether a link vanished: the kernel has several words for that."""
        if _code(error) in _GONE:
            return True
        try:
            return not self._netlink.get_links(index)
        except Exception as second:
            return _code(second) in _GONE


def _code(error: Exception) -> int | None:
    """The error number of a NetlinkError, or of an OSError."""
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    return code if isinstance(code, int) else None
