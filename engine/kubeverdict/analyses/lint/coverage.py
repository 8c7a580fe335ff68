"""What policies leave unguarded, and policies that change nothing."""

from __future__ import annotations

from collections.abc import Iterator

from kubeverdict.analyses.lint.facts import Facts, allowing, workload_names
from kubeverdict.analyses.lint.finding import Hit, ObjectKey, inside, listed
from kubeverdict.model.cluster import Pod, WorkloadRef
from kubeverdict.model.counts import count
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
    """Policies without which the same connections are allowed: all that are told of can be
    deleted together."""
    policies = facts.compiled.policies
    for cover in facts.removal.together:
        policy = policies[cover.policy]
        shadowed = bool(cover.alone and policy.rules)
        rule = "policy-shadowed" if shadowed else "policy-redundant"
        others = sorted(cover.alone)[:1] if shadowed else sorted(cover.together)
        shown = [str(policies[one]) for one in others]
        message = f"all that it does is done by {listed(shown)}"
        objects = tuple(f"{policy.kind} {name}" for name in shown[:3])
        yield Hit(rule, message, policy, objects=objects)
