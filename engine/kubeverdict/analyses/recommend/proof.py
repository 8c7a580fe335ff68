"""What recommended policies do, once they are read back and applied: what they block of the
traffic that they were made from, and what they permit beyond it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.decisions import RuleView, by_rule
from kubeverdict.analyses.flow_groups import FlowGroup, grouped
from kubeverdict.analyses.judged_traffic import Count, JudgedTraffic, judged, only
from kubeverdict.analyses.recommend.drafts import Recommendation
from kubeverdict.analyses.replay import Log
from kubeverdict.analyses.traffic import Traffic
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.sets import members
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.bulk import collector_paused
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import BlockPeer, PodPeer
from kubeverdict.model.unevaluated import Unevaluated

# So many rules are listed, those that permit most.
LISTED = 1_000
# Connections that are judged at once.
_CHUNK = 2_000_000


class Excess(msgspec.Struct, frozen=True):
    """What a rule permits: (pod pair, port) combinations, those of them that were seen, and
    addresses in its blocks beyond those that were."""

    rule: RuleView
    permitted: int
    seen: int
    addresses: int

    @property
    def unseen(self) -> int:
        return self.permitted - self.seen


class Proof(msgspec.Struct, frozen=True):
    """``blocked`` is traffic that was allowed before the policies and is not with them; it must
    be nothing. ``repaired`` was denied before and is allowed, ``still_denied`` was and is denied.
    ``permitted`` and ``seen`` are about the recommended policies by themselves, as is ``excess``:
    the rules that permit more than was seen, those with most first, of which the last of very
    many are only counted. ``selects_nothing`` are
    selectors without a pod, of which there must be none.
    """

    replayed: Count
    blocked: Count
    repaired: Count
    still_denied: Count
    blocked_groups: tuple[FlowGroup, ...]
    still_denied_groups: tuple[FlowGroup, ...]
    permitted: int
    seen: int
    excess: tuple[Excess, ...]
    excess_left_out: int
    selects_nothing: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether connections were replayed, none is blocked, and every selector has a pod."""
        return bool(self.replayed.records) and not (self.blocked.records or self.selects_nothing)


def prove(
    before: CompiledPolicy,
    after: CompiledPolicy,
    alone: CompiledPolicy,
    traffic: Traffic,
) -> Proof:
    """``after`` is ``before`` with policies applied that ``alone`` has and nothing else."""
    with collector_paused():
        return _proof(before, after, alone, traffic)


def _proof(
    before: CompiledPolicy, after: CompiledPolicy, alone: CompiledPolicy, traffic: Traffic
) -> Proof:
    traffic = traffic.rows(traffic.observed > 0)
    part = judged(after, traffic)
    was = judged(before, traffic).verdicts.allowed
    now = part.verdicts.allowed
    blocked, still = was & ~now, ~was & ~now
    own = judged(alone, traffic)
    permitted = _permitted(alone)
    seen = _by_rule(own, len(alone.rules))
    addresses = _addresses(alone)
    addresses_seen = _addresses_seen(own, len(alone.rules))
    wide = addresses - addresses_seen
    order = sorted(
        np.flatnonzero((permitted > seen) | (wide > 0)).tolist(),
        key=lambda number: (seen[number] - permitted[number], -wide[number], number),
    )
    excess = tuple(
        Excess(_view(alone, number), int(permitted[number]), int(seen[number]), int(wide[number]))
        for number in order[:LISTED]
    )
    return Proof(
        replayed=_count(part, np.ones(now.size, np.bool_)),
        blocked=_count(part, blocked),
        repaired=_count(part, ~was & now),
        still_denied=_count(part, still),
        blocked_groups=tuple(grouped(after, only(part, blocked))),
        still_denied_groups=tuple(grouped(after, only(part, still))),
        permitted=int(permitted.sum()),
        seen=int(seen.sum()),
        excess=excess,
        excess_left_out=max(len(order) - LISTED, 0),
        selects_nothing=tuple(_selects_nothing(alone.cluster)),
    )


