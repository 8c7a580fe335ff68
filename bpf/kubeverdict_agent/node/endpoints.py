"""Which pod is behind each link, and the number and slot under which the kernel knows it.

Pure bookkeeping: callers report changes of links, addresses and the cluster, and ask what to
publish and to bind. The rules that keep packets from being judged as those of another pod:

* A link is bound to a slot only when the tables in force hold its pod there.
* A slot is given away only after a publication without its pod, except that a pod found behind a
  link takes over the slot that the link is bound to if the pod before it is gone: then the new
  tables switch it over in one step. This is also how a restarted agent finds its slots.
* A link that changes its pod gets a new endpoint number, so that connections of the earlier pod
  match no pod.
* A link whose pod is known keeps it until the link or the pod is gone: a pod that may change its
  addresses (NET_ADMIN) becomes nobody else by that, nor nobody.
* A pod that was seen behind another link is not believed to be behind this one: perhaps it was made
  anew, or another one uses its address. The cluster's state says who it is, once it is
  written after the link was seen, and unless the other link still stands for that pod.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from kubeverdict_agent.node.netlink import Link, LinkAddress

PodKey = tuple[str, str]
"""Namespace and name."""

_NUMBERS = 1 << 24
_CLOCK_TICK = 0.02  # seconds that the time of a file may be behind


@dataclass(frozen=True, slots=True)
class Binding:
    """What the kernel knows of a link: the endpoint's number and its slot."""

    number: int
    slot: int


@dataclass(slots=True)
class Veth:
    """A link to a pod. ``pod`` is the pod that has its addresses, ``bound_pod`` that of the
    binding; None in both where that is not known. ``faults`` say what keeps our programs on it from
    being run."""

    link: Link
    addresses: set[str] = field(default_factory=set)
    pod: PodKey | None = None
    binding: Binding | None = None
    bound_pod: PodKey | None = None
    attached: bool = False
    faults: str = ""
    since: float = 0.0  # when it was seen first, in seconds since the epoch
    moved: PodKey | None = None  # the pod that has its addresses, which is not believed


