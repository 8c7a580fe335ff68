"""Reads events and counters from the kernel and removes what is stale, in a thread of its own.

Naming denials and walking a full table of connections take tenths of a second, for which a new
link must not wait.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time

from kubeverdict_agent.control.reconciler import Reconciler
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.node.node import LocalNode
from kubeverdict_agent.observe.alarms import Alarms
from kubeverdict_agent.observe.collecting import Collector

_WATCH_SECONDS = 10.0
_COLLECT_SECONDS = 1.0
_FULL = 0.9  # of the connections of a family: an alarm


class Housekeeper:
    """Reads events as they come, moves counts into the ledger once a second, and looks at the
    tables of connections every ten. Starts at once and works until it is closed."""

    def __init__(
        self,
        datapath: NodeDatapath,
        collector: Collector,
        node: LocalNode,
        reconciler: Reconciler,
        alarms: Alarms,
    ) -> None:
        self._datapath = datapath
        self._collector = collector
        self._node = node
        self._reconciler = reconciler
        self._alarms = alarms
        # The kernel's count goes on from one agent to the next: what was lost before is no alarm.
        self._totals_lost = datapath.lost()[1]
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        self._stopped.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stopped, selectors.EVENT_READ)
            selector.register(self._datapath.events_fd, selectors.EVENT_READ)
            collect_due = watch_due = 0.0
            while True:
                ready = selector.select(max(collect_due - time.monotonic(), 0.0))
                if any(key.fileobj is self._stopped for key, _ in ready):
                    return
                try:
                    self._collector.read_events()
                    if time.monotonic() >= collect_due:
                        collect_due = time.monotonic() + _COLLECT_SECONDS
                        self._collect()
                    if time.monotonic() >= watch_due:
                        watch_due = time.monotonic() + _WATCH_SECONDS
                        self._watch()
                        self._alarms.clear("collector")
                except Exception as error:
                    # A bug must not end the counting, nor go unnoticed.
                    self._alarms.unexpected("collector", error)
                    time.sleep(1.0)

    def _collect(self) -> None:
        # Before the first publication there are no names for what an earlier agent's tables
        # denied; the kernel goes on counting.
        if self._reconciler.state.publications:
            self._collector.drain()

    def _watch(self) -> None:
        if retired := self._node.take_retired():
            self._datapath.forget_flows(retired)
        self._datapath.tend_connections()
        full = [
            f"{entries} of {room} IPv{family} connections are tracked"
            for family, (entries, room) in self._datapath.conntrack_size().items()
            if entries >= _FULL * room
        ]
        if full:
            self._alarms.raise_("conntrack", f"{', '.join(full)}: make more room (--connections)")
        else:
            self._alarms.clear("conntrack")
        before, self._totals_lost = self._totals_lost, self._datapath.lost()[1]
        if self._totals_lost > before:
            self._alarms.raise_("totals", "there are more kinds of denials than can be counted")
        else:
            self._alarms.clear("totals")
