"""The node's side of the datapath: links with programs on them, bound to pods in the tables.

Two threads work here: the agent's own follows links, the reconciler publishes. One lock guards the
records; the kernel's tables are switched outside it, so that a link never waits for a publication.
"""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.model.cluster import Cluster
from kubeverdict_agent.control.modes import Modes
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.errors import DatapathError
from kubeverdict_agent.lowering.joining import Joiner, newcomers
from kubeverdict_agent.lowering.rows import DecidedRules
from kubeverdict_agent.lowering.tables import Local, Tables
from kubeverdict_agent.node.attaching import Attacher
from kubeverdict_agent.node.endpoints import NodeEndpoints, PodKey, Veth
from kubeverdict_agent.node.netlink import (
    Event,
    HookRemoved,
    Link,
    LinkAddress,
    Lister,
    Lost,
    Monitor,
)
from kubeverdict_agent.observe.alarms import Alarms, EventLog
from kubeverdict_agent.observe.naming import Naming

# With more new pods than this, comparing them takes as long as compiling.
_MOST_NEWCOMERS = 2_000
# Endpoint numbers whose pods are remembered: events and flows outlive their links.
_REMEMBERED = 65_536


class LocalNode:
    """Made in the thread that calls :meth:`follow`. For ``adopt`` seconds after packets of a pod
    begin to be judged, its connections may be older than that."""

    def __init__(
        self,
        name: str,
        datapath: NodeDatapath,
        naming: Naming,
        alarms: Alarms,
        log: EventLog,
        adopt: float = 0.0,
    ) -> None:
        self.name = name
        self.datapath = datapath
        self._naming = naming
        self._alarms = alarms
        self._log = log
        self._adopt = adopt
        self._lock = threading.RLock()
        self._pods: OrderedDict[int, PodKey] = OrderedDict()
        self._retired: list[int] = []
        self._unlisted: set[int] = set()  # namespaces whose addresses could not be listed
        self._expected: list[PodKey] = []
        self._wanting = threading.Event()
        self._moved = False
        self._own_addresses: tuple[str, ...] = ()
        self._in_force: tuple[int, tuple[Local, ...], Tables] | None = None
        self._compiled: CompiledPolicy | None = None  # of the tables in force
        self.endpoints = NodeEndpoints(layout.SLOTS, datapath.bound(), _numbers_of_flows(datapath))
        self.monitor = Monitor()
        try:
            self._lister = Lister()
            self._attacher = Attacher()
        except BaseException:
            self.monitor.close()
            raise

    def close(self) -> None:
        self.monitor.close()
        self._lister.close()
        self._attacher.close()

    # --- links (the agent's thread) ----------------------------------------------------------

    def list_all(self) -> None:
        """Take note of everything that is there, and of what is no longer; what failed before is
        tried again."""
        self._unlisted.clear()
        links = self._see_links(again=True)
        there = {link.index for link in links}
        with self._lock:
            # A listing lacks what the kernel skipped because something else changed meanwhile.
            gone = [i for i in self.endpoints.veths if i not in there and not _exists(i)]
            gone += self.endpoints.left_behind
        for index in gone:
            self._lose_link(index)
        self._see_own_addresses()
        if not self._unlisted:
            self._alarms.clear("addresses")
        if self._in_force is None:
            return  # it is not known yet which pods are behind links that an earlier agent bound
        with self._lock:
            for veth in self.endpoints.veths.values():
                self._settle(veth)

    def _see_links(self, again: bool = False) -> list[Link]:
        """Take note of the links that are there; ``again``: also of addresses that were known."""
        links = self._lister.links()
        new = {link.netns for link in links if self._see_link(link) or again}
        for netns in new - {None}:
            self._see_addresses(netns)
        return links

    def follow(self) -> bool:
        """Take note of what the kernel reported since the last call. True where the tables in force
        are not enough for it."""
        try:
            for event, what in self.monitor.read():
                self._take(event, what)
        except Lost:
            self._log("warning", "link changes were lost; listing everything")
            self.list_all()
        if self._moved:
            self._moved = False
            self._see_links()
        wanting = self._wanting.is_set()
        self._wanting.clear()
        return wanting

    def _take(self, event: Event, what: Link | LinkAddress | HookRemoved) -> None:
        if isinstance(what, Link):
            if event is Event.NO_LINK and what.index in self.endpoints.veths:
                self._lose_link(what.index)
            elif event is Event.NO_LINK:
                # Perhaps an inner end that moved into a pod; nothing is reported about the outer
                # one.
                self._moved = True
            elif self._see_link(what):
                assert what.netns is not None
                self._see_addresses(what.netns)
        elif isinstance(what, LinkAddress) and what.netns is None:
            self._see_own_addresses()
        elif isinstance(what, LinkAddress):
            with self._lock:
                for veth in self.endpoints.see_address(what, event is Event.ADDRESS):
                    self._settle(veth)
        else:
            known = self.endpoints.veths.get(what.index)
            if known is not None and known.attached:
                self._reattach(known)

    def _see_link(self, link: Link) -> bool:
        """Whether the link is new, or leads elsewhere, so that its addresses are not known."""
        with self._lock:
            known = self.endpoints.veths.get(link.index)
            place = known and (known.link.netns, known.link.peer)
            if known is not None and known.link.name != link.name:
                self._log("info", "link was renamed", link=link.name, was=known.link.name)
            veth = self.endpoints.see_link(link)
        if veth is None:
            return False
        if not veth.attached:
            self._attach(veth)
        return place != (link.netns, link.peer)

    def _attach(self, veth: Veth) -> None:
        link = veth.link
        alarm = f"link {link.index}"
        try:
            veth.attached = self._attacher.attach(
                link.index, self.datapath.from_pod, self.datapath.to_pod
            )
        except DatapathError as error:
            self._alarms.raise_(alarm, f"{link.name}: {error}")
            return
        self._alarms.clear(alarm)
        if veth.attached:
            self._log("info", "attached", link=link.name, index=link.index)
        else:
            self._lose_link(link.index)  # it vanished half-way

    def _reattach(self, veth: Veth) -> None:
        if not self._attacher.placed(veth.link.index).complete:
            veth.attached = False
            self._log(
                "warning", "our programs were removed by another process", link=veth.link.name
            )
            self._attach(veth)

    def _lose_link(self, index: int) -> None:
        with self._lock:
            veth = self.endpoints.lose_link(index)
            self.datapath.unbind(index)
            if veth is not None:
                self._retire(veth)
        self._alarms.clear(f"link {index}")
        if veth is not None:
            self._log("info", "link is gone", link=veth.link.name, index=index)

    def _see_addresses(self, netns: int | None) -> None:
        assert netns is not None
        try:
            addresses = self._lister.addresses(netns)
        except OSError as error:
            # Other pods must not suffer from it.
            self._unlisted.add(netns)
            self._alarms.raise_("addresses", f"of network namespace {netns}: {error}")
            return
        with self._lock:
            for veth in self.endpoints.see_addresses(netns, addresses):
                self._settle(veth)

    def _see_own_addresses(self) -> None:
        """The node's, which its pods let in whatever the policies say."""
        own = tuple(sorted({address.text for address in self._lister.addresses(None)}))
        if own != self._own_addresses:
            self._own_addresses = own
            self._wanting.set()

    def _settle(self, veth: Veth) -> None:
        """Make the kernel's binding of a link what it should be."""
        binding, change = self.endpoints.settle(veth)
        if change and binding is not None:
            # The link has another pod now: no older connection is that of the new pod.
            adopt = self._adopt if veth.binding is None else 0.0
            try:
                self.datapath.bind(veth.link.index, binding.number, binding.slot, adopt=adopt)
            except DatapathError as error:
                self._alarms.raise_(f"link {veth.link.index}", f"{veth.link.name}: {error}")
                return
            self._alarms.clear(f"link {veth.link.index}")
        elif change:
            self.datapath.unbind(veth.link.index)
        if change:
            self._retire(veth)
            self.endpoints.bound(veth, binding)
            self._log(
                "info",
                "bound" if binding else "unbound",
                link=veth.link.name,
                pod="/".join(veth.pod or ()),
                endpoint=binding.number if binding else 0,
            )
        if binding is not None and veth.bound_pod is not None:
            self._pods[binding.number] = veth.bound_pod
            while len(self._pods) > _REMEMBERED:
                self._pods.popitem(last=False)
        if self.endpoints.is_waiting(veth):
            self._wanting.set()

    def _retire(self, veth: Veth) -> None:
        """The endpoint number that a link has is about to be retired."""
        if veth.binding is not None:
            self._retired.append(veth.binding.number)

    # --- publications (the reconciler's thread) -------------------------------------------------

    def see_cluster(
        self, compiled: CompiledPolicy, anywhere: Mapping[str, int], here: Mapping[str, PodKey]
    ) -> None:
        with self._lock:
            self._naming.see_owners(compiled, anywhere)
            self._expected = [
                (pod.namespace, pod.name)
                for pod in compiled.pods
                if pod.node == self.name and not pod.host_network
            ]
            self.endpoints.see_cluster(here)

    def locals(self, compiled: CompiledPolicy, modes: Modes) -> tuple[Local, ...]:
        with self._lock:
            slots = self.endpoints.assign(self._expected, compiled.pod_ids)
            unplaced = self.endpoints.unplaced
        if unplaced:
            self._alarms.raise_(
                "slots",
                f"{len(unplaced)} pods are not covered: a node has room for {layout.SLOTS}",
            )
        else:
            self._alarms.clear("slots")
        return tuple(
            Local(slot, *key, modes.of(compiled.pods[compiled.pod_ids[key]]))
            for key, slot in slots.items()
        )

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """The addresses of the node itself."""
        return self._own_addresses

    def join(self, cluster: Cluster) -> None:
        """Let peers see pods that are new and like others, before ``cluster`` is compiled."""
        if self._in_force is None or self._compiled is None:
            return
        new = newcomers(self._compiled, cluster)
        if not 0 < len(new) <= _MOST_NEWCOMERS:
            return
        joiner = Joiner(self._compiled, self._in_force[2])
        found = [joinings for pod in new if (joinings := joiner.join(pod))]
        joined = sum(self.datapath.join(joinings) for joinings in found)
        self._log("info", "pods joined", pods=joined, new=len(new))

    def publish(self, compiled: CompiledPolicy, locals_: tuple[Local, ...], tables: Tables) -> int:
        # Before its first event can come.
        decided = DecidedRules(tables.rules, tables.tiers, tables.conditional)
        self._naming.published(self.datapath.generation + 1, compiled, decided)
        self._adopt_for_those_judged_anew(locals_)
        generation = self.datapath.publish(tables)
        with self._lock:
            self.endpoints.published({(one.namespace, one.name): one.slot for one in locals_})
            for veth in self.endpoints.veths.values():
                self._settle(veth)
            self._in_force = (generation, locals_, tables)
            self._compiled = compiled
        # The next publication has to wait for the packets of the one before: better now.
        self.datapath.settle()
        return generation

    def _adopt_for_those_judged_anew(self, locals_: tuple[Local, ...]) -> None:
        """Connections of pods that were off are not known."""
        if self._in_force is None:
            return
        off = {(one.namespace, one.name) for one in self._in_force[1] if one.mode is Mode.OFF}
        judged = {(one.namespace, one.name) for one in locals_ if one.mode is not Mode.OFF}
        with self._lock:
            for veth in self.endpoints.veths.values():
                if veth.binding is not None and veth.bound_pod in off & judged:
                    index, binding = veth.link.index, veth.binding
                    self.datapath.bind(index, binding.number, binding.slot, adopt=self._adopt)

    # --- questions (any thread) --------------------------------------------------------------

    def pod_of(self, number: int) -> PodKey | None:
        """The pod that has or had an endpoint number."""
        return self._pods.get(number)

    def take_retired(self) -> list[int]:
        """Endpoint numbers that were retired since the last call."""
        with self._lock:
            retired, self._retired = self._retired, []
        return retired

    def veths(self) -> list[Veth]:
        with self._lock:
            return list(self.endpoints.veths.values())

    def describe(self, pod: str) -> dict[str, Any]:
        """The tables in force, in words: of every pod of this node, or of ``pod``."""
        in_force = self._in_force
        if in_force is None:
            return {"generation": 0, "pods": []}
        generation, locals_, tables = in_force
        found: list[dict[str, Any]] = []
        for local in locals_:
            key = (local.namespace, local.name)
            name = "/".join(key)
            if pod in ("", name):
                words = {
                    direction.name.lower(): self._decisions(generation, tables, local, direction)
                    for direction in layout.PodDirection
                }
                found.append({"pod": name, "mode": local.mode.name.lower(), **words})
        return {"generation": generation, "pods": found}

    def _decisions(
        self, generation: int, tables: Tables, local: Local, direction: layout.PodDirection
    ) -> list[str]:
        """Every decision that can be made about a pod."""
        subject = int(tables.locals["subject"][local.slot, direction])
        decisions = np.unique(tables.rows[np.unique(tables.cells[direction][subject])])
        words = []
        for decision in decisions.tolist():
            key = (local.namespace, local.name)
            decider = self._naming.decider(generation, decision, key, direction)
            verb = "allow" if decision & layout.DECISION_ALLOWS else "deny"
            said = decider.reason in ("rule", "conditional")
            words.append(decider.text if said else f"{verb}: {decider.text}")
        return sorted(set(words))


def _exists(index: int) -> bool:
    try:
        socket.if_indextoname(index)
    except OSError:
        return False
    return True


def _numbers_of_flows(datapath: NodeDatapath) -> set[int]:
    """Endpoint numbers that connections in the kernel have."""
    found: set[int] = set()
    for _, keys, _ in datapath.flows():
        found.update(np.unique(keys["owner"] >> 8).tolist())
    return found