def _view(compiled: CompiledPolicy, number: int) -> RuleView:
    view = by_rule(compiled.rules[number]).rule
    assert view is not None
    return view


def _count(part: JudgedTraffic, which: NDArray[np.bool_]) -> Count:
    return Count(int(part.traffic.observed[which].sum()), int(which.sum()))


def _deciding(egress: NDArray[np.int32], ingress: NDArray[np.int32]) -> NDArray[np.int32]:
    """A connection between pods is counted once: for the rule that lets it in, or, where none
    does, for the one that lets it out."""
    return np.where(ingress >= 0, ingress, egress)


def _by_rule(part: JudgedTraffic, rules: int) -> NDArray[np.int64]:
    """Distinct connections between pods, by the rule that they are counted for."""
    traffic, verdicts = part.traffic, part.verdicts
    is_pod = np.array([end.pod is not None and not end.pod.host_network for end in traffic.ends])
    keep = verdicts.allowed & (part.source != part.destination) & (traffic.protocol < 3)
    if is_pod.size:
        keep &= is_pod[traffic.source] & is_pod[traffic.destination]
    found = _deciding(verdicts.egress[keep], verdicts.ingress[keep])
    return np.bincount(found[found >= 0], minlength=rules).astype(np.int64)


def _permitted(compiled: CompiledPolicy) -> NDArray[np.int64]:
    """(pod pair, port) combinations that get through, in any address family, by the rule that
    they are counted for."""
    out = np.zeros(len(compiled.rules), np.int64)
    kinds = _Kinds(compiled)
    rows_of: dict[int, list[tuple[int, int]]] = {}
    for number, plane in enumerate(compiled.planes):
        for row in np.flatnonzero(plane.rows.rule >= 0).tolist():
            rows_of.setdefault(int(plane.rows.rule[row]), []).append((number, row))
    pending: list[NDArray[np.int64]] = []
    size = 0
    for rule, rows in rows_of.items():
        cells = np.hstack([_cells(compiled, kinds, plane, row) for plane, row in rows])
        if len(compiled.planes) > 1:
            # Pods with both families have the same cell in both planes.
            cells = np.unique(cells, axis=1)
        pending.append(np.vstack((cells, np.full(cells.shape[1], rule))))
        size += cells.shape[1]
        if size >= _CHUNK:
            _judge_cells(compiled, kinds, np.hstack(pending), out)
            pending, size = [], 0
    if pending:
        _judge_cells(compiled, kinds, np.hstack(pending), out)
    return out


class _Kinds:
    """Pods that no rule tells apart in any plane. ``sample`` (2, kinds) is a pod of each, and
    another where there is one; ``weight`` (kinds,) counts them."""

    def __init__(self, compiled: CompiledPolicy) -> None:
        pods = len(compiled.pods)
        identities = np.stack([plane.ends.identity[:pods] for plane in compiled.planes])
        # (planes, kinds) -1 where they are not in a plane
        self._identity, kind, self.weight = np.unique(
            identities, axis=1, return_inverse=True, return_counts=True
        )
        order = np.argsort(kind.ravel(), kind="stable")
        last = np.cumsum(self.weight) - 1
        self.sample = np.stack((order[last - self.weight + 1], order[last]))
        self._planes = compiled.planes
        self._inside: dict[tuple[int, int], NDArray[np.int64]] = {}

    def inside(self, plane: int, which: int) -> NDArray[np.int64]:
        """The kinds in a set of a plane; the rules of a policy share theirs."""
        known = self._inside.get((plane, which))
        if known is None:
            is_in = np.zeros(self._planes[plane].size + 1, np.bool_)  # the last stands for -1
            is_in[members(self._planes[plane].sets, which)] = True
            known = np.flatnonzero(is_in[self._identity[plane]])
            self._inside[plane, which] = known
        return known


