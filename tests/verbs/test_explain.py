"""What explain says decides a connection, against the oracle's way through tiers and layers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.decisions import Decision, RuleView
from kubeverdict.analyses.explain import Answer, Explanation, explain
from kubeverdict.analyses.misses import RuleMiss
from kubeverdict.analyses.questions import PortQuestion
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import Direction, Policy, Rule
from kubeverdict.model.ports import Protocol, icmp_match
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.render import tree
from kubeverdict.render.style import Style
from tests.clusters.conditions import bound, with_conditions
from tests.clusters.generated import SINGLE_KNOB_PROFILES, random_cluster, random_probes
from tests.oracle import Oracle, Reason, Way, decides_to_allow
from tests.oracle_parts import FAMILIES, Flow
from tests.verbs.plain import Asked, Plain, small_cluster

SEEDS = range(150)
QUESTIONS = 12
# A rule as reports name it: the kind and name of its policy, and its place there.
Named = tuple[str, str, str]
_LINE = re.compile(r"(?:allow|deny|pass) by policy (.+) (spec\.\w+\[\d\]) \(generated:1\)$")


def named(ref: tuple[Policy, Rule]) -> Named:
    policy, rule = ref
    return policy.kind, str(policy), f"spec.{rule.direction.word}[{rule.index}]"


def viewed(view: RuleView | None) -> Named | None:
    return None if view is None else (view.policy.kind, view.policy.name, view.field)


def questions(plain: Plain, seed: int) -> list[Asked]:
    """Some connections between managed pods, and between one and an address."""
    asked = [one for one in plain.asked() if one.direction is Direction.EGRESS]
    asked += [one for one in plain.asked() if isinstance(one.source, str)]
    return Random(seed).sample(asked, min(QUESTIONS, len(asked)))


def ways(plain: Plain, asked: Asked) -> tuple[Way, Way]:
    egress, ingress = (
        plain.way(asked._replace(direction=one)) for one in (Direction.EGRESS, Direction.INGRESS)
    )
    return egress, ingress


def reports(plain: Plain, seed: int) -> Iterator[tuple[Asked, Explanation, Answer]]:
    compiled = compile_cluster(plain.oracle.cluster)
    for asked in questions(plain, seed):
        text = f"{asked.port}/{asked.protocol.name}"
        port = PortQuestion(text, asked.port, protocol=asked.protocol)
        found = explain(compiled, str(asked.source), str(asked.destination), port)
        (answer,) = found.answers
        yield asked, found, answer


def agree(decision: Decision, way: Way, subject: Pod | str) -> None:
    """Everything that a decision says is the oracle's."""
    assert decision.allowed is decides_to_allow(way.decided)
    if isinstance(way.decided, Reason):
        word = way.decided.value.lower().replace("_", "-").removeprefix("always-")
        assert decision.reason == (word if isinstance(subject, Pod) else "not-a-pod")
        assert decision.rule is None
    else:
        assert (decision.reason, viewed(decision.rule)) == ("rule", named(way.decided))
    assert list(map(viewed, decision.passed)) == list(map(named, way.passed))
    isolating = {(one.policy.kind, one.policy.name) for one in decision.isolated_by}
    assert isolating == {(one.kind, str(one)) for one in way.isolating}
    if len(way.layers) > 1:
        assert [one.layer for one in decision.layers] == [name for name, _ in way.layers]
        for layer, (_, inside) in zip(decision.layers, way.layers, strict=True):
            agree(layer.decision, inside, subject)


