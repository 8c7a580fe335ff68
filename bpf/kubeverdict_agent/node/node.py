"""The node's side of the datapath: links with programs on them, bound to pods in the tables.

Two threads work here: the agent's own follows links, the reconciler publishes. One lock guards the
records; the kernel's tables are switched outside it, so that a link never waits for a publication.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import OrderedDict
from pathlib import Path
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
from kubeverdict_agent.node.adopting import Adoption
from kubeverdict_agent.node.attaching import Attacher
from kubeverdict_agent.node.coverage import Coverage
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
from kubeverdict_agent.observe.owners import PodOwners

# With more new pods than this, comparing them takes as long as compiling.
_MOST_NEWCOMERS = 2_000
# Endpoint numbers whose pods are remembered: events and flows outlive their links.
_REMEMBERED = 65_536
_OWN_SECONDS = 0.5  # between two publications for addresses of the node


class LocalNode:
    """Made in the thread that calls :meth:`follow`. Where no agent was before, connections of pods
    that are there already are taken over for ``adopt`` seconds."""

    def __init__(
        self,
        name: str,
        datapath: NodeDatapath,
        naming: Naming,
        alarms: Alarms,
        log: EventLog,
        adopt: float = 0.0,
        record: Path | None = None,
    ) -> None:
        self.name = name
        self.datapath = datapath
        self._naming = naming
        self._alarms = alarms
        self._log = log
        self._adoption = Adoption(datapath, log, adopt)
        self._lock = threading.RLock()
        self._pods: OrderedDict[int, PodKey] = OrderedDict()
        self._retired: list[int] = []
        self._unlisted: set[int] = set()  # namespaces whose addresses could not be listed
        self._expected: list[PodKey] = []
        self._wanting = threading.Event()
        self._moved = False
        self.hooks_restored = 0  # links on which our programs were put again
        self._own: set[tuple[int, str]] = set()  # addresses of the node, by link
        self._own_changed = False
        self._own_due = 0.0
        self._own_addresses: tuple[str, ...] = ()
        self._in_force: tuple[int, tuple[Local, ...], Tables] | None = None
        self._compiled: CompiledPolicy | None = None  # of the tables in force
        self._coverage = Coverage(record)
        left = self._coverage.recall()
        self._pods.update(left)
        self.endpoints = NodeEndpoints(
            layout.SLOTS, datapath.bound(), _numbers_of_flows(datapath), left
        )
        self.monitor = Monitor()
        try:
            self._lister = Lister()
            self._attacher = Attacher(datapath.folder)
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
        self._adoption.see_links(there)
        with self._lock:
            # A listing lacks what the kernel skipped because something else changed meanwhile.
            gone = [i for i in self.endpoints.veths if i not in there and not _exists(i)]
            gone += self.endpoints.left_behind
            gone += self._attacher.left_behind(there)
        for index in gone:
            self._lose_link(index)
        for veth in self.veths():
            if veth.attached:
                self._read_back(veth)
        self._see_own_addresses()
        self._see_coverage()
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
        if self._own_changed and time.monotonic() >= self._own_due:
            self._take_own_addresses()
        self._keep_record()
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
            # There may be thousands (IPVS has every Service's): they are not listed for each.
            change = self._own.add if event is Event.ADDRESS else self._own.discard
            change((what.index, what.text))
            self._own_changed = True
        elif isinstance(what, LinkAddress):
            with self._lock:
                for veth in self.endpoints.see_address(what, event is Event.ADDRESS):
                    self._settle(veth)
        else:
            known = self.endpoints.veths.get(what.index)
            if known is not None and known.attached:
                self._read_back(known)

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
            self._read_back(veth)
        else:
            self._lose_link(link.index)  # it vanished half-way

    def _read_back(self, veth: Veth) -> None:
        """Compare what is on a link with what was put there, and put it there again."""
        link = veth.link
        alarm = f"hooks {link.index}"
        programs = self.datapath.from_pod, self.datapath.to_pod
        try:
            faults = self._attacher.faults(link.index, *programs)
            if faults.missing:
                veth.attached = False
                if not _exists(link.index):
                    return  # which the kernel reports
                self.hooks_restored += 1
                self._log("warning", "our programs were removed or replaced", link=link.name)
                self._attach(veth)  # which reads back in turn
                return
        except DatapathError as error:
            self._alarms.raise_(alarm, f"{link.name}: {error}")
            return
        veth.faults = str(faults)
        if veth.faults:
            self._alarms.raise_(alarm, f"{link.name}: {veth.faults}")
        else:
            self._alarms.clear(alarm)

    def _lose_link(self, index: int) -> None:
        with self._lock:
            veth = self.endpoints.lose_link(index)
            self.datapath.unbind(index)
            if veth is not None:
                self._retire(veth)
        self._attacher.forget(index)
        self._alarms.clear(f"link {index}")
        self._alarms.clear(f"hooks {index}")
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
        self._own = {(one.index, one.text) for one in self._lister.addresses(None)}
        self._take_own_addresses()

    def _take_own_addresses(self) -> None:
        self._own_changed = False
        self._own_due = time.monotonic() + _OWN_SECONDS
        own = tuple(sorted({text for _, text in self._own}))
        if own != self._own_addresses:
            self._own_addresses = own
            self._wanting.set()

    def _settle(self, veth: Veth) -> None:
        """Make the kernel's binding of a link what it should be."""
        binding, change = self.endpoints.settle(veth)
        if change and binding is not None:
            # A link that has another pod now: no older connection is that of the new pod.
            if veth.binding is None:
                self._adoption.bind(veth.link.index, binding.number, veth.addresses)
            try:
                self.datapath.bind(veth.link.index, binding.number, binding.slot)
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
        self,
        owners: PodOwners,
        written: float,
    ) -> None:
        with self._lock:
            self._naming.see_owners(owners)
            self._expected = [key for key, pod in owners.local.items() if not pod.host_network]
            self._coverage.see_cluster(owners.local.values())
            self.endpoints.see_cluster(owners.here, written)

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
    def hooks(self) -> str:
        """The sort of hooks that programs are on."""
        return "tcx" if self._attacher.uses_tcx else "clsact"

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
        anew = self._judged_anew(locals_)
        self._adoption.prepare(judged_anew=bool(anew))
        for veth in anew:
            if veth.binding is not None:
                self._adoption.remember(veth.binding.number, veth.addresses)
        generation = self.datapath.publish(tables)
        with self._lock:
            self.endpoints.published({(one.namespace, one.name): one.slot for one in locals_})
            for veth in self.endpoints.veths.values():
                self._settle(veth)
            self._adoption.finish()
            self._in_force = (generation, locals_, tables)
            self._compiled = compiled
        return generation

    def settle(self) -> None:
        self.datapath.settle()

    def _judged_anew(self, locals_: tuple[Local, ...]) -> list[Veth]:
        """Links of pods that were off, whose connections are not known."""
        if self._in_force is None:
            return []
        off = {(one.namespace, one.name) for one in self._in_force[1] if one.mode is Mode.OFF}
        judged = {(one.namespace, one.name) for one in locals_ if one.mode is not Mode.OFF}
        with self._lock:
            return [
                veth for veth in self.endpoints.veths.values() if veth.bound_pod in off & judged
            ]

    # --- questions (any thread) --------------------------------------------------------------

    def pod_of(self, number: int) -> PodKey | None:
        """The pod that has or had an endpoint number."""
        return self._pods.get(number)

    def uncovered(self) -> list[str]:
        """Pods of this node that are not covered, and links whose pod is not believed, in words."""
        return self._coverage.words

    def _see_coverage(self) -> None:
        with self._lock:
            self._coverage.look(self.endpoints.veths.values())
        for alarm, words in self._coverage.alarms.items():
            if words:
                self._alarms.raise_(alarm, words)
            else:
                self._alarms.clear(alarm)

    def _keep_record(self) -> None:
        with self._lock:
            pods = {
                veth.binding.number: veth.bound_pod
                for veth in self.endpoints.veths.values()
                if veth.binding is not None and veth.bound_pod is not None
            }
        self._coverage.keep(pods)

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
