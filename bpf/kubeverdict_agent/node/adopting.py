"""Taking over connections that are older than the filtering of their pod.

The evidence is what the kernel tracks: it says which end sent the first packet. Nothing is taken
from ports, nor for pods that started later.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.node.kernel_conntrack import Older, older_connections
from kubeverdict_agent.observe.alarms import EventLog


class Adoption:
    """Where no agent was before, connections of pods behind links that are there already are taken
    over for ``seconds``, once for each link."""

    def __init__(self, datapath: NodeDatapath, log: EventLog, seconds: float) -> None:
        self._datapath = datapath
        self._log = log
        self._wanted = seconds > 0
        self._until = time.monotonic() + seconds
        # Links that were there before any agent; None until they are known.
        self._before: set[int] | None = None if seconds and not datapath.generation else set()
        self._older: Mapping[bytes, list[Older]] = {}

    def see_links(self, there: Iterable[int]) -> None:
        """All links; those that are named first count."""
        if self._before is None:
            self._before = set(there)

    def prepare(self, *, judged_anew: bool) -> None:
        """Read what the kernel tracks, if some of it is to be taken over: of links that were there
        before, or of pods that were off and are ``judged_anew``."""
        if (self._before and time.monotonic() < self._until) or (judged_anew and self._wanted):
            try:
                self._older = older_connections()
            except OSError as error:
                text = f"the kernel's connection tracking cannot be read: {error}"
                self._log("warning", text)

    def finish(self) -> None:
        """Forget what was read."""
        self._older = {}

    def bind(self, index: int, number: int, addresses: Iterable[str]) -> None:
        """A link is about to be bound to endpoint ``number``."""
        if self._before and index in self._before:
            self._before.discard(index)
            if time.monotonic() < self._until:
                self.remember(number, addresses)

    def remember(self, number: int, addresses: Iterable[str]) -> None:
        """Take over connections of an endpoint's addresses."""
        for text in addresses:
            address = ip_address(text).packed
            if older := self._older.get(address):
                self._datapath.adopt(number, address, older)