def _cells(compiled: CompiledPolicy, kinds: _Kinds, number: int, row: int) -> NDArray[np.int64]:
    """(3, n): source and destination kind and port atom of everything between pods that one row
    of a plane is about."""
    plane = compiled.planes[number]
    rows = plane.rows
    subjects = kinds.inside(number, int(rows.subject[row]))
    peers = kinds.inside(number, int(rows.peer[row]))
    atoms = members(compiled.ports.sets, int(rows.ports[row]))
    atoms = atoms[compiled.ports.weight[atoms] > 0]
    sides = np.meshgrid(subjects, peers, atoms, indexing="ij")
    subject, peer, atom = (side.ravel() for side in sides)
    source, destination = (peer, subject) if row < plane.ingress_rows else (subject, peer)
    return np.stack((source, destination, atom))


def _judge_cells(
    compiled: CompiledPolicy, kinds: _Kinds, cells: NDArray[np.int64], out: NDArray[np.int64]
) -> None:
    source, destination, atom, rule = cells
    place = compiled.ports.first[atom]
    verdicts = judge(
        compiled,
        kinds.sample[0][source],
        kinds.sample[1][destination],
        place >> 16,
        place & 0xFFFF,
    )
    counted = verdicts.allowed & (_deciding(verdicts.egress, verdicts.ingress) == rule)
    same = source == destination
    pairs = kinds.weight[source] * (kinds.weight[destination] - same)
    weight = pairs * compiled.ports.weight[atom]
    out += np.bincount(rule[counted], weight[counted], out.size).astype(np.int64)


def _addresses_seen(part: JudgedTraffic, rules: int) -> NDArray[np.int64]:
    """Distinct addresses outside, by the rule that lets them in or to them."""
    traffic, verdicts = part.traffic, part.verdicts
    outside = np.array([end.pod is None or end.pod.host_network for end in traffic.ends], np.bool_)
    found = np.zeros(rules, np.int64)
    sides = ((verdicts.ingress, traffic.source), (verdicts.egress, traffic.destination))
    for decided, ends in sides:
        keep = (decided >= 0) & outside[ends] if ends.size else np.zeros(0, np.bool_)
        pairs = np.unique(decided[keep].astype(np.int64) << 32 | ends[keep])
        found += np.bincount(pairs >> 32, minlength=rules)
    return found


def _addresses(compiled: CompiledPolicy) -> NDArray[np.object_]:
    """How many addresses the blocks of each rule hold: Python integers, IPv6 has that many."""
    found = np.zeros(len(compiled.rules), np.object_)
    for number, ref in enumerate(compiled.rules):
        for peer in ref.rule.peers or ():
            if isinstance(peer, BlockPeer):
                found[number] += peer.block.last - peer.block.first + 1
    return found


def _selects_nothing(cluster: Cluster) -> Iterator[str]:
    """Selectors of policies that no pod has the labels for."""
    spaces: dict[str, list[Pod]] = {}
    for pod in cluster.pods:
        spaces.setdefault(pod.namespace, []).append(pod)
    labels = {space.name: space.labels for space in cluster.namespaces}
    known: dict[tuple[str, object], bool] = {}

    def selected(namespace: str, peer: PodPeer) -> bool:
        key = (namespace, peer.pods)
        if key not in known:
            wanted = peer.pods
            known[key] = any(
                wanted is None or wanted.matches(pod.labels) for pod in spaces.get(namespace, ())
            )
        return known[key]

    homes: dict[object, list[str]] = {}
    for policy in cluster.policies:
        own = PodPeer(policy.pods, namespace=policy.namespace)
        peers = [peer for rule in policy.rules for peer in rule.peers or ()]
        for peer in (own, *peers):
            if not isinstance(peer, PodPeer):
                continue
            if peer.namespace is not None:
                inside = [peer.namespace]
            else:
                selector = peer.namespaces
                if selector not in homes:
                    homes[selector] = [name for name in labels if selector.matches(labels[name])]
                inside = homes[selector]
            if not any(selected(name, peer) for name in inside):
                yield f"{policy}: {peer.pods} in {peer.namespace or peer.namespaces}"


class Recommended(msgspec.Struct, frozen=True):
    """Everything that ``recommend`` has to say. ``written`` are the files, where any were."""

    recommendation: Recommendation
    proof: Proof
    log: Log
    written: tuple[str, ...] = ()
    unevaluated: tuple[Unevaluated, ...] = ()
