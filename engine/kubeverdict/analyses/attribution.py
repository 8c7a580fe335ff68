"""Which pods and addresses the ends of logged connections were: pods by their names, addresses by
their owners at the time."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from math import inf
from re import compile as pattern
from typing import NamedTuple

import msgspec

from kubeverdict.model.addresses import Address, parse_address
from kubeverdict.model.cluster import Cluster, Pod, Service
from kubeverdict.model.flows import FlowEnd, seconds
from kubeverdict.services import ServiceResolver

NOT_IN_CLUSTER = "pods that are not in the cluster"
ANOTHERS = "addresses that were another pod's at the time"
NOBODYS = "addresses among those of pods that no pod has"
NOT_AN_ADDRESS = "ends that are neither a pod nor an address"

# An address this near to that of a pod is a pod's as well.
_NEAR = {4: 8, 6: 64}
# What controllers append to names: letters that Kubernetes draws, or a hash with digits in it.
_GENERATED = pattern(r"\d+|[bcdfghjklmnpqrstvwxz2456789]{5,10}|(?=[a-z]*\d)[a-z0-9]{5,12}")
_MOST_PARTS = 3

Owner = Pod | Service
PodName = tuple[str, str]


class TrafficEnd(msgspec.Struct, frozen=True, eq=False):
    """One end of traffic: a pod, a Service, an address, or, in ``unknown``, why it is none.

    ``name`` is what reports call it. ``virtual`` is the address of a Service: which of the
    Services that share it is meant, the port decides. ``by_workload``: the pod itself is not in
    the cluster, and this one of its workload stands for it.
    """

    name: str
    pod: Pod | None = None
    service: Service | None = None
    virtual: str = ""
    address: str = ""
    unknown: str = ""
    by_workload: bool = False


class _Claim(NamedTuple):
    """From ``since`` on an address belongs to an owner; None for a pod that is not known."""

    since: float
    number: int  # orders claims of one time
    logged: bool  # a log says so, not the cluster
    name: PodName
    owner: Owner | None


class Attribution:
    """Numbers the ends of the records of one batch. ``ends`` holds what they are."""

    def __init__(self, cluster: Cluster, resolver: ServiceResolver) -> None:
        self._pods: dict[PodName, Pod] = {}
        self._workloads: dict[PodName, Pod] = {}
        self._claims: dict[str, list[_Claim]] = {}
        self._hosts: set[str] = set()
        self._near: set[tuple[int, int]] = set()
        self.ends: list[TrafficEnd] = []
        # What needs no look at the time is looked up here at once.
        self.known: dict[FlowEnd, int] = {}
        self._numbers: dict[object, int] = {}
        self._bare: dict[str, int] = {}
        self._asked: dict[str, FlowEnd] = {}
        self._fill(cluster, resolver)

    def number(self, end: FlowEnd, time: str | float | None) -> int:
        """The number of an end at a time. Names in records teach who has an address."""
        if end.pod or end.workload:
            number = self.known[end] = self._named(end, time)
            return number
        if end.outside:
            number = self.known[end] = self._address(end.address)
            return number
        claims = self._claims.get(end.address)
        if claims is None:
            text = _canonical(end.address)
            if text != end.address and text in self._claims:
                return self.number(msgspec.structs.replace(end, address=text), time)
            number = self.known[end] = self._bare[text] = self._address(text)
            self._asked[text] = end
            return number
        if len(claims) == 1 and (claims[0].since == -inf or claims[0].logged):
            return self._claimed(claims[0], end.address)
        return self._at(claims, end.address, seconds(time))

    def settle(self) -> None:
        """Look again at addresses that nobody had when they were met: records that came later
        may have named their pod. What is near the addresses of pods and still nobody's is not
        known."""
        for text, number in self._bare.items():
            claims = self._claims.get(text, [])
            if len(claims) == 1:
                self.ends[number] = self.ends[self._claimed(claims[0], text)]
            elif claims:
                self.ends[number] = TrafficEnd(text, unknown=ANOTHERS)
            elif text not in self._hosts and self._is_near(text):
                self.ends[number] = TrafficEnd(text, unknown=NOBODYS)

    def forget(self) -> None:
        """Begin another batch; who has which address stays known."""
        self.ends = []
        self.known, self._numbers, self._bare, self._asked = {}, {}, {}, {}

    def pod_number(self, pod: Pod) -> int:
        return self._numbered((pod.namespace, pod.name), TrafficEnd(str(pod), pod=pod))

    def address_number(self, address: str) -> int:
        """The number of an address outside, whether or not a pod has it too."""
        return self._address(address)

    def _fill(self, cluster: Cluster, resolver: ServiceResolver) -> None:
        for node in cluster.nodes:
            self._hosts.update(map(_canonical, node.addresses))
        for pod in cluster.pods:
            self._pods[pod.namespace, pod.name] = pod
            ref = pod.workload
            key = (ref.namespace, ref.name)
            if key not in self._workloads or self._workloads[key].finished:
                self._workloads[key] = pod
            if pod.host_network:
                self._hosts.update(map(_canonical, pod.addresses))
                continue
            for text in map(_canonical, pod.addresses):
                self._near.add(_neighbourhood(text))
                self._claim(text, pod.started or -inf, (pod.namespace, pod.name), pod, False)
        for text, holders in resolver.virtual:
            self._claim(text, -inf, ("svc", text), holders[0].service, False)

    def _claim(
        self, text: str, since: float, name: PodName, owner: Owner | None, logged: bool
    ) -> None:
        claims = self._claims.setdefault(text, [])
        # Of pods that have one address at once, the one that runs has it.
        running = isinstance(owner, Pod) and owner.phase == "Running"
        place = len(claims) + (1 << 40 if running else 0)
        insort(claims, _Claim(since, place, logged, name, owner), key=lambda one: one[:2])

    def _named(self, end: FlowEnd, time: str | float | None) -> int:
        name = (end.namespace, end.pod)
        pod = self._pods.get(name)
        stands_in = None
        if pod is None:
            stands_in = next(
                (
                    self._workloads[end.namespace, workload]
                    for workload in _workload_names(end)
                    if (end.namespace, workload) in self._workloads
                ),
                None,
            )
        known = pod or stands_in
        if end.address and not (known and known.host_network):
            self._teach(end, time, known)
        if pod is not None:
            return self.pod_number(pod)
        if stands_in is not None:
            return self._stands_in(stands_in)
        what = f"{end.namespace}/{end.pod or end.workload}"
        return self._numbered((*name, end.workload), TrafficEnd(what, unknown=NOT_IN_CLUSTER))

    def _stands_in(self, pod: Pod) -> int:
        key = ("workload", pod.namespace, pod.name)
        return self._numbered(key, TrafficEnd(str(pod), pod=pod, by_workload=True))

    def _teach(self, end: FlowEnd, time: str | float | None, owner: Owner | None) -> None:
        text = _canonical(end.address)
        at = seconds(time)
        name = (end.namespace, end.pod)
        claims = self._claims.get(text)
        if claims and _in_force(claims, at).name == name:
            return
        since = -inf if at is None else at
        self._claim(text, since, name, owner, logged=True)
        asked = self._asked.get(text)
        if asked is not None:
            # From here on the time decides; what was seen before is settled at the end.
            self.known.pop(asked, None)

    def _at(self, claims: list[_Claim], text: str, time: float | None) -> int:
        claim = _in_force(claims, time)
        if time is not None and claim.since > time and not claim.logged:
            return self._numbered(("another's", text), TrafficEnd(text, unknown=ANOTHERS))
        return self._claimed(claim, text)

    def _claimed(self, claim: _Claim, text: str) -> int:
        owner = claim.owner
        if isinstance(owner, Service):
            end = TrafficEnd(f"svc/{owner}", service=owner, virtual=text)
            return self._numbered(("svc", text), end)
        if owner is None:
            name = "/".join(claim.name)
            return self._numbered((*claim.name, ""), TrafficEnd(name, unknown=NOT_IN_CLUSTER))
        if claim.name == (owner.namespace, owner.name):
            return self.pod_number(owner)
        return self._stands_in(owner)

    def _address(self, text: str) -> int:
        canonical = _canonical(text)
        if not canonical:
            what = text or "an empty address"
            return self._numbered(("bad", text), TrafficEnd(what, unknown=NOT_AN_ADDRESS))
        return self._numbered(canonical, TrafficEnd(canonical, address=canonical))

    def _numbered(self, key: object, end: TrafficEnd) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.ends)
            self.ends.append(end)
        return number

    def _is_near(self, text: str) -> bool:
        return bool(text) and _neighbourhood(text) in self._near


def _in_force(claims: list[_Claim], time: float | None) -> _Claim:
    """The claim at a time: the latest before it, else the first; the latest of all where the
    time is not known."""
    if time is None:
        return claims[-1]
    place = bisect_right(claims, time, key=lambda one: one.since)
    return claims[max(place - 1, 0)]


def _canonical(text: str) -> str:
    """The canonical spelling of an address, empty for what is none. IPv4 has one spelling."""
    address = parse_address(text)
    if address is None:
        return ""
    return text if address.family == 4 else str(address)


def _neighbourhood(text: str) -> tuple[int, int]:
    address = parse_address(text) or Address(4, 0)
    return address.family, address.value >> _NEAR[address.family]


def _workload_names(end: FlowEnd) -> Iterator[str]:
    """Names that the workload of a pod may have, the likeliest first."""
    if end.workload:
        yield end.workload
    name, star, _ = end.pod.partition("*")
    if star:
        name = name.rstrip("-")
        yield name
    for _ in range(_MOST_PARTS):
        name, dash, last = name.rpartition("-")
        if not dash or not _GENERATED.fullmatch(last):
            return
        yield name
