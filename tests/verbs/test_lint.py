"""What lint says of policies that change nothing and of rules that fail at the other end, against
the plain meaning of each on clusters with tiers; and what it says where rules are conditional."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.findings import Finding
from kubeverdict.analyses.lint import coverage, lint, onesided
from kubeverdict.analyses.lint.conditional import OPEN
from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.covers import is_default_deny
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Action, Direction, Peer, PodPeer, Policy, Rule
from kubeverdict.model.selectors import Operator, Requirement, Selector
from tests.clusters.conditions import CONDITIONS, bound, with_conditions
from tests.verbs.plain import Plain, concerned, small_cluster

SEEDS = range(60)
IDLE = ("policy-shadowed", "policy-redundant")


def has_idle_rule(plain: Plain, policy: Policy) -> bool:
    return any(
        not any(plain.matches(policy, rule, asked) for asked in plain.asked(policy))
        for rule in policy.rules
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_told_to_change_nothing_does_not_and_the_rest_does(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    facts = Facts(compile_cluster(plain.oracle.cluster))
    told = [hit.policy for hit in coverage.check(facts) if hit.rule in IDLE and hit.policy]
    rest = plain.without(told)
    for policy in told:
        for asked in plain.asked(policy):
            assert plain.lets(asked) is rest.lets(asked), (str(policy), asked)
    for policy in plain.oracle.policies:
        about = concerned(rest, policy)
        if policy in told or is_default_deny(policy) or not about or has_idle_rule(plain, policy):
            continue
        without = rest.without([policy])
        assert any(
            rest.lets(asked) is not without.lets(asked) or without.decider(asked) is None
            for asked in about
        ), f"{policy} is not reported"


def test_some_are_told_of_where_rules_deny() -> None:
    found: Counter[str] = Counter()
    for cluster in filter(denies, map(small_cluster, range(120))):
        found.update(hit.rule for hit in coverage.check(Facts(compile_cluster(cluster))))
    assert found["policy-shadowed"] >= 5 and found["policy-redundant"] >= 5


def denies(cluster: Cluster) -> bool:
    return any(rule.action is not Action.ALLOW for one in cluster.policies for rule in one.rules)


# --- one-sided -------------------------------------------------------------------------------


def particular_cluster(seed: int) -> Cluster:
    """A cluster most of whose rules name pods in a namespace."""
    choose = Random(seed).choice
    cluster = small_cluster(seed, pods=6, policies=7)
    names = [one.name for one in cluster.namespaces]
    some = Selector.of([Requirement("app", Operator.NOT_IN, ("db",))])

    def named(peer: Peer) -> Peer:
        return PodPeer(some, choose(names)) if choose((True, True, False)) else peer

    def rule(one: Rule) -> Rule:
        return replace(one, peers=one.peers and tuple(map(named, one.peers)))

    return replace(
        cluster,
        policies=tuple(replace(one, rules=tuple(map(rule, one.rules))) for one in cluster.policies),
    )


def told_one_sided(cluster: Cluster) -> Counter[tuple[str, Direction]]:
    """The pairs that fail, by policy and direction of its rules for particular pods."""
    found: Counter[tuple[str, Direction]] = Counter()
    for hit in onesided.check(Facts(compile_cluster(cluster))):
        direction = Direction.EGRESS if hit.rule == "egress-one-sided" else Direction.INGRESS
        found[str(hit.policy), direction] += int(hit.message.split()[0].replace(",", ""))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_one_sided_rules_are_those_that_the_other_end_denies(seed: int) -> None:
    plain = Plain(particular_cluster(seed))
    expected: Counter[tuple[str, Direction]] = Counter()
    for policy in plain.oracle.policies:
        for rule in policy.rules:
            if rule.action is Action.ALLOW and onesided.is_particular(rule):
                expected[str(policy), rule.direction] += failing(plain, policy, rule)
    assert told_one_sided(plain.oracle.cluster) == +expected


def failing(plain: Plain, policy: Policy, rule: Rule) -> int:
    """The pairs of pods that a rule matches and its own end lets through, and that the other end
    denies on every port."""
    possible: set[tuple[str, str]] = set()
    alive: set[tuple[str, str]] = set()
    for asked in plain.asked(policy):
        if isinstance(asked.other, str) or not plain.matches(policy, rule, asked):
            continue
        if plain.lets(asked):
            pair = str(asked.source), str(asked.destination)
            possible.add(pair)
            if plain.lets(asked._replace(direction=Direction(1 - asked.direction))):
                alive.add(pair)
    return len(possible - alive)


def test_some_are_one_sided_where_rules_deny() -> None:
    clusters = filter(denies, map(particular_cluster, SEEDS))
    assert sum(bool(told_one_sided(cluster)) for cluster in clusters) >= 10


# --- conditional rules -----------------------------------------------------------------------

ONE_SIDED = ("egress-one-sided", "ingress-one-sided")
DENIED = (*ONE_SIDED, "dns-blocked", "dns-no-tcp")


def findings(cluster: Cluster) -> dict[tuple[str, str], Finding]:
    """Those that depend on verdicts, by rule and fingerprint."""
    found = lint(compile_cluster(cluster), lambda key: ("", 0)).findings
    return {(one.id, one.fingerprint): one for one in found if one.id in (*OPEN, *DENIED)}


def conditional_cluster(seed: int) -> Cluster:
    made = particular_cluster(seed) if seed % 2 else small_cluster(seed)
    return with_conditions(made, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_findings_hold_whatever_conditions_come_to(seed: int) -> None:
    made = conditional_cluster(seed)
    most, least = (findings(bound(made, at_least)) for at_least in (False, True))
    found = findings(made)
    for key, one in found.items():
        message, told, condition = one.message.partition(" (a rule with a condition: ")
        if told:
            assert condition.rstrip(")") in CONDITIONS and key in most
        elif one.id in OPEN:
            assert key in most and message == least[key].message
        else:
            assert message == most[key].message
    expected = {key for key in most if key in least or key[0] in DENIED}
    assert expected <= found.keys()


def test_some_findings_depend_on_conditions() -> None:
    told = dropped = 0
    for made in map(conditional_cluster, SEEDS):
        found = findings(made)
        told += sum("a rule with a condition" in one.message for one in found.values())
        dropped += len(findings(bound(made, at_least=False)).keys() - found.keys())
    assert told >= 20 and dropped >= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_told_to_change_nothing_does_not_in_either_bound(seed: int) -> None:
    made = conditional_cluster(seed)
    hits = coverage.check(Facts(compile_cluster(made)))
    told = {str(hit.policy) for hit in hits if hit.rule in IDLE}
    for at_least in (False, True):
        plain = Plain(bound(made, at_least))
        gone = [policy for policy in plain.oracle.policies if str(policy) in told]
        rest = plain.without(gone)
        for asked in plain.asked():
            assert plain.lets(asked) is rest.lets(asked), (told, asked)
