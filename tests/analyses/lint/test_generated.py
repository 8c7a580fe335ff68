"""Rules that ask the compiled cluster, against answers that are plain to see, on generated ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from msgspec.structs import replace

from kubeverdict.analyses.lint import coverage, lint, onesided
from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.scenarios.workbench import evaluate, workbench
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, policy_key
from kubeverdict.model.policy import Direction, PodPeer, Rule
from kubeverdict.model.ports import PortRange
from kubeverdict.model.profile import PROFILES
from kubeverdict.model.sources import Source
from kubeverdict.render import FORMATS, render
from kubeverdict.render.style import Style
from tests.clusters.generated import random_cluster

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_policies_that_change_nothing_can_be_deleted_together(seed: int) -> None:
    compiled = compile_cluster(random_cluster(seed))
    hits = [
        hit
        for hit in coverage.check(Facts(compiled))
        if hit.rule in ("policy-shadowed", "policy-redundant")
    ]
    keys = [policy_key(hit.policy) for hit in hits if hit.policy]
    assert keys
    for edit in [Edit("all", tuple(keys)), *(Edit(str(key), (key,)) for key in keys)]:
        (outcome,) = evaluate(workbench(compiled), [edit])
        assert not outcome.changes, edit.name


@pytest.mark.parametrize("seed", SEEDS)
def test_one_sided_rules_are_those_whose_pairs_fail(seed: int) -> None:
    compiled = compile_cluster(_distinguished(random_cluster(seed, pods=40, policies=25)))
    expected = {
        number: counts
        for number, ref in enumerate(compiled.rules)
        if onesided.is_particular(ref.rule) and _has_numbers(ref.rule)
        if (counts := _failing(compiled, number))[1]
    }
    found: dict[int, tuple[int, int]] = {}
    places = {id(ref.rule.source): number for number, ref in enumerate(compiled.rules)}
    for hit in onesided.check(Facts(compiled)):
        number = places[id(hit.source)]
        if number in expected or _has_numbers(compiled.rules[number].rule):
            words = hit.message.split()
            pairs, blocked = int(words[3].replace(",", "")), int(words[0].replace(",", ""))
            old = found.get(number, (pairs, 0))
            found[number] = (pairs, old[1] + blocked)
    particular = {
        number: counts
        for number, counts in found.items()
        if onesided.is_particular(compiled.rules[number].rule)
    }
    assert particular == expected


def _distinguished(cluster: Cluster) -> Cluster:
    """Each rule with a source of its own."""
    policies = tuple(
        replace(
            policy,
            rules=tuple(
                replace(rule, source=Source(rule.source.origin, ("spec", rule.direction.word, 0)))
                for rule in policy.rules
            ),
        )
        for policy in cluster.policies
    )
    return replace(cluster, policies=policies)


def _has_numbers(rule: Rule) -> bool:
    return rule.ports is None or all(isinstance(port, PortRange) for port in rule.ports)


def _failing(compiled: CompiledPolicy, number: int) -> tuple[int, int]:
    """Pod pairs of a rule and those that fail at the other end on every port, one by one; those
    of the address family with most pairs."""
    rule, policy = compiled.rules[number].rule, compiled.rules[number].policy
    namespaces = {space.name: space.labels for space in compiled.cluster.namespaces}
    subjects = [
        place
        for place, pod in enumerate(compiled.pods)
        if pod.namespace == policy.namespace and policy.pods.matches(pod.labels)
    ]
    peers = [
        place
        for place, pod in enumerate(compiled.pods)
        if any(
            isinstance(peer, PodPeer)
            and (
                pod.namespace == peer.namespace
                if peer.namespace
                else peer.namespaces.matches(namespaces[pod.namespace])
            )
            and (peer.pods is None or peer.pods.matches(pod.labels))
            for peer in rule.peers or ()
        )
    ]
    pairs = [(one, other) for one in subjects for other in peers if one != other]
    flows = _flows(compiled, rule)
    counts = []
    for plane in compiled.planes:
        there = [
            (one, other)
            for one, other in pairs
            if plane.ends.identity[one] >= 0 and plane.ends.identity[other] >= 0
        ]
        alive = np.zeros(len(there), np.bool_)
        for protocol, port in flows:
            ends = np.array(there, np.int64).reshape(-1, 2)
            ends = ends if rule.direction is Direction.EGRESS else ends[:, ::-1]
            fill = (np.full(len(there), value) for value in (protocol, port))
            verdicts = judge(compiled, ends[:, 0], ends[:, 1], *fill, family=plane.families[0])
            egress = rule.direction is Direction.EGRESS
            decided = verdicts.ingress if egress else verdicts.egress
            alive |= decided != Reason.NO_RULE_MATCHES
        dead = sum(not lives for lives, (one, other) in zip(alive, there, strict=True))
        counts.append((len(there), dead))
    return max(counts, key=lambda one: one[0])


def _flows(compiled: CompiledPolicy, rule: Rule) -> list[tuple[int, int]]:
    """A flow on each part into which rules cut the ports of this one."""
    first = compiled.ports.first[:-1].tolist()
    places = [(min(place >> 16, 3), place & 0xFFFF) for place in first if place < 3 << 16]
    if rule.ports is None:
        return [*places, (3, 0), (4, 0)]
    ranges = [port for port in rule.ports if isinstance(port, PortRange)]
    found = {(int(one.protocol), one.first) for one in ranges}
    found |= {
        place
        for place in places
        if any(place[0] == one.protocol and one.first <= place[1] <= one.last for one in ranges)
    }
    return sorted(found)


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("tiers", [False, True])
def test_every_profile_and_format_copes(profile: str, tiers: bool) -> None:
    compiled = compile_cluster(
        random_cluster(7, pods=60, policies=20, tiers=tiers), PROFILES[profile]
    )
    others = [one for name, one in PROFILES.items() if name != profile]
    report = lint(compiled, lambda key: ("input.yaml", 1), others=others)
    assert Counter(check.id for check in report.checks).most_common(1)[0][1] == 1
    assert {one.id for one in report.findings} <= {check.id for check in report.checks}
    for form in FORMATS["lint"]:
        assert render("lint", form, report, Style())
