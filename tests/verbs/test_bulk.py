"""Scenarios on clusters with tiers, against the oracle: why nothing changes without a policy, and
what changes where rules are conditional."""

from __future__ import annotations

import json
from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.bulk import Ranking, report, summary
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.scenarios import combine
from kubeverdict.evaluate.scenarios.combine import covers
from kubeverdict.evaluate.scenarios.outcome import Example, Judged, Outcome
from kubeverdict.evaluate.scenarios.workbench import evaluate, workbench
from kubeverdict.model.addresses import parse_block
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.model.policy import BlockPeer, Direction
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.render import bulk as as_text
from kubeverdict.render import jsonl
from kubeverdict.render.style import Style
from tests.clusters.conditions import CONDITIONS, bound, with_conditions
from tests.clusters.records import allow, pod, policy_of, xy_cluster
from tests.counting import ChangeCount, count_changes
from tests.oracle import Oracle
from tests.verbs.plain import Plain, concerned, small_cluster


@pytest.mark.parametrize("seed", range(60))
def test_a_policy_without_which_nothing_changes_is_covered_by_who_decides_then(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    bench = workbench(compile_cluster(plain.oracle.cluster))
    policies, pods = plain.oracle.policies, plain.oracle.managed
    edits = [Edit(str(one), policies_out=(policy_key(one),)) for one in policies]
    outcomes = evaluate(bench, edits)
    idle = [one for one, found in zip(policies, outcomes, strict=True) if not found.changes]
    for policy, cover in zip(idle, covers(bench, list(map(policy_key, idle))), strict=True):
        without = plain.without([policy])
        about = concerned(plain, policy)
        same = [asked for asked in about if plain.lets(asked) is without.lets(asked)]
        deciding = {str(one) for asked in same if (one := without.decider(asked)) is not None}
        named = {str(one): one for one in cover.covered_by}
        assert deciding <= named.keys()
        assert cover.selects_nothing is not any(plain.selects(policy, pod) for pod in pods)
        # Those named beside them decide as well, or about a pod and itself.
        for one in named.values():
            both = (plain.selects(policy, pod) and plain.selects(one, pod) for pod in pods)
            assert any(both), (str(policy), str(one))


# --- conditional rules -----------------------------------------------------------------------


def scenarios(made: Cluster, seed: int) -> list[Edit]:
    """Policies out and in, pods relabelled, and both at once."""
    choose = Random(seed).choice
    other = with_conditions(small_cluster(seed + 1000), seed + 1)
    names = {one.name for one in made.namespaces}
    coming = [one for one in other.policies if one.namespace is None or one.namespace in names]
    edits = [Edit(f"out {one}", policies_out=(policy_key(one),)) for one in made.policies]
    edits += [Edit(f"in {one}", policies_in=(one,)) for one in coming]
    for pod_ in made.pods[:2]:
        changed = replace(pod_, labels=choose(other.pods).labels)
        edits.append(Edit(f"relabel {pod_}", pods_in=(changed,)))
        edits.append(Edit(f"both {pod_}", pods_in=(changed,), policies_in=tuple(coming[:1])))
    return edits


def counted(outcome: Outcome) -> ChangeCount:
    found = [one for one in outcome.counts if 4 in one.families]
    if not found:
        return ChangeCount(0, 0, 0, 0)
    (one,) = found
    return ChangeCount(one.pairs_opened, one.pairs_closed, one.ports_opened, one.ports_closed)


def allowed(made: Cluster, example: Example) -> tuple[bool, bool]:
    """At most and at least, by the oracle."""
    pods = {str(one): one for one in made.pods}
    ends = pods[str(example.source)], pods[str(example.destination)]
    most, least = (
        Oracle(bound(made, at_least)).judge(*ends, example.protocol, example.port, 4).allowed
        for at_least in (False, True)
    )
    return most, least


def bounds_of(judged: Judged, most: bool) -> tuple[bool, bool]:
    other = judged.allowed if judged.other is None else judged.other.allowed
    return (judged.allowed, other) if most else (other, judged.allowed)


@pytest.mark.parametrize("seed", range(40))
def test_what_scenarios_change_in_both_bounds(seed: int) -> None:
    made = with_conditions(small_cluster(seed), seed)
    if seed % 3 == 0:  # all that is conditional is in the scenario
        made = bound(made, at_least=False)
    edits = scenarios(made, seed)
    before = [Oracle(bound(made, at_least)) for at_least in (False, True)]
    for edit, outcome in zip(edits, evaluate(workbench(compile_cluster(made)), edits), strict=True):
        changed = edited(made, edit)
        after = [Oracle(bound(changed, at_least)) for at_least in (False, True)]
        most, least = (count_changes(*each, 4) for each in zip(before, after, strict=True))
        found = outcome.at_least or outcome
        assert (counted(outcome), counted(found)) == (most, least), edit.name
        for one in (outcome, found):
            for example in one.examples:
                if not isinstance(example.source, Pod) or not isinstance(example.destination, Pod):
                    continue
                for judged, version in ((example.before, made), (example.after, changed)):
                    assert judged is not None
                    expected = allowed(version, example)
                    assert bounds_of(judged, one is outcome) == expected, edit.name
        check_report(outcome, most != least)


def check_report(outcome: Outcome, differs: bool) -> None:
    told = report(outcome)
    assert told.conditional or not differs
    for change in told.examples:
        for verdict in (change.before, change.after):
            if verdict is not None and verdict.condition:
                assert not verdict.allowed and told.conditional
                assert any(text in verdict.condition for text in (*CONDITIONS, "a rule has"))


INGRESS = Direction.INGRESS
PORT = (PortRange(Protocol.TCP, 80, 80),)
PODS = (pod("x/a", "", "10.0.0.1"), pod("y/b", "", "10.0.0.2"))
GET = replace(allow(INGRESS, None, PORT), condition="for GET only")


def test_a_scenario_that_adds_a_conditional_rule() -> None:
    bench = workbench(compile_cluster(xy_cluster(PODS, policy_of("y/deny", isolates=(INGRESS,)))))
    (outcome,) = evaluate(bench, [Edit("open", policies_in=(policy_of("y/get", GET),))])
    told = report(outcome)
    assert told.conditional and summary([told]).conditional == 1
    assert (told.figures.pairs_opened, told.at_least and told.at_least.figures.pairs_opened) == (
        1,
        0,
    )
    (change,) = told.examples
    assert change.before is not None and change.after is not None
    assert (change.before.condition, change.after.condition) == ("", "for GET only")
    assert change.after.ingress.reason == "conditional" and not change.after.allowed
    line = json.loads(jsonl.bulk(told, Style()))
    assert line["at_least"]["figures"]["pairs_opened"] == 0 and line["conditional"]
    assert line["examples"][0]["after"]["condition"] == "for GET only"


@pytest.mark.parametrize("direction", Direction)
def test_a_scenario_that_adds_blocks_with_pods_in_them(direction: Direction) -> None:
    """What an overlay makes of several blocks is no peer of a policy, and was dropped."""
    blocks = [parse_block(text) for text in ("10.0.0.0/8", "203.0.113.0/24")]
    peers = tuple(BlockPeer(block) for block in blocks if block is not None)
    made = xy_cluster(PODS, policy_of("y/deny", isolates=(direction,)))
    coming = policy_of("y/blocks", allow(direction, peers, PORT))
    (outcome,) = evaluate(workbench(compile_cluster(made)), [Edit("blocks", policies_in=(coming,))])
    assert counted(outcome).pairs_opened == 1


def test_a_redundant_policy_is_so_in_both_bounds() -> None:
    made = xy_cluster(PODS, policy_of("y/get", GET), policy_of("y/all", allow(INGRESS, None, PORT)))
    edits = [Edit(str(one), policies_out=(policy_key(one),)) for one in made.policies]
    get, everything = evaluate(workbench(compile_cluster(made)), edits)
    assert not get.changes
    # Where the condition holds nothing changes; where it does not, port 80 closes.
    assert everything.at_least is not None and everything.changes
    assert counted(everything).pairs_closed == 0 and counted(everything.at_least).pairs_closed == 1


def test_a_step_of_a_rollout_breaks_what_only_a_condition_allows_afterwards() -> None:
    made = xy_cluster(PODS, policy_of("y/all", allow(INGRESS, None, PORT)))
    key = policy_key(made.policies[0])
    steps = [Edit("get", (key,), (policy_of("y/get", GET),)), Edit("all", (), tuple(made.policies))]
    bench = workbench(compile_cluster(made))
    first, second = combine.rollout(bench, steps)
    assert first.broken == 0 and first.at_least is not None and first.at_least.broken == 1
    assert first.breaks and not second.breaks
    # The other way round it is not open after the last step.
    assert combine.safe_order(bench, steps).steps == (1, 0)
    text = as_text.text(Ranking((report(first),), summary([report(first)]), 5), Style())
    assert "conditional: opens 0 and closes 1 pod pairs where rules with a condition" in text
    assert "after conditional: for GET only" in text


def test_without_conditions_there_is_one_bound() -> None:
    made = xy_cluster(PODS, policy_of("y/all", allow(INGRESS, None, PORT)))
    bench = workbench(compile_cluster(made))
    (outcome,) = evaluate(bench, [Edit("out", (policy_key(made.policies[0]),))])
    assert outcome.at_least is None and "least" not in vars(bench)
    assert report(outcome).at_least is None
