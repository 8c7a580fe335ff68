"""What recommended policies do, once they are read back and applied: what they block of the
traffic that they were made from, and what they permit beyond it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from kubeverdict.analyses.decisions import RuleView, by_rule
from kubeverdict.analyses.flow_groups import FlowGroup, grouped
from kubeverdict.analyses.judged_traffic import Count, at_least, counted, judged, only
from kubeverdict.analyses.recommend.drafts import Recommendation
from kubeverdict.analyses.recommend.permits import (
    Alone,
    addresses_of,
    addresses_seen,
    permitted,
    seen_by_rule,
)
from kubeverdict.analyses.replay import Log
from kubeverdict.analyses.traffic import Traffic
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.model.policy import PodPeer
from kubeverdict.model.unevaluated import Unevaluated

# So many rules are listed, those that permit most.
LISTED = 1_000


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
    be nothing, also of what is allowed under conditions only. ``repaired`` was denied before and is
    allowed, ``still_denied`` was and is denied, and its groups say by what. ``conditional`` are
    among those that are allowed, and depend on the condition of a rule.

    ``permitted`` and ``seen`` are about what the recommended policies let through, where policies
    of other tiers do: ``permitted_conditionally`` of these under conditions only. ``excess`` are
    the rules that permit more than was seen, those with most first, of which the last of very
    many are only counted. ``without_effect`` are rules of which other tiers deny everything.
    ``selects_nothing`` are selectors without a pod, of which there must be none.
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
    conditional: Count = Count()
    conditional_groups: tuple[FlowGroup, ...] = ()
    permitted_conditionally: int = 0
    without_effect: tuple[RuleView, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether connections were replayed, none is blocked, and every selector has a pod."""
        return bool(self.replayed.records) and not (self.blocked.records or self.selects_nothing)


def prove(
    before: CompiledPolicy,
    after: CompiledPolicy,
    alone: Alone,
    traffic: Traffic,
) -> Proof:
    """``after`` is ``before`` with policies applied of which ``alone`` has no other."""
    with collector_paused():
        return _proof(before, after, alone, traffic)


def _proof(before: CompiledPolicy, after: CompiledPolicy, alone: Alone, traffic: Traffic) -> Proof:
    traffic = traffic.rows(traffic.observed > 0)
    part, old = judged(after, traffic), judged(before, traffic)
    least, old_least = at_least(after, part), at_least(before, old)
    was, now = old.verdicts.allowed, part.verdicts.allowed
    surely = least.verdicts.allowed
    blocked, still = was & ~now, ~was & ~now
    # What a condition may have let through before and does no more.
    blocked |= old_least.verdicts.allowed & ~surely
    depends = now & ~surely
    bare, own = alone.bare, judged(alone.bare, traffic)
    permits = permitted(alone)
    seen = seen_by_rule(alone, own)
    addresses = addresses_of(bare)
    wide = addresses - addresses_seen(bare, own)
    order = sorted(
        np.flatnonzero((permits.each > seen) | (wide > 0)).tolist(),
        key=lambda number: (seen[number] - permits.each[number], -wide[number], number),
    )
    excess = tuple(
        Excess(_view(bare, number), int(permits.each[number]), int(seen[number]), int(wide[number]))
        for number in order[:LISTED]
    )
    return Proof(
        replayed=counted(part, np.ones(now.size, np.bool_)),
        blocked=counted(part, blocked),
        repaired=counted(part, ~was & now),
        still_denied=counted(part, still),
        blocked_groups=tuple(grouped(after, only(part, blocked))),
        still_denied_groups=tuple(grouped(before, only(old, still))),
        permitted=int(permits.each.sum()),
        seen=int(seen.sum()),
        excess=excess,
        excess_left_out=max(len(order) - LISTED, 0),
        selects_nothing=tuple(_selects_nothing(bare.cluster)),
        conditional=counted(part, depends),
        conditional_groups=tuple(grouped(after, only(part, depends))),
        permitted_conditionally=int(permits.conditionally.sum()),
        without_effect=tuple(
            _view(bare, number)
            for number in np.flatnonzero((permits.by_itself > 0) & (permits.each == 0)).tolist()
        ),
    )


def _view(compiled: CompiledPolicy, number: int) -> RuleView:
    view = by_rule(compiled.rules[number]).rule
    assert view is not None
    return view


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