@pytest.mark.parametrize("seed", SEEDS)
def test_verdict_deciding_rule_and_what_passed_it_on(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    for asked, found, answer in reports(plain, seed):
        egress, ingress = ways(plain, asked)
        allowed = decides_to_allow(egress.decided) and decides_to_allow(ingress.decided)
        assert found.allowed is answer.allowed is allowed, asked
        agree(answer.egress, egress, asked.source)
        agree(answer.ingress, ingress, asked.destination)


@pytest.mark.parametrize("seed", SEEDS)
def test_conditions_are_named_where_they_matter_and_nowhere_else(seed: int) -> None:
    made = with_conditions(small_cluster(seed), seed)
    most, least = (Plain(bound(made, at_least)) for at_least in (False, True))
    for asked, found, answer in reports(Plain(made), seed):
        at_most, at_least = ways(most, asked), ways(least, asked)
        may, must = (
            all(decides_to_allow(one.decided) for one in pair) for pair in (at_most, at_least)
        )
        assert found.allowed is answer.allowed is must, asked
        assert bool(answer.condition) is (may and not must), asked
        for decision, above, below, subject in zip(
            (answer.egress, answer.ingress),
            at_most,
            at_least,
            (asked.source, asked.destination),
            strict=True,
        ):
            certain = decides_to_allow(above.decided) is decides_to_allow(below.decided)
            assert bool(decision.bounds) is not certain
            if certain:
                agree(decision, below if decision.allowed else above, subject)
            else:
                agree(decision.bounds[0], above, subject)
                agree(decision.bounds[1], below, subject)


EVERY_PROFILE = [*PROFILES.values(), *SINGLE_KNOB_PROFILES]


@pytest.mark.parametrize("seed", range(90))
def test_both_address_families_nodes_and_every_profile(seed: int) -> None:
    cluster = random_cluster(seed, pods=8, policies=8, tiers=True)
    profile = REFERENCE if seed % 2 else EVERY_PROFILE[seed // 2 % len(EVERY_PROFILE)]
    oracle, compiled = Oracle(cluster, profile), compile_cluster(cluster, profile)
    for probe in random_probes(cluster, oracle.managed, 30, seed):
        ends = oracle.end(probe.source), oracle.end(probe.destination)
        pods = [one.pod for one in ends if one.pod is not None]
        if probe.protocol is Protocol.OTHER or not pods or pods[0] in pods[1:]:
            continue
        port = PortQuestion("", probe.port, protocol=probe.protocol)
        families = [each for each in FAMILIES if all(one.has(each) for one in ends)]
        if probe.protocol is Protocol.ICMP and probe.port:
            families = [each for each in families if each == icmp_match(probe.port).version]
        found = explain(compiled, str(probe.source), str(probe.destination), port)
        for answer in found.answers:
            told = [answer.family] if answer.family else families
            for direction, decision, end in zip(
                (Direction.EGRESS, Direction.INGRESS),
                (answer.egress, answer.ingress),
                ends,
                strict=True,
            ):
                ways = [
                    oracle._direction(direction, Flow(*ends, probe.protocol, probe.port, family))
                    for family in told
                ]
                if not ways:
                    assert decision.reason == "no-address"
                    continue
                agree(decision, ways[0], end.pod or "an address")
                # One answer for both: they come to the same.
                assert all(way.decided == ways[0].decided for way in ways)
                misses = [one.nearest for one in decision.isolated_by if one.nearest]
                assert all(miss.failures for miss in misses)
        assert {answer.family for answer in found.answers} in ({None}, {4, 6})


# --- the text --------------------------------------------------------------------------------


def lines(way: Way) -> list[tuple[str, str]]:
    """The rules that the text of one direction names, in order."""
    inside = [one for _, one in way.layers] if len(way.layers) > 1 else [way]
    found = []
    for one in inside:
        decided = [] if isinstance(one.decided, Reason) else [one.decided]
        found += [named(ref) for ref in (*one.passed, *decided)]
    return [
        (name if kind == "NetworkPolicy" else f"{kind} {name}", field)
        for kind, name, field in found
    ]


def word(way: Way) -> str:
    return "allowed" if decides_to_allow(way.decided) else "denied"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_text_claims_what_the_oracle_says(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    for asked, found, answer in reports(plain, seed):
        egress, ingress = ways(plain, asked)
        text = tree.explanation(found, Style()).splitlines()
        both = "allowed" if answer.allowed else "denied"
        assert text[0].startswith(f"{both}: {found.source} → {found.destination} on ")
        heads = [line for line in text if re.match("├─ |└─ ", line)]
        assert [line.rpartition(": ")[2] for line in heads] == [word(egress), word(ingress)]
        rules = [match.groups() for line in text if (match := _LINE.search(line))]
        assert rules == [*lines(egress), *lines(ingress)], asked


# --- the nearest miss ------------------------------------------------------------------------

OF_PORTS = ("port", "protocol", "named port")


def relaxed(rule: Rule, miss: RuleMiss) -> Rule:
    """The rule without what is said to fail of it."""
    failed = {one.condition for one in miss.failures}
    if failed & set(OF_PORTS):
        rule = replace(rule, ports=None, excluded_ports=())
    if "subject" in failed:
        rule = replace(rule, subject=None)
    if failed - {*OF_PORTS, "subject"}:
        rule = replace(rule, peers=None)
    return rule


def is_dropped(rule: Rule) -> bool:
    """Whether nothing is left of a rule to miss."""
    return rule.peers == () or rule.ports == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_fails_of_the_nearest_rule_is_all_that_fails(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    policies = {(one.kind, str(one)): one for one in plain.oracle.policies}
    for asked, _, answer in reports(plain, seed):
        for direction, decision in zip(
            (Direction.EGRESS, Direction.INGRESS), (answer.egress, answer.ingress), strict=True
        ):
            own = asked._replace(direction=direction)
            for isolating in decision.isolated_by:
                policy = policies[isolating.policy.kind, isolating.policy.name]
                if isolating.nearest is None:
                    continue
                (rule,) = (
                    one
                    for one in policy.rules
                    if named((policy, one))[2] == isolating.nearest.field
                )
                assert isolating.nearest.failures, (str(policy), own)
                if is_dropped(rule):
                    continue
                wider = relaxed(rule, isolating.nearest)
                assert not plain.matches(policy, rule, own)
                assert plain.matches(policy, wider, own), (str(policy), isolating.nearest, own)
