from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.analyses import effects
from kubeverdict.analyses.decisions import ConnectionVerdict, Decision, RuleView
from kubeverdict.analyses.effects import Effect, Responsible, responsible
from kubeverdict.analyses.misses import PolicyMiss, PolicyView
from kubeverdict.analyses.peers import pod_peer
from kubeverdict.analyses.port_text import Ports
from kubeverdict.analyses.whatif import WhatIf

OPEN = Decision(True, "not-isolated")


def view(name: str) -> PolicyView:
    return PolicyView("NetworkPolicy", name, f"{name}.yaml", 1)


def by_rule(name: str, line: int, allowed: bool = True) -> Decision:
    action = "allow" if allowed else "deny"
    rule = RuleView(view(name), "spec.ingress[0]", f"{name}.yaml", line, action)
    return Decision(allowed, "rule", rule)


def isolated(*names: str) -> Decision:
    return Decision(False, "no-rule-matches", None, tuple(PolicyMiss(view(one)) for one in names))


def effect(before: Decision | None, after: Decision | None, number: int = 0) -> Effect:
    """Of which ingress turns."""
    was, now = (
        None if one is None else ConnectionVerdict(one.allowed, OPEN, one)
        for one in (before, after)
    )
    ends = pod_peer(f"a/web{number}[Pod]", "a"), pod_peer("b/db[Pod]", "b")
    return Effect(*ends, Ports(everything=True), 1, was, now)


def place(before: Decision | None, after: Decision | None) -> tuple[str, int]:
    found = responsible(effect(before, after))
    assert found == Responsible() or found.policy == f"NetworkPolicy {found.file[:-5]}"
    return found.file, found.line


def test_what_opens_is_the_rule_or_else_the_policy_that_isolates_no_more() -> None:
    assert place(isolated("deny"), by_rule("web", 7)) == ("web.yaml", 7)
    assert place(isolated("deny"), OPEN) == ("deny.yaml", 1)
    assert place(by_rule("deny", 4, allowed=False), OPEN) == ("deny.yaml", 4)
    assert place(None, by_rule("web", 7)) == ("web.yaml", 7)


def test_what_closes_is_the_rule_or_the_policy_that_lost_one_or_that_isolates() -> None:
    assert place(OPEN, by_rule("no", 3, allowed=False)) == ("no.yaml", 3)
    assert place(OPEN, isolated("deny", "web")) == ("deny.yaml", 1)
    assert place(by_rule("web", 7), isolated("deny", "web")) == ("web.yaml", 1)
    # The policy that allowed it is gone.
    assert place(by_rule("web", 7), isolated("deny")) == ("web.yaml", 7)


def admin(action: str, line: int) -> RuleView:
    policy = PolicyView("AdminNetworkPolicy", "admin", "admin.yaml", 1)
    return RuleView(policy, "spec.ingress[0]", "admin.yaml", line, action)


def passed(decision: Decision, line: int = 3) -> Decision:
    return replace(decision, passed=(admin("pass", line),))


DENIED, ALLOWED = (
    Decision(action == "allow", "rule", admin(action, 5)) for action in ("deny", "allow")
)


def first_to_blame(before: Decision, after: Decision, *changed: str) -> tuple[str, int]:
    kinds = {"admin": "AdminNetworkPolicy"}
    names = {(kinds.get(one, "NetworkPolicy"), one) for one in changed}
    found = responsible(effect(before, after), names)
    return found.file, found.line


def test_what_passes_a_connection_on_is_responsible_where_it_did_not_before() -> None:
    assert first_to_blame(DENIED, passed(OPEN), "admin") == ("admin.yaml", 3)
    assert first_to_blame(DENIED, passed(by_rule("web", 7)), "admin") == ("admin.yaml", 3)
    assert first_to_blame(ALLOWED, passed(isolated("deny")), "admin") == ("admin.yaml", 3)
    # The other policy allows it, and that is what changed.
    assert first_to_blame(passed(isolated("web")), passed(by_rule("web", 7)), "web") == (
        "web.yaml",
        7,
    )


def test_a_policy_that_changed_goes_before_one_that_comes_to_decide() -> None:
    # A policy of another tier isolates now, and the one that allowed it stays as it was.
    assert first_to_blame(by_rule("web", 7), isolated("tier"), "tier") == ("tier.yaml", 1)
    assert first_to_blame(by_rule("web", 7), isolated("tier"), "web") == ("web.yaml", 7)
    # A denial is gone, and a rule decides that was there before.
    assert first_to_blame(DENIED, by_rule("web", 7), "admin") == ("admin.yaml", 5)
    assert first_to_blame(DENIED, by_rule("web", 7)) == ("web.yaml", 7)


def test_nothing_is_responsible_where_an_end_goes() -> None:
    assert place(by_rule("web", 7), None) == ("", 0)
    assert place(OPEN, None) == ("", 0)


def test_a_side_that_stays_as_it_was_is_no_news() -> None:
    told = effects.causes(effect(isolated("deny"), OPEN))
    assert told == (
        "denied: ingress is isolated by deny (deny.yaml:1); no rule matches",
        "allowed: ingress is open: no policy isolates the pod",
    )
    before, after = effects.causes(effect(None, OPEN))
    assert before == "an end is not there" and "egress" in after and "ingress" in after


def test_one_finding_for_each_place() -> None:
    opened = [effect(isolated("deny"), by_rule("web", 7), number) for number in range(12)]
    closed = [replace(opened[0], before=opened[0].after, after=opened[0].before)]
    report = WhatIf("reference", tuple(opened), tuple(closed), ())
    first, second = report.findings
    assert (first.id, first.file, first.line) == ("connection-opened", "web.yaml", 7)
    lines = first.message.splitlines()
    assert lines[0] == "opens 12 connections:"
    assert lines[1] == "  a/web0[Pod] to b/db[Pod], all connections (1 pod pair)"
    assert lines[11] == "  and 2 more" and lines[12].startswith("before (the first): denied")
    assert second.id == "connection-closed" and second.message.startswith("closes a/web0[Pod] to")
    assert {one.id for one in report.findings} == {check.id for check in report.checks}
