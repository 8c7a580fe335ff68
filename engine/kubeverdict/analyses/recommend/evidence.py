"""What each group needs: traffic that isolation alone would deny, summed up by its ends.

What no NetworkPolicy lets through, because another tier denies it, is no evidence: it is counted.
What another tier allows before NetworkPolicy is asked is evidence like everything else. That tier
may change, and who isolates a pod must not make it depend on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.judged_traffic import (
    Count,
    JudgedTraffic,
    at_least,
    counted,
    judged,
    only,
)
from kubeverdict.analyses.recommend.groups import Group
from kubeverdict.analyses.recommend.stages import is_network_policy, isolated, opened
from kubeverdict.analyses.traffic import LogReading, Traffic
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.evaluate.bounds import conditions
from kubeverdict.evaluate.flows import Verdicts, denies
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import NETWORK_POLICY, Direction
from kubeverdict.model.profile import Profile

# (protocol, port); the port is 0 where there is none.
Port = tuple[int, int]
# A group as subject, in one direction.
Side = tuple[int, Direction]
# Groups, peers and ports packed into one number.
_PEER_BITS, _PLACE_BITS = 22, 19


@dataclass(slots=True)
class Needs:
    """What one group needs in one direction: records by peer group and port, and by port and
    address. ``remarks`` count the records of which there is more to say, by peer group (None for
    addresses) and port."""

    pods: dict[int, dict[Port, int]] = field(default_factory=dict)
    addresses: dict[Port, dict[str, int]] = field(default_factory=dict)
    remarks: dict[tuple[int | None, Port], dict[str, int]] = field(default_factory=dict)


class Evidence(msgspec.Struct):
    """What traffic shows of groups, by their places.

    ``managed`` are the pods that policies are about. ``out_of_reach`` counts the connections that
    no NetworkPolicy lets through, ``hopeless`` are those that were seen trying. ``conditional``
    counts those that depend on the condition of a rule whatever NetworkPolicies say.
    """

    managed: frozenset[tuple[str, str]]
    needs: dict[Side, Needs] = {}
    hopeless: set[Side] = set()
    out_of_reach: Count = Count()
    conditional: Count = Count()


def evidence_of(
    cluster: Cluster,
    profile: Profile,
    static: bool,
    groups: Sequence[Group],
    traffic: Traffic,
    reading: LogReading,
) -> Evidence:
    """What each group (by its place) needs in each direction: what a cluster in which everything
    is isolated would deny, and NetworkPolicies can allow."""
    compiled = isolated(cluster, profile, static)
    part = judged(compiled, traffic.rows(traffic.observed > 0), reading)
    group_of = np.full(len(compiled.pods), -1, np.int64)
    for number, group in enumerate(groups):
        for pod in group.pods:
            place = compiled.pod_ids.get((pod.namespace, pod.name))
            if place is not None:
                group_of[place] = number
    found = Evidence(frozenset(compiled.pod_ids))
    remarks = {direction: _Remarks(len(part.traffic)) for direction in Direction}
    open_to_all = opened(cluster, profile, static)
    if open_to_all is not None:
        most = judged(open_to_all, part.traffic)
        least = at_least(open_to_all, most)
        reached = most.verdicts.allowed
        found.out_of_reach = counted(most, ~reached)
        found.conditional = counted(most, reached & ~least.verdicts.allowed)
        for direction in Direction:
            subjects = (part.source, part.destination)[direction is Direction.INGRESS][~reached]
            places = group_of[subjects[subjects < group_of.size]]
            found.hopeless |= {(number, direction) for number in np.unique(places).tolist()}
            columns = (_column(one.verdicts, direction)[reached] for one in (most, least))
            remarks[direction] = _remarks(open_to_all, *columns)
        part = only(part, reached)
    for direction in Direction:
        _add(found.needs, direction, part, group_of, len(groups), remarks[direction])
    return found


def _column(verdicts: Verdicts, direction: Direction) -> NDArray[np.int32]:
    return verdicts.egress if direction is Direction.EGRESS else verdicts.ingress


class _Remarks:
    """What there is to say of connections: ``text`` (n,) is a place in ``texts``, -1 nothing."""

    def __init__(self, count: int) -> None:
        self.text = np.full(count, -1, np.int64)
        self.texts: list[str] = []


def _remarks(
    compiled: CompiledPolicy, most: NDArray[np.int32], least: NDArray[np.int32]
) -> _Remarks:
    """Of what is decided by (n,) rules and reasons in each bound, where NetworkPolicies allow
    everything."""
    found = _Remarks(most.size)
    pairs, pair = np.unique(np.stack((most, least)), axis=1, return_inverse=True)
    for number, decided in enumerate(pairs.T.tolist()):
        text = _remark(compiled, *decided)
        if text:
            found.text[pair.ravel() == number] = len(found.texts)
            found.texts.append(text)
    return found


def _remark(compiled: CompiledPolicy, most: int, least: int) -> str:
    if denies((*compiled.least, compiled)[0], least):
        named = " ".join(", ".join(conditions(compiled, (most, least))).split())
        return f"allowed only under a condition{': ' if named else ''}{named}"
    policies = [compiled.rules[rule].policy for rule in (least, most) if rule >= 0]
    if len(policies) == 2 and not any(map(is_network_policy, policies)):
        return f"allowed by {policies[0].kind} {policies[0]} before any {NETWORK_POLICY}"
    return ""


def _add(
    found: dict[Side, Needs],
    direction: Direction,
    part: JudgedTraffic,
    group_of: NDArray[np.int64],
    groups: int,
    remarks: _Remarks,
) -> None:
    traffic, verdicts = part.traffic, part.verdicts
    out = direction is Direction.EGRESS
    rows = np.flatnonzero(_column(verdicts, direction) == Reason.NO_RULE_MATCHES)
    sides = (part.source[rows], part.destination[rows])
    subjects, peers = sides if out else sides[::-1]
    ends = (traffic.destination if out else traffic.source)[rows]
    inside = peers < group_of.size
    # Peers are groups, or else the ends that have the addresses.
    peer = np.where(inside, group_of[np.where(inside, peers, 0)], groups + ends)
    place = traffic.protocol[rows].astype(np.int64) << 16 | traffic.port[rows]
    keys = (group_of[subjects] << _PEER_BITS | peer) << _PLACE_BITS | place
    for key, count in _summed(keys, traffic.observed[rows]):
        subject, other, number = _unpacked(key)
        needs = found.setdefault((subject, direction), Needs())
        if other < groups:
            ports = needs.pods.setdefault(other, {})
            ports[number] = ports.get(number, 0) + count
        else:
            end = traffic.ends[other - groups]
            address = end.address or (end.pod.addresses[0] if end.pod else "")
            addresses = needs.addresses.setdefault(number, {})
            addresses[address] = addresses.get(address, 0) + count
    for text, words in enumerate(remarks.texts):
        which = remarks.text[rows] == text
        for key, count in _summed(keys[which], traffic.observed[rows][which]):
            subject, other, number = _unpacked(key)
            about = (other if other < groups else None, number)
            counts = found[subject, direction].remarks.setdefault(about, {})
            counts[words] = counts.get(words, 0) + count


def _summed(keys: NDArray[np.int64], records: NDArray[np.int64]) -> Sequence[tuple[int, int]]:
    """The distinct keys, each with its records."""
    distinct, inverse = np.unique(keys, return_inverse=True)
    sums = np.bincount(inverse, records, distinct.size).astype(np.int64)
    return list(zip(distinct.tolist(), sums.tolist(), strict=True))


def _unpacked(key: int) -> tuple[int, int, Port]:
    """Subject, peer and port."""
    at, port = key >> _PLACE_BITS, key & ((1 << _PLACE_BITS) - 1)
    return at >> _PEER_BITS, at & ((1 << _PEER_BITS) - 1), (port >> 16, port & 0xFFFF)
