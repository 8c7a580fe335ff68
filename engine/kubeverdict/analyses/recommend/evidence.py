"""What each group needs: traffic that isolation alone would deny, summed up by its ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.judged_traffic import JudgedTraffic, judged
from kubeverdict.analyses.recommend.groups import Group
from kubeverdict.analyses.traffic import LogReading, Traffic
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import NETWORK_POLICY, NETWORK_POLICY_TIER, Direction, Policy
from kubeverdict.model.profile import Profile
from kubeverdict.model.selectors import EVERYTHING
from kubeverdict.model.sources import FieldPath, Source

# (protocol, port); the port is 0 where there is none.
Port = tuple[int, int]
# Groups, peers and ports packed into one number.
_PEER_BITS, _PLACE_BITS = 22, 19


@dataclass(slots=True)
class Needs:
    """What one group needs in one direction: records by peer group and port, and by port and
    address."""

    pods: dict[int, dict[Port, int]] = field(default_factory=dict)
    addresses: dict[Port, dict[str, int]] = field(default_factory=dict)


class _Nowhere:
    file = "isolation of everything"

    def line_of(self, path: FieldPath) -> int:
        return 0


def isolated(cluster: Cluster, profile: Profile, static: bool) -> CompiledPolicy:
    """The cluster with nothing but a policy in each namespace that isolates all of it."""
    source = Source(_Nowhere())
    directions = (Direction.INGRESS, Direction.EGRESS)
    policies = tuple(
        Policy(
            kind=NETWORK_POLICY,
            namespace=name,
            name="isolation",
            tier=NETWORK_POLICY_TIER,
            pods=EVERYTHING,
            isolates=directions,
            rules=(),
            source=source,
        )
        for name in sorted({pod.namespace for pod in cluster.pods})
    )
    return compile_cluster(
        msgspec.structs.replace(cluster, policies=policies), profile, static=static
    )


def needs_of(
    compiled: CompiledPolicy, groups: Sequence[Group], traffic: Traffic, reading: LogReading
) -> dict[tuple[int, Direction], Needs]:
    """What each group (by its place) needs in each direction. ``compiled`` isolates everything:
    what it allows needs no rule."""
    part = judged(compiled, traffic.rows(traffic.observed > 0), reading)
    group_of = np.full(len(compiled.pods), -1, np.int64)
    for number, group in enumerate(groups):
        for pod in group.pods:
            place = compiled.pod_ids.get((pod.namespace, pod.name))
            if place is not None:
                group_of[place] = number
    found: dict[tuple[int, Direction], Needs] = {}
    _add(found, Direction.EGRESS, part, group_of, len(groups))
    _add(found, Direction.INGRESS, part, group_of, len(groups))
    return found


def _add(
    found: dict[tuple[int, Direction], Needs],
    direction: Direction,
    part: JudgedTraffic,
    group_of: NDArray[np.int64],
    groups: int,
) -> None:
    traffic, verdicts = part.traffic, part.verdicts
    out = direction is Direction.EGRESS
    decided = verdicts.egress if out else verdicts.ingress
    rows = np.flatnonzero(decided == Reason.NO_RULE_MATCHES)
    sides = (part.source[rows], part.destination[rows])
    subjects, peers = sides if out else sides[::-1]
    ends = (traffic.destination if out else traffic.source)[rows]
    inside = peers < group_of.size
    # Peers are groups, or else the ends that have the addresses.
    peer = np.where(inside, group_of[np.where(inside, peers, 0)], groups + ends)
    place = traffic.protocol[rows].astype(np.int64) << 16 | traffic.port[rows]
    keys = (group_of[subjects] << _PEER_BITS | peer) << _PLACE_BITS | place
    distinct, inverse = np.unique(keys, return_inverse=True)
    records = np.bincount(inverse, traffic.observed[rows], distinct.size).astype(np.int64)
    for key, count in zip(distinct.tolist(), records.tolist(), strict=True):
        at, port = key >> _PLACE_BITS, key & ((1 << _PLACE_BITS) - 1)
        subject, other = at >> _PEER_BITS, at & ((1 << _PEER_BITS) - 1)
        needs = found.setdefault((subject, direction), Needs())
        number = (port >> 16, port & 0xFFFF)
        if other < groups:
            ports = needs.pods.setdefault(other, {})
            ports[number] = ports.get(number, 0) + count
        else:
            end = traffic.ends[other - groups]
            address = end.address or (end.pod.addresses[0] if end.pod else "")
            addresses = needs.addresses.setdefault(number, {})
            addresses[address] = addresses.get(address, 0) + count
