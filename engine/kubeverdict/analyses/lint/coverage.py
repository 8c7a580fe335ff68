"""What policies leave unguarded, and policies that change nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kubeverdict.analyses.lint.facts import Facts, allowing, workload_names
from kubeverdict.analyses.lint.finding import Hit, ObjectKey, count, inside, listed
from kubeverdict.evaluate.policy_rules import PlaneRules, Row, order_matters
from kubeverdict.model.cluster import Pod, WorkloadRef
from kubeverdict.model.policy import Direction, Policy

# Namespaces of the cluster itself, whose pods distributions install and guard.
_SYSTEM = ("kube-", "openshift")


def check(facts: Facts) -> Iterator[Hit]:
    yield from _namespaces(facts)
    yield from _partial(facts)
    yield from _idle(facts)


# --- namespaces and pods ---------------------------------------------------------------------


def _namespaces(facts: Facts) -> Iterator[Hit]:
    denying: dict[str, set[Direction]] = {}
    guarded: dict[str, set[int]] = {}
    policies_in: dict[str, int] = {}
    for policy in facts.policies:
        for kind in facts.subjects(policy).tolist():
            guarded.setdefault(facts.kinds[kind].namespace, set()).add(kind)
        if policy.namespace is not None:
            policies_in[policy.namespace] = policies_in.get(policy.namespace, 0) + 1
            if not policy.pods.requirements:
                denying.setdefault(policy.namespace, set()).update(_denied(policy))
    kinds_in: dict[str, list[int]] = {}
    for number, kind in enumerate(facts.kinds):
        if not kind.namespace.startswith(_SYSTEM):
            kinds_in.setdefault(kind.namespace, []).append(number)
    for name, kinds in kinds_in.items():
        pods = facts.pod_count(kinds)
        place = ("Namespace", "", name)
        nearby = _document(facts.cluster.pods[min(facts.kinds[kind].pods[0] for kind in kinds)])
        bare = "" if policies_in.get(name) else "; it has no policy at all"
        for direction in Direction:
            if direction not in denying.get(name, ()):
                whose = count(pods, "pod")
                message = f"no policy denies {direction.word} by default to its {whose}{bare}"
                rule = f"no-default-deny-{direction.word}"
                yield Hit(rule, message, place=place, nearby=nearby)
        left = [kind for kind in kinds if kind not in guarded.get(name, ())]
        open_pods = [pod for pod in facts.pods(left) if not pod.host_network and not pod.finished]
        if open_pods and not bare:
            workloads = workload_names(open_pods)
            message = f"no policy selects {count(len(open_pods), 'pod')}: {listed(workloads)}"
            objects = tuple(workloads[:3])
            yield Hit("pod-unselected", message, place=place, nearby=nearby, objects=objects)


def _denied(policy: Policy) -> set[Direction]:
    """The directions in which a policy denies anything: not those that a rule opens whole."""
    opened = {
        rule.direction for rule in allowing(policy) if rule.peers is None and rule.ports is None
    }
    return set(policy.isolates) - opened


def _document(pod: Pod) -> ObjectKey:
    """What the input holds of a pod: the pod, or the workload whose template it stands for."""
    if pod.template:
        return pod.workload.kind, pod.workload.namespace, pod.workload.name
    return "Pod", pod.namespace, pod.name


def _said(ref: WorkloadRef) -> str:
    return f"{ref.kind} {ref.namespace}/{ref.name}"


def _partial(facts: Facts) -> Iterator[Hit]:
    """Policies that select by labels in which the pods of one workload differ."""
    kinds_of: dict[WorkloadRef, list[int]] = {}
    pods = facts.cluster.pods
    of_kind = [{pods[place].workload for place in kind.pods} for kind in facts.kinds]
    for number, refs in enumerate(of_kind):
        for ref in refs:
            kinds_of.setdefault(ref, []).append(number)
    torn = {ref: kinds for ref, kinds in kinds_of.items() if len(kinds) > 1}
    if not torn:
        return
    for policy in facts.policies:
        if not policy.pods.requirements:
            continue
        selected = set(facts.subjects(policy).tolist())
        touched = {ref for kind in selected for ref in of_kind[kind] if ref in torn}
        for ref in sorted(touched):
            inside_, outside = _split_pods(facts, ref, torn[ref], selected)
            if outside:
                message = f"selects {inside_} of {inside_ + outside} pods of {_said(ref)}"
                source = inside(policy.source, "spec", "podSelector")
                yield Hit(
                    "partial-replicas",
                    message,
                    policy,
                    source,
                    objects=(_said(ref),),
                    key=_said(ref),
                )


def _split_pods(
    facts: Facts, ref: WorkloadRef, kinds: list[int], selected: set[int]
) -> tuple[int, int]:
    """The pods of a workload that are selected, and those that are not."""
    pods = facts.cluster.pods
    counts = [0, 0]
    for kind in kinds:
        own = [place for place in facts.kinds[kind].pods if pods[place].workload == ref]
        counts[kind not in selected] += sum(not pods[place].finished for place in own)
    return counts[0], counts[1]


# --- policies that change nothing ------------------------------------------------------------


def _idle(facts: Facts) -> Iterator[Hit]:
    """Policies without which the same connections are allowed.

    From last to first, and one that was found no longer counts for those before it: all that are
    told of can be deleted together.
    """
    beside = facts.beside
    if order_matters(beside):
        return
    planes = [PlaneRules(beside, plane) for plane in beside.planes]
    rows = [_rows_by_policy(plane) for plane in planes]
    policies = facts.compiled.policies
    gone: set[int] = set()
    found: list[Hit] = []
    for number in range(len(policies) - 1, -1, -1):
        policy = policies[number]
        if is_default_deny(policy):
            continue
        covers = [
            _covering(plane, of_plane.get(number, []), policy, gone)
            for plane, of_plane in zip(planes, rows, strict=True)
        ]
        if not all(cover is not None for cover in covers):
            continue
        alone = set.intersection(*(set(cover.alone) for cover in covers if cover))
        together = set.union(*(cover.together for cover in covers if cover))
        if not together:
            continue
        gone.add(number)
        shadowed = bool(alone and policy.rules)
        rule = "policy-shadowed" if shadowed else "policy-redundant"
        others = sorted(alone)[:1] if shadowed else sorted(together)
        shown = [str(policies[one]) for one in others]
        message = f"all that it does is done by {listed(shown)}"
        objects = tuple(f"{policy.kind} {name}" for name in shown[:3])
        found.append(Hit(rule, message, policy, objects=objects))
    yield from reversed(found)


def is_default_deny(policy: Policy) -> bool:
    """Whether a policy is the ground that others stand on: it is not redundant because each of
    the pods that there are today has a policy of its own."""
    return not policy.pods.requirements and not policy.rules


class _Cover:
    """The policies that do what a policy does: those that do it all ``alone``, and enough of
    them ``together``."""

    def __init__(self) -> None:
        self.alone: set[int] = set()
        self.together: set[int] = set()


def _rows_by_policy(plane: PlaneRules) -> dict[int, list[tuple[Direction, Row]]]:
    found: dict[int, list[tuple[Direction, Row]]] = {}
    for direction, side in plane.sides.items():
        for row in side.rows:
            found.setdefault(row.policy, []).append((direction, row))
    return found


def _covering(
    plane: PlaneRules, own: list[tuple[Direction, Row]], policy: Policy, gone: set[int]
) -> _Cover | None:
    """What covers a policy in one plane; None where something of it is not covered, or where a
    rule of it has no effect (which is told of elsewhere)."""
    if len({row.rule for _, row in own if row.rule >= 0}) < len(policy.rules):
        return None
    cover = _Cover()
    alone: set[int] | None = None
    # Isolation first: it is found out soonest.
    for direction, row in sorted(own, key=lambda one: one[1].rule):
        side = plane.sides[direction]
        for part in np.unique(side.part_of(plane.members(row.subject))).tolist():
            others = [
                other
                for other in side.of_part(part)
                if other.policy != row.policy
                and other.policy not in gone
                and (other.rule < 0) == (row.rule < 0)
            ]
            if row.rule < 0:
                if not others:
                    return None
                cover.together.add(others[0].policy)
                continue
            single = {other.policy for other in others if _contains(plane, other, row)}
            alone = single if alone is None else alone & single
            if single:
                cover.together.add(min(single))
                continue
            used = _together(plane, others, row)
            if used is None:
                return None
            cover.together |= used
    cover.alone = alone or set()
    return cover


def _contains(plane: PlaneRules, outer: Row, inner: Row) -> bool:
    if outer.ports != inner.ports and outer.ports:
        if not inner.ports:
            return False
        spans = plane.ranges(outer.ports)
        for low, high in plane.ranges(inner.ports):
            if not any(first <= low and high <= stop for first, stop in spans):
                return False
    if outer.peer in (0, inner.peer):
        return True
    return not (plane.bitmap(inner.peer) & ~plane.bitmap(outer.peer)).any()


def _together(plane: PlaneRules, others: list[Row], row: Row) -> set[int] | None:
    """Policies whose rules, taken together, allow all that ``row`` does; None where they do not."""
    peers = plane.bitmap(row.peer)
    near = [other for other in others if plane.meet(other.ports, row.ports)]
    if len(near) < 2:
        return None
    used: set[int] = set()
    for place in _cells(plane, near, row):
        left = peers.copy()
        for other in near:
            if plane.holds(other.ports, place):
                bits = plane.bitmap(other.peer)
                if (left & bits).any():
                    left &= ~bits
                    used.add(other.policy)
        if left.any():
            return None
    return used


def _cells(plane: PlaneRules, others: list[Row], row: Row) -> list[int]:
    """A place in each part into which other rules cut the ports of one."""
    edges = {edge for other in others for span in plane.ranges(other.ports) for edge in span}
    cells: set[int] = set()
    for low, high in plane.ranges(row.ports):
        cells.add(low)
        cells.update(edge for edge in edges if low < edge < high)
    return sorted(cells)
