"""Selectors whose answer is not known before pods run.

A controller writes labels on its pods: hashes, UIDs, numbers. Of a pod that a template stands for
such a label is known to exist and its value is not; ``Exists`` is decided, ``In`` and ``NotIn`` are
not. They are judged as for a value that nobody names, and reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kubeverdict.compile.population import Population
from kubeverdict.model.cluster import UNKNOWN_VALUE, Pod
from kubeverdict.model.counts import count
from kubeverdict.model.policy import PodPeer, Policy, parts_of
from kubeverdict.model.profile import (
    ADMIN_KINDS,
    CLUSTER_KIND,
    SETS_AS_PODS,
    Profile,
    takes_sets_for_pods,
)
from kubeverdict.model.references import AddressSet
from kubeverdict.model.selectors import Operator, Requirement, Selector
from kubeverdict.model.sources import FieldPath, Source, field_text
from kubeverdict.model.unevaluated import Gap, Unevaluated

Labels = Mapping[str, str]


def uncertain_selectors(
    policies: Sequence[Policy], population: Population, namespaces: Mapping[str, Labels]
) -> tuple[Unevaluated, ...]:
    """An entry for each selector of ``policies`` that could select other pods than it is taken
    to. ``namespaces`` are the labels of each namespace."""
    # The pods of one workload share their labels.
    alike: dict[int, list[Pod]] = {}
    for pod in population.pods:
        if pod.template:
            alike.setdefault(id(pod.labels), []).append(pod)
    groups = [pods for pods in alike.values() if UNKNOWN_VALUE in pods[0].labels.values()]
    keys = {
        key for first, *_ in groups for key, value in first.labels.items() if value == UNKNOWN_VALUE
    }
    if not keys:
        return ()
    found = []
    for policy in policies:
        for selector, (where, scope), path in _selectors(policy):
            tested = [one for one in selector.terms() if one.key in keys and _tests(one)]
            if not tested:
                continue
            spaces = [where] if where is not None else _matching(scope, namespaces)
            doubtful = [
                pod
                for pods in groups
                if pods[0].namespace in spaces and _selects(selector, pods[0].labels) is None
                for pod in pods
            ]
            if doubtful:
                found.append(_entry(policy, path, tested, doubtful))
    return tuple(found)


def missing_tiers(policies: Sequence[Policy]) -> tuple[Unevaluated, ...]:
    """An entry for each tier that policies are in and no document describes: where it comes, and
    what it does in the end, is not known."""
    found: dict[tuple[str, str], list[Policy]] = {}
    for policy in policies:
        if policy.tier_kind and policy.tier.order == float("inf"):
            found.setdefault((policy.tier_kind, policy.tier.name), []).append(policy)
    return tuple(
        Unevaluated(
            kind.partition(".")[0],
            kind.partition(".")[2],
            Gap.POLICY_PART,
            1,
            several[0].source.file,
            several[0].source.line,
            (name,),
            detail=(
                f"the input has no {kind.partition('.')[0]} {name}, which "
                f"{count(len(several), 'policy is', 'policies are')} in ({several[0]}"
                f"{', …' if len(several) > 1 else ''}): it is taken to come last and to deny in "
                "the end"
            ),
        )
        for (kind, name), several in found.items()
    )


def sets_as_namespaces(
    policies: Sequence[Policy],
    sets: Sequence[AddressSet],
    namespaces: Mapping[str, Labels],
    profile: Profile,
) -> tuple[Unevaluated, ...]:
    """An entry for each admin policy with a peer ``namespaces`` that is address sets too for the
    CNI, which is not taken into account."""
    if not takes_sets_for_pods(profile):
        return ()
    sets = [one for one in sets if one.kind in SETS_AS_PODS]
    found = []
    for policy in policies if sets else ():
        if policy.kind not in (*ADMIN_KINDS, CLUSTER_KIND):
            continue
        scopes = {
            peer.namespaces
            for rule in policy.rules
            for peer in rule.peers or ()
            if isinstance(peer, PodPeer) and peer.pods is None
        }
        names = [
            one.name for one in sets if any(_is_in(one, scope, namespaces) for scope in scopes)
        ]
        if names:
            detail = (
                f"{profile.title} takes the addresses in {count(len(names), 'network set')} "
                f"({names[0]}{', …' if len(names) > 1 else ''}) for ends in namespaces that "
                f"{policy.kind} {policy} has as peers: that is not taken into account"
            )
            found.append(
                Unevaluated(
                    policy.kind,
                    "",
                    Gap.POLICY,
                    1,
                    policy.source.file,
                    policy.source.line,
                    names=(str(policy),),
                    detail=detail,
                )
            )
    return tuple(found)


def _is_in(one: AddressSet, scope: Selector, namespaces: Mapping[str, Labels]) -> bool:
    """Whether a set is in a namespace that is selected. One of the cluster has no labels of a
    namespace, which some selectors ask for."""
    if one.namespace is None:
        return not scope.selects_all and scope.matches({})
    return scope.matches(namespaces.get(one.namespace, {}))


def _selectors(
    policy: Policy,
) -> Iterator[tuple[Selector, tuple[str | None, Selector], Source]]:
    """The pod selectors of a policy, where each looks, and where it is written."""
    subject = Source(policy.source.origin, (*policy.source.path, *policy.subject_field))
    yield policy.pods, (policy.namespace, policy.namespaces), subject
    for rule in policy.rules:
        named = [part for peer in rule.peers or () for part in parts_of(peer)]
        for part in named if rule.subject is None else (*parts_of(rule.subject), *named):
            if isinstance(part, PodPeer) and part.pods is not None:
                yield part.pods, (part.namespace, part.namespaces), rule.source


def _matching(scope: Selector, namespaces: Mapping[str, Labels]) -> set[str]:
    return {name for name, labels in namespaces.items() if scope.matches(labels)}


def _tests(requirement: Requirement) -> bool:
    """Whether a requirement looks at the value of its label."""
    return requirement.operator not in (Operator.EXISTS, Operator.DOES_NOT_EXIST)


def _selects(selector: Selector, labels: Labels) -> bool | None:
    """Whether a selector selects labels; None where that depends on unknown values alone."""
    found: bool | None = True
    for requirement in selector.requirements:
        if _tests(requirement) and labels.get(requirement.key) == UNKNOWN_VALUE:
            found = None
        elif not requirement.matches(labels):
            return False
    for clause in selector.clauses:
        parts = {_selects(part, labels) for part in clause.parts}
        held = True if True in parts else None if None in parts else False
        if held is None:
            found = None
        elif held is clause.negated:
            return False
    return found


def _entry(
    policy: Policy, source: Source, tested: Sequence[Requirement], pods: Sequence[Pod]
) -> Unevaluated:
    field: FieldPath = source.path
    keys = " and ".join(dict.fromkeys(one.key for one in tested))
    listed = count(len(pods), "pod")
    return Unevaluated(
        policy.kind,
        "",
        Gap.LABEL_VALUE,
        len(pods),
        source.file,
        source.line,
        names=tuple(map(str, pods)),
        detail=(
            f"{policy.kind} {policy} {field_text(field)} tests the value of {keys}, which {listed} "
            f"({pods[0]}{', …' if len(pods) > 1 else ''}) get when they run: what it decides for "
            "them is not certain"
        ),
    )
