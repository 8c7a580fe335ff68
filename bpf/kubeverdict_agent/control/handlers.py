"""What the agent answers on its control socket, verb by verb."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kubeverdict import __version__
from kubeverdict.errors import UsageError
from kubeverdict.model.addresses import family_of, format_address
from kubeverdict.model.counts import listed
from kubeverdict_agent.control import modes
from kubeverdict_agent.control.control_socket import Handler
from kubeverdict_agent.control.reconciler import Reconciler
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.datapath.layout import PacketReason
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.node.endpoints import Veth
from kubeverdict_agent.node.node import LocalNode
from kubeverdict_agent.observe import hubble, report
from kubeverdict_agent.observe.alarms import Alarms
from kubeverdict_agent.observe.collecting import Collector, reason_word
from kubeverdict_agent.observe.metrics import Sample
from kubeverdict_agent.observe.naming import PROTOCOLS

ALARMS = (
    *("source", "stale", "removals", "modes", "tables", "slots", "conntrack", "totals", "link"),
    *("hooks", "coverage", "identity", "links", "addresses", "collector", "internal"),
)
_NAMED = 5  # links in a message
_BEAT = 5.0  # seconds without news after which a follower that closed its connection is noticed


class Handlers:
    def __init__(
        self,
        node_name: str,
        datapath: NodeDatapath,
        node: LocalNode,
        reconciler: Reconciler,
        collector: Collector,
        alarms: Alarms,
        live_modes: Path,
    ) -> None:
        self._name = node_name
        self._datapath = datapath
        self._node = node
        self._reconciler = reconciler
        self._collector = collector
        self._alarms = alarms
        self._live_modes = live_modes
        self._started = time.time()

    def handlers(self) -> dict[str, Handler]:
        return {
            "status": self._status,
            "endpoints": self._endpoints,
            "policy": self._policy,
            "flows": self._flows,
            "report": self._report,
            "events": self._events,
            "mode": self._mode,
            "confirm": self._confirm,
        }

    def sample(self) -> Sample:
        """What metrics are made of."""
        state = self._reconciler.state
        used, limit = self._datapath.table_bytes()
        events_lost, totals_lost = self._datapath.lost()
        standing = {alarm.name.partition(" ")[0] for alarm in self._alarms.standing()}
        counts = dict.fromkeys(("bound", "waiting", "unknown"), 0)
        for veth in self._node.veths():
            counts[_state(veth)] += 1
        return Sample(
            counters=self._datapath.counters(),
            events_seen=self._collector.seen,
            events_lost=events_lost,
            totals_lost=totals_lost + self._collector.unlisted,
            hooks_restored=self._node.hooks_restored,
            followers_lost=self._collector.lost_by_followers,
            generation=self._datapath.generation,
            publications=state.publications,
            failures=state.failures,
            flows=self._datapath.conntrack_size(),
            tables_bytes=used,
            tables_limit=limit,
            endpoints=counts,
            uncovered=len(self._node.uncovered()),
            source_age=self._reconciler.source_age,
            alarms={name: name in standing for name in ALARMS},
        )

    def unready(self) -> str:
        """Why not every pod of the node that is known is covered by policy in force; empty where
        it is."""
        if not self._reconciler.state.publications:
            return "no policy is in force yet"
        veths = self._node.veths()
        waiting = [one.link.name for one in veths if not one.attached or _state(one) == "waiting"]
        return f"waiting: {listed(waiting, _NAMED)}" if waiting else ""

    def _status(self, request: dict[str, Any]) -> object:
        state, compiled = self._reconciler.state, self._reconciler.compiled
        tracked = self._datapath.conntrack_size()
        events_lost, totals_lost = self._datapath.lost()
        veths = self._node.veths()
        return {
            "version": __version__,
            "node": self._name,
            "since": self._started,
            "generation": self._datapath.generation,
            "in_force_since": state.at,
            "last_change": state.reason,
            "seconds_to_apply": state.seconds,
            "seconds_since_written": state.since_change,
            "publications": state.publications,
            "readings": state.readings,
            "failures": state.failures,
            "policies": len(compiled.policies) if compiled else 0,
            "conditional_rules": sum(bool(ref.rule.condition) for ref in compiled.rules)
            if compiled
            else 0,
            "pods_in_cluster": len(compiled.pods) if compiled else 0,
            "endpoints": {
                word: sum(_state(veth) == word for veth in veths)
                for word in ("bound", "waiting", "unknown")
            },
            "unknown_links": [veth.link.name for veth in veths if _state(veth) == "unknown"],
            "hooks": self._node.hooks,
            "hooks_restored": self._node.hooks_restored,
            "uncovered": self._node.uncovered(),
            "modes": self._reconciler.modes.lines(),
            "modes_of_nothing": modes.unmatched(self._reconciler.modes, compiled.pods)
            if compiled
            else [],
            "connections": {f"ipv{family}": size for family, (size, _) in tracked.items()},
            "connections_limit": tracked[4][1],
            "refused": self._refused(),
            "events_lost": events_lost,
            "totals_lost": totals_lost + self._collector.unlisted,
            "alarms": [
                {"alarm": alarm.name, "text": alarm.text, "since": alarm.since}
                for alarm in self._alarms.standing()
            ],
            "remarks": list(state.remarks[:100]),
        }

    def _refused(self) -> dict[str, int]:
        """Packets by reason that were dropped, or would be by enforcing."""
        packets = self._datapath.counters()[..., 0].sum(axis=(0, 1))
        # What is flooded to other ports is refused to none that it is for.
        refused = range(PacketReason.DENIED, PacketReason.FLOODED)
        return {reason_word(each): int(packets[each]) for each in refused if packets[each]}

    def _endpoints(self, request: dict[str, Any]) -> object:
        compiled, settings = self._reconciler.compiled, self._reconciler.modes
        found = []
        for veth in self._node.veths():
            pod = None
            if compiled and veth.pod and veth.pod in compiled.pod_ids:
                pod = compiled.pods[compiled.pod_ids[veth.pod]]
            found.append(
                {
                    "link": veth.link.name,
                    "index": veth.link.index,
                    "state": _state(veth),
                    "attached": veth.attached and not veth.faults,
                    "faults": veth.faults,
                    "pod": "/".join(veth.pod or ()),
                    "addresses": sorted(veth.addresses),
                    "mode": settings.of(pod).name.lower() if pod else "",
                    "endpoint": veth.binding.number if veth.binding else 0,
                    "slot": veth.binding.slot if veth.binding else -1,
                }
            )
        return sorted(found, key=lambda one: (one["pod"], one["index"]))

    def _policy(self, request: dict[str, Any]) -> object:
        return self._node.describe(_text(request, "pod"))

    def _flows(self, request: dict[str, Any]) -> object:
        limit = request.get("limit")
        if not isinstance(limit, int) or limit < 0:
            raise UsageError("limit: a number of flows is missing")
        found: list[dict[str, Any]] = []
        total = 0
        uncounted = self._datapath.uncounted()
        for family, keys, values in self._datapath.flows():
            total += keys.size
            for key, value in zip(keys, values, strict=True):
                if len(found) >= limit:
                    break
                more = uncounted.get((family, key.tobytes()), (0, 0))
                found.append(self._flow(family, key, value, *more))
        return {"total": total, "flows": found}

    def _flow(self, family: int, key: Any, value: Any, packets: int, size: int) -> dict[str, Any]:
        """``packets`` and ``size`` (bytes) are not counted in ``value``."""
        number, protocol = int(key["owner"]) >> 8, int(key["owner"]) & 0xFF
        ends = (format_address(family_of(family), _packed(key[end])) for end in ("local", "remote"))
        local, remote = ends
        return {
            "pod": "/".join(self._node.pod_of(number) or ()),
            "endpoint": number,
            "origin": layout.PodDirection(int(value["origin"])).name.lower(),
            "protocol": PROTOCOLS.get(protocol, str(protocol)),
            "local": local,
            "local_port": int(key["local_port"]),
            "remote": remote,
            "remote_port": int(key["remote_port"]),
            "packets": int(value["packets"]) + packets,
            "bytes": int(value["bytes"]) + size,
            "generation": int(value["generation"]),
            "state": [bit.name.lower() for bit in layout.State if int(value["state"]) & bit],
        }

    def _report(self, request: dict[str, Any]) -> object:
        collector = self._collector
        if self._reconciler.state.publications:
            collector.drain()
        events_lost, totals_lost = self._datapath.lost()
        return report.make(
            self._name,
            collector.since,
            collector.ledger(),
            events_lost + collector.lost_by_followers,
            totals_lost + collector.unlisted,
            _text(request, "namespace") or None,
            self._node.uncovered(),
        )

    def _events(self, request: dict[str, Any]) -> Iterator[object]:
        last = request.get("last", 0)
        if not isinstance(last, int) or last < 0:
            raise UsageError("last: not a number of events")
        return self._stream(last, bool(request.get("follow")))

    def _stream(self, last: int, follow: bool) -> Iterator[object]:
        collector = self._collector
        reported = 0
        with collector.following() as news:
            for denial in collector.recent(last):
                yield hubble.flow(denial, self._name)
            while True:
                lost = self._datapath.lost()[0] + collector.lost_by_followers
                if lost > reported:
                    yield hubble.lost(lost - reported, self._name)
                    reported = lost
                if not follow:
                    yield {}  # where there was nothing, an answer nevertheless
                    return
                try:
                    yield hubble.flow(news.get(timeout=_BEAT), self._name)
                except queue.Empty:
                    # An empty object carries no event; sending it shows whether the client is still
                    # there.
                    yield {}

    def _mode(self, request: dict[str, Any]) -> object:
        settings = request.get("set", [])
        if not isinstance(settings, list) or not all(isinstance(one, str) for one in settings):
            raise UsageError("set: not a list of settings")
        if settings:
            live = dict(modes.read(self._live_modes).settings)
            for subject, mode in map(modes.parse_setting, settings):
                live.pop(subject, None)
                if mode is not None:
                    live[subject] = mode
            modes.write(self._live_modes, modes.Modes(live))
            number = self._reconciler.wake()
            _wait(lambda: self._reconciler.done >= number)
        return {"modes": self._reconciler.modes.lines()}

    def _confirm(self, request: dict[str, Any]) -> object:
        confirmed = self._reconciler.confirm()
        if confirmed:
            number = self._reconciler.wake()
            _wait(lambda: self._reconciler.done >= number)
        return {"confirmed": confirmed}


def _packed(address: Any) -> int:
    """An address of a flow: one word or four, in network order."""
    return int.from_bytes(np.ascontiguousarray(address).tobytes(), "big")


def _wait(done: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise UsageError("the setting is kept, but is not in force yet: see status")
        time.sleep(0.01)


def _text(request: dict[str, Any], name: str) -> str:
    value = request.get(name, "")
    if not isinstance(value, str):
        raise UsageError(f"{name}: not a text")
    return value


def _state(veth: Veth) -> str:
    if veth.pod is None:
        return "unknown"
    return "bound" if veth.binding is not None else "waiting"
