"""Programs on links: attach, read back, detach.

On the TCX hooks where the kernel has them, else on those of clsact. TCX comes first: what others
put on a link cannot keep our programs from running, short of a program that is put before them
later; and it leaves the qdiscs to others (the CNI's bandwidth plug-in adds one, and fails where
clsact is).
It costs what clsact does not: the kernel waits for packets on their way (two to five timer ticks a
hook) before the call returns, though the program runs from its beginning on.

What was put on a link is read back: programs of others may be before ours or in their place.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from kubeverdict_agent.datapath import bpf_links
from kubeverdict_agent.datapath.bpf_links import Hook
from kubeverdict_agent.errors import DatapathError
from kubeverdict_agent.node.filters import FilterHooks
from kubeverdict_agent.node.tcx import TcxHooks


@dataclass(frozen=True, slots=True)
class HookFaults:
    """Hooks of a link on which our program is not, and those on which another one is before it."""

    missing: tuple[Hook, ...]
    behind: tuple[Hook, ...]

    def __str__(self) -> str:
        return "; ".join(
            f"{what} on {' and '.join(hook.name.lower() for hook in hooks)}"
            for what, hooks in (
                ("our program is not", self.missing),
                ("a program of another runs before ours, and may end the judging", self.behind),
            )
            if hooks
        )


class Attacher:
    """Works in the network namespace of the thread that makes it, and in that thread alone.
    ``pins`` is the folder of the maps; ``tcx`` whether those hooks are used, None where the
    kernel has them."""

    def __init__(self, pins: Path, tcx: bool | None = None) -> None:
        self._tcx = TcxHooks(pins)
        self._filters = FilterHooks()
        self.uses_tcx = bpf_links.supported() if tcx is None else tcx
        # What an agent on an older kernel, or of an older version, left.
        self._filtered = set(self._filters.links())

    def close(self) -> None:
        self._filters.close()

    def attach(self, index: int, from_pod: int, to_pod: int) -> bool:
        """Put both programs (descriptors) on a link, in place of older ones. False where the
        link is gone. Raises :class:`DatapathError`."""
        hooks = self._tcx if self.uses_tcx else self._filters
        try:
            # The host end's ingress hook sees what comes from the pod, its egress hook what goes
            # to it.
            for hook, program in ((Hook.INGRESS, from_pod), (Hook.EGRESS, to_pod)):
                hooks.attach(index, hook, program)
            if self.uses_tcx and index in self._filtered:
                self._filters.detach(index)
        except Exception as error:
            if self._filters.is_gone(error, index):
                self._tcx.detach(index)
                return False
            raise _refused(error, index, "no program can be attached") from error
        self._filtered.discard(index)
        missing = self.faults(index, from_pod, to_pod).missing
        if missing and self._filters.is_gone(LookupError(), index):
            return False
        if missing:
            raise DatapathError(f"link {index}: what was attached is not there")
        return True

    def faults(self, index: int, from_pod: int, to_pod: int) -> HookFaults:
        """Read back what is on a link: programs, their order, and the hooks they are on."""
        hooks = self._tcx if self.uses_tcx else self._filters
        missing, behind = [], []
        for hook, program in ((Hook.INGRESS, from_pod), (Hook.EGRESS, to_pod)):
            try:
                order = hooks.order(index, hook)
            except Exception as error:
                if not self._filters.is_gone(error, index):
                    raise _refused(error, index, "what is attached cannot be read") from error
                order = []
            ours = bpf_links.program_number(program)
            if ours not in order:
                missing.append(hook)
            elif order[0] != ours:
                behind.append(hook)
        return HookFaults(tuple(missing), tuple(behind))

    def detach(self, index: int) -> bool:
        """Take our programs off a link, and the hooks where no one else uses them. False where
        nothing of ours was there."""
        try:
            # Both: an agent of another version may have left either.
            return any([self._tcx.detach(index), self._filters.detach(index)])
        except Exception as error:
            if self._filters.is_gone(error, index):
                return True
            raise _refused(error, index, "cannot be detached") from error

    def everywhere(self) -> list[int]:
        """All links of the namespace on which something of ours may be."""
        return sorted(self._filters.links().keys() | self._tcx.links())

    def left_behind(self, there: Collection[int]) -> list[int]:
        """Links that are not among those ``there`` and have left something of ours."""
        return sorted(self._tcx.links().difference(there))

    def forget(self, index: int) -> None:
        """A link is gone: so is what it left behind."""
        self._tcx.detach(index)

    def try_out(self) -> str:
        """Try the hooks of this namespace's loopback; which they are. Raises DatapathError."""
        if self.uses_tcx:
            return "TCX"
        self._filters.try_out()
        return "clsact and cls_bpf: no room on links that have an ingress qdisc (TCX: Linux 6.6)"


def _refused(error: Exception, index: int, what: str) -> DatapathError:
    if isinstance(error, DatapathError):
        return error
    return DatapathError(f"link {index}: {what}: {error}")
