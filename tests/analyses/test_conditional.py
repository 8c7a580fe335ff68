"""Conditional rules in reports: what depends on a condition is said to, with the condition."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from kubeverdict.analyses.conditional import certain_connections, certain_differences
from kubeverdict.analyses.explain import Answer, Explanation, explain
from kubeverdict.analyses.questions import parse_port
from kubeverdict.analyses.replay import replay
from kubeverdict.analyses.traffic import LogReading
from kubeverdict.analyses.whatif import whatif
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.assertions import Claim
from kubeverdict.model.policy import Action, Direction, Policy, Tier
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.render import json as as_json
from kubeverdict.render import replay as as_replay
from kubeverdict.render import tree
from kubeverdict.render.style import Style
from tests.analyses.test_recommend_property import traffic_of
from tests.analyses.verify.asserting import claim, end, inside, results, tcp
from tests.clusters.generated import Probe
from tests.clusters.records import allow, block, pod, policy_of, xy_cluster

INGRESS = Direction.INGRESS
GET = "for GET /api only"
MESH = "if x/a is in the mesh"
ADMIN = Tier(100.0, "admin", Action.PASS)


def port(number: int) -> tuple[PortRange, ...]:
    return (PortRange(Protocol.TCP, number, number),)


def compiled(*policies: Policy) -> CompiledPolicy:
    pods = (pod("x/a", "", "10.0.0.1"), pod("y/b", "", "10.0.0.2"))
    return compile_cluster(xy_cluster(pods, *policies))


# Port 80 is open under a condition, 81 in any case, 82 unless a condition holds.
POLICIES = (
    policy_of(
        "admin",
        replace(allow(INGRESS, None, port(82), Action.DENY), condition=MESH),
        isolates=(),
        tier=ADMIN,
    ),
    policy_of(
        "y/net",
        replace(allow(INGRESS, None, port(80)), condition=GET),
        allow(INGRESS, None, port(81), index=1),
        allow(INGRESS, None, port(82), index=2),
    ),
)


def report(number: int) -> tuple[Explanation, Answer]:
    found = explain(compiled(*POLICIES), "x/a", "y/b", parse_port(str(number)))
    (answer,) = found.answers
    return found, answer


def test_a_conditional_allow_is_conditional() -> None:
    found, answer = report(80)
    assert not found.allowed and answer.condition == GET
    assert answer.ingress.reason == "conditional" and answer.egress.allowed
    most, least = answer.ingress.bounds
    assert (most.allowed, least.allowed) == (True, False)
    assert least.reason == "no-rule-matches"
    text = tree.explanation(found, Style())
    assert f"conditional ({GET})" in text and f"condition: {GET}" in text


def test_a_conditional_denial_is_conditional() -> None:
    _, answer = report(82)
    assert answer.condition == MESH and not answer.allowed


def test_what_no_condition_changes_is_certain() -> None:
    found, answer = report(81)
    assert found.allowed and not answer.condition and answer.ingress.rule is not None
    found, answer = report(83)
    assert not found.allowed and not answer.condition


def test_json() -> None:
    found, _ = report(80)
    (answer,) = json.loads(as_json.explanation(found, Style()))["answers"]
    assert answer["allowed"] is False and answer["condition"] == GET
    ingress: Any = answer["ingress"]
    assert ingress["reason"] == "conditional" and ingress["at_most"]["rule"]["condition"] == GET
    assert ingress["at_least"]["reason"] == "no-rule-matches"


def test_every_report_names_the_conditions() -> None:
    found, _ = report(81)
    assert [one.gap.value for one in found.unevaluated] == ["condition", "condition"]
    assert GET in " ".join(one.detail for one in found.unevaluated)


def test_list_keeps_apart_what_depends_on_a_condition() -> None:
    found = certain_connections(compiled(*POLICIES))
    listed = {(one.source.name, one.destination.name): str(one.ports) for one in found.connections}
    assert listed["x/a[Pod]", "y/b[Pod]"] == "TCP 81"
    (one,) = (each for each in found.conditional if each.source.name == "x/a[Pod]")
    assert (str(one.at_least), str(one.at_most)) == ("TCP 81", "TCP 80-82")
    told = json.loads("".join(as_json.connections(found, Style())))
    assert {"TCP": "80-82"} in [each["at_most"] for each in told["conditional"]]
    plain = certain_connections(compiled(*POLICIES[1:1]))
    assert "conditional" not in "".join(as_json.connections(plain, Style()))


def test_diff_keeps_apart_changes_that_depend_on_a_condition() -> None:
    old = compiled(policy_of("y/net", allow(INGRESS, None, port(81))))
    found = certain_differences(old, compiled(*POLICIES))
    assert not found.changes and found.adds and found.removes
    told = json.loads(as_json.differences(found, Style()))
    of_pods = [each for each in told["conditional"] if each["source"] == "x/a[Pod]"]
    assert of_pods == [
        {
            "source": "x/a[Pod]",
            "destination": "y/b[Pod]",
            "before": {"TCP": "81"},
            "after": {"TCP": "80-82"},
        }
    ]
    certain = certain_differences(compiled(policy_of("y/net", isolates=(INGRESS,))), old)
    assert certain.changes and not certain.conditional


def test_a_change_of_some_addresses_is_certain_where_that_of_others_depends() -> None:
    egress = (Direction.EGRESS,)
    certain, conditional = (
        allow(Direction.EGRESS, (block(text),), port(80), index=index)
        for index, text in enumerate(("203.0.113.0/24", "198.51.100.0/24"))
    )
    old = compiled(policy_of("x/net", certain, replace(conditional, condition=MESH)))
    found = certain_differences(old, compiled(policy_of("x/net", isolates=egress)))
    told = [
        [(one.kind, one.destination.name) for one in changes if not one.destination.whole]
        for changes in (found.changes, found.conditional)
    ]
    assert told == [[("removed", "203.0.113.0/24")], [("removed", "198.51.100.0/24")]]


def test_replay_counts_what_depends_on_a_condition() -> None:
    made = compiled(*POLICIES)
    a, b = made.cluster.pods
    probes = [Probe(a, b, Protocol.TCP, number, None) for number in (80, 81, 81, 82, 83)]
    found = replay([traffic_of(made.cluster, probes)[0]], made, LogReading())
    assert (found.allowed.records, found.breaking.records) == (4, 1)
    assert (found.conditional.records, found.conditional.connections) == (2, 2)
    told = json.loads(as_replay.json(found, Style()))
    assert told["conditional"] == {"records": 2, "connections": 2}
    assert "allowed only under the conditions of rules" in as_replay.table(found, Style())


def test_verify_does_not_know_what_a_condition_decides() -> None:
    for number, allowed, denied in (
        (80, "unknown", "unknown"),
        (81, "holds", "violated"),
        (82, "unknown", "unknown"),
        (83, "violated", "holds"),
    ):
        asked = [
            claim(kind, end(inside("x")), end(inside("y")), tcp(number))
            for kind in (Claim.ALLOW, Claim.DENY)
        ]
        found = results(compiled(*POLICIES).cluster, *asked)
        assert [one.status for one in found] == [allowed, denied], number
        doubts = [text for one in found for text in one.doubts]
        assert all(GET in text or MESH in text for text in doubts)


def test_whatif_keeps_apart_what_depends_on_a_condition() -> None:
    old = compiled(policy_of("y/net", allow(INGRESS, None, port(81))))
    found = whatif(old, compiled(*POLICIES))
    told = [(str(one.ports), one.conditions) for one in found.opened if one.pairs]
    assert told == [("TCP 80,82", (GET, MESH))]
    # The rule for port 83 is certain, unlike others.
    more = policy_of("y/more", allow(INGRESS, None, port(83)))
    found = whatif(old, compiled(*POLICIES, more))
    certain = [(str(one.ports), bool(one.conditions)) for one in found.opened if one.pairs]
    assert certain == [("TCP 83", False), ("TCP 80,82", True)]
    text = tree.whatif(found, Style())
    assert "TCP 80,82  (1 pod pair)  conditional (" in text
    written = [one for one in json.loads(as_json.whatif(found, Style()))["opened"]]
    assert [one.get("conditions") for one in written if one["pod_pairs"]] == [None, [GET, MESH]]


def test_whatif_says_what_may_close() -> None:
    """In force, the rule denies what is allowed today; its condition may not hold."""
    found = whatif(compiled(POLICIES[1]), compiled(*POLICIES))
    assert not found.opened
    told = {(str(one.ports), one.conditions) for one in found.closed}
    assert told == {("TCP 82", (MESH,))}
    (closed,) = (one for one in found.closed if str(one.destination) == "y/b[Pod]" and one.pairs)
    before, after = closed.before, closed.after
    assert before is not None and before.allowed
    assert after is not None and not after.allowed