class NodeEndpoints:
    """The links of the node. ``bound``, ``numbers`` and ``pods`` are what an agent before this one
    left: bindings by interface index, endpoint numbers that flows in the kernel still have, and the
    pods behind numbers."""

    def __init__(
        self,
        slots: int,
        bound: Mapping[int, tuple[int, int]] | None = None,
        numbers: Iterable[int] = (),
        pods: Mapping[int, PodKey] | None = None,
    ) -> None:
        self.veths: dict[int, Veth] = {}
        self.unplaced: list[PodKey] = []  # pods for which no slot was left
        self._left = {index: Binding(*binding) for index, binding in (bound or {}).items()}
        self._used = {*numbers, *(binding.number for binding in self._left.values())}
        self._number = max(self._used, default=0)
        self._slots = slots
        self._slot_of: dict[PodKey, int] = {}
        self._in_force: dict[int, PodKey] = {}
        self._pods_left = dict(pods or {})
        self._owners: Mapping[str, PodKey] | None = None  # before the first cluster
        self._alive: frozenset[PodKey] = frozenset()
        self._homes: dict[PodKey, int] = {}  # the link that a pod was seen behind

    # --- links and addresses -----------------------------------------------------------------

    def see_link(self, link: Link) -> Veth | None:
        """A link that is there, or was renamed. None where it leads to no pod."""
        veth = self.veths.get(link.index)
        if link.netns is None:
            return None
        if veth is None:
            veth = self.veths[link.index] = Veth(link, since=time.time())
            veth.binding = self._left.pop(link.index, None)
            if veth.binding is not None:
                veth.pod = veth.bound_pod = self._pods_left.get(veth.binding.number)
                if veth.pod is not None:
                    self._homes[veth.pod] = link.index
        elif (veth.link.netns, veth.link.peer) != (link.netns, link.peer):
            veth.addresses.clear()
        veth.link = link
        return veth

    def lose_link(self, index: int) -> Veth | None:
        """A link that is gone; its binding is to be taken out of the kernel."""
        self._left.pop(index, None)
        return self.veths.pop(index, None)

    def see_addresses(self, netns: int, addresses: Iterable[LinkAddress]) -> list[Veth]:
        """All addresses of a namespace. Returns the links whose pod changed."""
        found: dict[int, set[str]] = {}
        for address in addresses:
            found.setdefault(address.index, set()).add(address.text)
        changed = []
        for veth in self.veths.values():
            if veth.link.netns == netns:
                veth.addresses = found.get(veth.link.peer, set())
                if self._identify(veth):
                    changed.append(veth)
        return changed

    def see_address(self, address: LinkAddress, there: bool) -> list[Veth]:
        """One address that came or went. Returns the links whose pod changed."""
        changed = []
        for veth in self.veths.values():
            if (veth.link.netns, veth.link.peer) == (address.netns, address.index):
                (veth.addresses.add if there else veth.addresses.discard)(address.text)
                if self._identify(veth):
                    changed.append(veth)
        return changed

    @property
    def left_behind(self) -> list[int]:
        """Links that an earlier agent bound and that were not seen since."""
        return sorted(self._left)

    # --- the cluster -------------------------------------------------------------------------

    def see_cluster(self, owners: Mapping[str, PodKey], written: float = 0.0) -> None:
        """Which pod has each address, as the cluster's state says that was ``written`` then (in
        seconds since the epoch)."""
        before = owners if self._owners is None else self._owners
        self._owners = owners
        self._alive = frozenset(owners.values())
        # What was seen is about the pod that had these addresses then.
        was, now = _addresses(before), _addresses(owners)
        self._homes = {pod: i for pod, i in self._homes.items() if was.get(pod) == now.get(pod)}
        for veth in self.veths.values():
            pod = veth.moved
            if pod is not None and written >= veth.since - _CLOCK_TICK and not self._stands(pod):
                self._homes.pop(pod, None)
            self._identify(veth)

    def assign(self, expected: Iterable[PodKey], known: Collection[PodKey]) -> dict[PodKey, int]:
        """A slot for each pod that the next tables should hold: pods behind links first, then
        those ``expected`` on the node, so that their link can be bound when it appears. Only
        ``known`` pods can be in tables."""
        wanted = [veth.pod for veth in self.veths.values() if veth.pod in known]
        # A pod that is still bound keeps its slot until its link is bound to another.
        wanted += [veth.bound_pod for veth in self.veths.values() if veth.bound_pod in known]
        certain = {pod for pod in wanted if pod is not None}
        hopeful = [pod for pod in dict.fromkeys(expected) if pod not in certain and pod in known]
        for veth in self.veths.values():
            self._inherit(veth, certain)
        taken = self._taken()
        free = [slot for slot in range(self._slots - 1, -1, -1) if slot not in taken]
        lacking = [pod for pod in sorted(certain) if pod not in self._slot_of]
        # Pods that are only expected make room; theirs is free for the publication after this.
        held = [pod for pod in hopeful if pod in self._slot_of]
        given_up = set(held[: max(len(lacking) - len(free), 0)])
        self.unplaced = lacking[len(free) + len(given_up) :]
        chosen: dict[PodKey, int] = {}
        for pod in (*sorted(certain), *(pod for pod in hopeful if pod not in given_up)):
            slot = self._slot_of.get(pod)
            if slot is None and free:
                slot = free.pop()
            if slot is not None:
                chosen[pod] = slot
        self._slot_of = chosen
        return dict(chosen)

    def published(self, slots: Mapping[PodKey, int]) -> None:
        """What the tables in force hold now."""
        self._in_force = {slot: pod for pod, slot in slots.items()}

    # --- what the kernel should know ---------------------------------------------------------

    def settle(self, veth: Veth) -> tuple[Binding | None, bool]:
        """The binding that a link should have, and whether that is a change to be made.

        The caller makes it, and then calls :meth:`bound`."""
        pod = veth.pod
        slot = self._slot_of.get(pod) if pod is not None else None
        ready = slot is not None and self._in_force.get(slot) == pod
        if not ready:
            # One that is known but not in force yet keeps what it has until the tables come.
            if pod is not None and pod not in self.unplaced:
                return veth.binding, False
            return None, veth.binding is not None
        assert slot is not None
        binding = veth.binding
        if binding is not None and binding.slot == slot and veth.bound_pod in (pod, None):
            veth.bound_pod = pod
            return binding, False
        return Binding(self._next_number(), slot), True

    def bound(self, veth: Veth, binding: Binding | None) -> None:
        """A change of a binding was made."""
        veth.binding = binding
        veth.bound_pod = veth.pod if binding is not None else None

    def is_waiting(self, veth: Veth) -> bool:
        """Whether the tables in force lack the pod behind a link, and others could hold it."""
        pod = veth.pod
        slot = self._slot_of.get(pod) if pod is not None else None
        in_force = slot is not None and self._in_force.get(slot) == pod
        return pod is not None and not in_force and pod not in self.unplaced

    # --- inside ------------------------------------------------------------------------------

    def _identify(self, veth: Veth) -> bool:
        owners = self._owners
        if owners is None or (veth.pod is not None and veth.pod in self._alive):
            return False
        found = {owners[text] for text in veth.addresses & owners.keys()}
        here = {pod for pod in found if self._homes.get(pod, veth.link.index) == veth.link.index}
        # Where addresses disagree, one and the same pod is chosen each time.
        pod = min(here, default=None)
        veth.moved = min(found, default=None) if pod is None else None
        if pod is not None:
            self._homes[pod] = veth.link.index
        changed, veth.pod = pod != veth.pod, pod
        return changed

    def _stands(self, pod: PodKey) -> bool:
        """Whether the link that a pod was seen behind is there and still that pod's."""
        veth = self.veths.get(self._homes.get(pod, 0))
        return veth is not None and veth.pod == pod

    def _inherit(self, veth: Veth, wanted: Collection[PodKey]) -> None:
        if veth.binding is None or veth.pod is None or veth.pod in self._slot_of:
            return
        slot = veth.binding.slot
        holder = next((pod for pod, held in self._slot_of.items() if held == slot), None)
        if holder is not None and holder in wanted:
            return
        if holder is not None:
            del self._slot_of[holder]
        self._slot_of[veth.pod] = slot

    def _taken(self) -> set[int]:
        """Slots that must not be given away now."""
        bindings = [veth.binding for veth in self.veths.values()] + list(self._left.values())
        bound = {binding.slot for binding in bindings if binding is not None}
        return bound | self._in_force.keys() | set(self._slot_of.values())

    def _next_number(self) -> int:
        in_use = {veth.binding.number for veth in self.veths.values() if veth.binding is not None}
        while True:
            self._number = self._number % (_NUMBERS - 1) + 1
            if self._number not in in_use and self._number not in self._used:
                return self._number


def _addresses(owners: Mapping[str, PodKey]) -> dict[PodKey, set[str]]:
    found: dict[PodKey, set[str]] = {}
    for text, pod in owners.items():
        found.setdefault(pod, set()).add(text)
    return found
