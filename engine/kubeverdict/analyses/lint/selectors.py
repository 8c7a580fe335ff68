"""Selectors that match nothing, and peers that were taken apart."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from kubeverdict.analyses.findings import Severity
from kubeverdict.analyses.lint.facts import Facts, peer_question
from kubeverdict.analyses.lint.finding import Hit, inside, listed, peer_field
from kubeverdict.analyses.lint.labels import Miss, near
from kubeverdict.compile.lowering import Where
from kubeverdict.compile.overlay.overlay import where as where_of
from kubeverdict.model.cluster import METADATA_NAME
from kubeverdict.model.counts import count
from kubeverdict.model.policy import Action, PodPeer, Policy, Rule
from kubeverdict.model.selectors import NOTHING, Selector
from kubeverdict.model.sources import Source

_DOES = {Action.ALLOW: "opens", Action.DENY: "denies", Action.PASS: "passes on"}
SOME = 64  # kinds; what selects more is not about pods of the host network alone


def check(facts: Facts) -> Iterator[Hit]:
    for policy in facts.policies:
        yield from _subject(facts, policy)
        for rule in policy.rules:
            split = yield from _split(facts, policy, rule)
            for index, peer in enumerate(rule.peers or ()):
                if isinstance(peer, PodPeer) and index not in split:
                    yield from _peer(facts, policy, rule, index, peer)


def subject_miss(facts: Facts, policy: Policy) -> Miss | None:
    """Why a policy selects no pod; None where it does, or where nothing is known of its pods."""
    if facts.subjects(policy).size:
        return None
    return _pod_miss(facts, where_of(policy), policy.pods)


def peer_miss(facts: Facts, peer: PodPeer) -> Miss | None:
    """Why a peer selects no pod; None where it does, or where what it may select is not in the
    input."""
    if facts.peers(peer).size:
        return None
    if peer.namespace is None and not facts.namespaces_of[peer.namespaces]:
        miss = facts.namespace_vocabulary.miss(peer.namespaces, "namespace")
        return miss if miss.is_typo or _all_known(facts, peer.namespaces) else None
    return _pod_miss(facts, *peer_question(peer))


def _pod_miss(facts: Facts, where: Where, pods: Selector) -> Miss | None:
    if pods == NOTHING and facts.profile.pod_labels == "identity":
        return Miss(f"it wants a label of pods that {facts.profile.title} does not see")
    if any(one.values and one.key in facts.open_keys for one in pods.terms()):
        return None  # what it selects is seen when pods run
    miss = facts.vocabulary(where).miss(pods, "pod")
    return miss if miss.is_typo or facts.knows_pods(where) else None


def _all_known(facts: Facts, namespaces: Selector) -> bool:
    """Whether the input has every namespace, with the labels that are asked about."""
    by_name = all(one.key == METADATA_NAME for one in namespaces.terms())
    implied = any(one.implied for one in facts.cluster.namespaces)
    return facts.has_all_namespaces and (by_name or not implied)


def _subject(facts: Facts, policy: Policy) -> Iterator[Hit]:
    source = inside(policy.source, *policy.subject_field)
    miss = subject_miss(facts, policy)
    if miss is not None:
        where = f" in namespace {policy.namespace}" if policy.namespace else ""
        rule = "selector-typo" if miss.is_typo else "policy-selects-nothing"
        message = f"selects nothing{where}: {miss.text}"
        yield Hit(rule, message, policy, source, fix=miss.fix)
        return
    if policy.namespace is not None and facts.is_whole and not facts.subjects(policy).size:
        yield _uninhabited(facts, policy, policy.namespace)
        return
    vocabulary = facts.vocabulary(where_of(policy))
    yield from _typos(policy, source, vocabulary.dead_values(policy.pods, "pod"))
    yield from _on_hosts(facts, policy, source, facts.subjects(policy).tolist())


def _uninhabited(facts: Facts, policy: Policy, namespace: str) -> Hit:
    """A policy in a namespace without pods, in a whole cluster: it may be there for pods to come,
    if the namespace is."""
    exists = any(one.name == namespace and not one.implied for one in facts.cluster.namespaces)
    miss = Miss(
        f"namespace {namespace} has no pod",
        namespace,
        near(namespace, {kind.namespace for kind in facts.kinds}),
    )
    hint = f" ({miss.guess})" if miss.is_typo else ""
    return Hit(
        "policy-selects-nothing",
        f"selects nothing: {miss.text}{hint}",
        policy,
        inside(policy.source, "metadata", "namespace"),
        severity=Severity.NOTE if exists else None,
        fix=miss.fix if miss.is_typo else "",
    )


def _typos(policy: Policy, source: Source, misses: Iterator[Miss]) -> Iterator[Hit]:
    for miss in misses:
        if miss.is_typo:
            why = "The value matches nothing, so what was meant by it is left out, without a word."
            yield Hit(
                "selector-typo", miss.text, policy, source, fix=miss.fix, why=why, key=miss.word
            )


def _on_hosts(facts: Facts, policy: Policy, source: Source, kinds: list[int]) -> Iterator[Hit]:
    if facts.profile.hostnetwork_peers != "never" or facts.profile.hostnetwork_subjects:
        return
    if len(kinds) > SOME:
        return
    pods = facts.pods(kinds)
    if pods and all(pod.host_network for pod in pods):
        workloads = facts.workloads(kinds)
        message = f"matches only {count(len(pods), 'pod')} on the host network: {listed(workloads)}"
        yield Hit("peer-host-network", message, policy, source, objects=tuple(workloads[:3]))


def _peer(facts: Facts, policy: Policy, rule: Rule, index: int, peer: PodPeer) -> Iterator[Hit]:
    path = peer_field(rule.source.path, index)
    source = Source(rule.source.origin, path)
    kinds = facts.peers(peer)
    where, pods = peer_question(peer)
    if kinds.size:
        yield from _on_hosts(facts, policy, source, kinds.tolist())
        if any(len(one.values) > 1 for one in pods.terms()):
            yield from _typos(policy, source, facts.vocabulary(where).dead_values(pods, "pod"))
        if any(len(one.values) > 1 for one in peer.namespaces.terms()):
            dead = facts.namespace_vocabulary.dead_values(peer.namespaces, "namespace")
            yield from _typos(policy, source, dead)
        return
    miss = peer_miss(facts, peer)
    if miss is None:
        return
    of_namespaces = peer.namespace is None and not facts.namespaces_of[peer.namespaces]
    if miss.is_typo:
        name = "selector-typo"
    else:
        name = "namespace-selects-nothing" if of_namespaces else "peer-selects-nothing"
    field = "namespaceSelector" if of_namespaces else "podSelector"
    elsewhere = _elsewhere(facts, peer) if peer.namespace is not None else ""
    message = f"matches nothing{_inside(facts, peer)}: {miss.text}{elsewhere}"
    # Pods that a chart lets in may be of another release, which the input need not hold.
    foreign = name == "peer-selects-nothing" and not facts.is_whole
    severity = Severity.NOTE if foreign else None
    why = "" if rule.action is Action.ALLOW else "The rule does nothing that it was written for."
    field_at = inside(source, field)
    yield Hit(name, message, policy, field_at, severity=severity, fix=miss.fix, why=why)


def _inside(facts: Facts, peer: PodPeer) -> str:
    if peer.namespace is not None:
        return f" in namespace {peer.namespace}"
    names = facts.namespaces_of[peer.namespaces]
    return f" in {listed(names)}" if names and not peer.namespaces.selects_all else ""


def _elsewhere(facts: Facts, peer: PodPeer) -> str:
    """Where such pods are, if not in the namespace of the policy."""
    if peer.pods is None or peer.pods.selects_all:
        return ""
    names = facts.namespaces_with(peer.pods)
    if not names:
        return ""
    return f"; such pods are in {listed(names)}, which takes a namespaceSelector in the same item"


def _split(facts: Facts, policy: Policy, rule: Rule) -> Generator[Hit, None, set[int]]:
    """Peers of which one has the namespaces and another the pods. Returns the places of those that
    need no other finding."""
    peers = list(enumerate(rule.peers or ()))
    wide = [
        (index, peer)
        for index, peer in peers
        if isinstance(peer, PodPeer)
        and peer.namespace is None
        and peer.pods is None
        and not peer.namespaces.selects_all
    ]
    reported: set[int] = set()
    for index, peer in peers:
        if not (wide and isinstance(peer, PodPeer) and peer.namespace and peer.pods):
            continue
        if peer.pods.selects_all:
            continue
        for place, whole in wide:
            meant = [
                kind for kind in facts.scope(whole.namespaces) if peer.pods.matches(kind.labels)
            ]
            if not meant:
                continue
            own = facts.peers(peer).size > 0
            opened = facts.pod_count(facts.peers(whole).tolist())
            names = sorted({kind.namespace for kind in meant})
            within = listed(facts.namespaces_of[whole.namespaces])
            few = count(sum(len(kind.pods) for kind in meant), "pod")
            message = (
                f"{_DOES[rule.action]} all {count(opened, 'pod')} of {within}; with {peer.pods} in "
                f"the same item it would be {few} of {listed(names)}"
            )
            source = Source(rule.source.origin, peer_field(rule.source.path, place))
            severity = Severity.NOTE if own else None
            yield Hit("peer-split", message, policy, source, severity=severity)
            if not own:
                reported.add(index)
            break
    return reported
