"""What policies leave unguarded, and policies that change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from kubeverdict.analyses.lint.breadth import is_everywhere
from kubeverdict.analyses.lint.facts import Facts, workload_names
from kubeverdict.analyses.lint.finding import Hit, ObjectKey, inside, listed
from kubeverdict.compile.overlay.overlay import where as where_of
from kubeverdict.compile.tiers import isolates
from kubeverdict.model.cluster import Pod, WorkloadRef
from kubeverdict.model.counts import count
from kubeverdict.model.policy import Action, Direction, Policy, Rule

# Namespaces of the cluster itself, whose pods distributions install and guard.
_SYSTEM = ("kube-", "openshift")


def check(facts: Facts) -> Iterator[Hit]:
    yield from unguarded(facts)
    yield from _partial(facts)
    yield from _idle(facts)


# --- namespaces and pods ---------------------------------------------------------------------


def unguarded(facts: Facts) -> Iterator[Hit]:
    """Namespaces without a default deny, and pods that nothing isolates."""
    at_least = facts.compiled.at_least
    selected: set[int] = set()
    guarded: set[int] = set()
    policies_in: set[str] = set()
    general: dict[str, list[Policy]] = {}
    for policy in facts.policies:
        kinds_of = facts.subjects(policy).tolist()
        selected.update(kinds_of)
        if any(_guards(policy, direction, at_least) for direction in Direction):
            guarded.update(kinds_of)
        where = where_of(policy)
        names = [where] if isinstance(where, str) else facts.namespaces_of[where]
        policies_in.update(facts.kinds[kind].namespace for kind in kinds_of)
        if policy.namespace is not None:
            policies_in.add(policy.namespace)
        if policy.pods.selects_all:
            for name in names:
                general.setdefault(name, []).append(policy)
    kinds_in: dict[str, list[int]] = {}
    for number, kind in enumerate(facts.kinds):
        if not kind.namespace.startswith(_SYSTEM):
            kinds_in.setdefault(kind.namespace, []).append(number)
    for name, kinds in kinds_in.items():
        pods = facts.pod_count(kinds)
        place = ("Namespace", "", name)
        nearby = _document(facts.cluster.pods[min(facts.kinds[kind].pods[0] for kind in kinds)])
        bare = "" if name in policies_in else "; it has no policy at all"
        for direction in Direction:
            if not is_denied_by_default(general.get(name, ()), direction, at_least):
                pod_count = count(pods, "pod")
                message = f"no policy denies {direction.word} by default to its {pod_count}{bare}"
                rule = f"no-default-deny-{direction.word}"
                yield Hit(rule, message, place=place, nearby=nearby)
        left = [kind for kind in kinds if kind not in guarded]
        open_pods = [pod for pod in facts.pods(left) if not pod.host_network and not pod.finished]
        if open_pods and not bare:
            workloads = workload_names(open_pods)
            does = "selects" if selected.isdisjoint(left) else "isolates"
            message = f"no policy {does} {count(len(open_pods), 'pod')}: {listed(workloads)}"
            objects = tuple(workloads[:3])
            yield Hit("pod-unselected", message, place=place, nearby=nearby, objects=objects)


def is_denied_by_default(
    policies: Iterable[Policy], direction: Direction, at_least: bool = False
) -> bool:
    """Whether policies in evaluation order, all of the same pods, deny what no rule for particular
    ends or ports matches, in one of the bounds where rules are conditional. A policy that isolates
    and opens all itself isolates nothing, and takes nothing back that another one isolates from."""
    for _, tier in groupby(policies, key=lambda policy: policy.tier):
        isolated = False
        for policy in tier:
            action = next(
                (
                    action
                    for rule in policy.rules
                    if rule.direction is direction
                    and (action := rule.counted(at_least)) is not None
                    and _is_about_all(rule, action)
                ),
                None,
            )
            if action is Action.DENY:
                return True
            if action is Action.PASS:
                isolated = False
                break
            if action is Action.ALLOW and not isolates(policy, direction):
                return False
            isolated |= action is None and isolates(policy, direction)
        if isolated:
            return True
    return False


def _is_about_all(rule: Rule, action: Action) -> bool:
    """Whether a rule is about every port and every end; one that denies, about every pod."""
    if rule.ports is not None:
        return False
    if action is Action.DENY:
        return rule.peers is None or any(map(is_everywhere, rule.peers))
    return rule.peers is None


def _guards(policy: Policy, direction: Direction, at_least: bool) -> bool:
    """Whether a policy denies something to what it selects, unless its rules say otherwise."""
    return isolates(policy, direction) or any(
        rule.direction is direction
        and rule.counted(at_least) is Action.DENY
        and _is_about_all(rule, Action.DENY)
        for rule in policy.rules
    )


def _document(pod: Pod) -> ObjectKey:
    """What the input holds of a pod: the pod, or the workload whose template it stands for."""
    if pod.template:
        return pod.workload.kind, pod.workload.namespace, pod.workload.name
    return "Pod", pod.namespace, pod.name


def _titled(ref: WorkloadRef) -> str:
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
        if policy.pods.selects_all:
            continue
        selected = set(facts.subjects(policy).tolist())
        touched = {ref for kind in selected for ref in of_kind[kind] if ref in torn}
        for ref in sorted(touched):
            inside_, outside = _split_pods(facts, ref, torn[ref], selected)
            if outside:
                message = f"selects {inside_} of {inside_ + outside} pods of {_titled(ref)}"
                source = inside(policy.source, *policy.subject_field)
                yield Hit(
                    "partial-replicas",
                    message,
                    policy,
                    source,
                    objects=(_titled(ref),),
                    key=_titled(ref),
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
    """Policies without which the same connections are allowed: all that are reported can be
    deleted together."""
    policies = facts.compiled.policies
    for cover in facts.removal.together:
        policy = policies[cover.policy]
        shadowed = bool(cover.alone and policy.rules)
        rule = "policy-shadowed" if shadowed else "policy-redundant"
        others = sorted(cover.alone)[:1] if shadowed else sorted(cover.together)
        shown = [str(policies[one]) for one in others]
        message = f"all that it does is done by {listed(shown)}"
        if facts.in_order:
            message = f"all that it matches is decided alike without it, by {listed(shown)}"
        objects = tuple(f"{policy.kind} {name}" for name in shown[:3])
        yield Hit(rule, message, policy, objects=objects)
