"""JSON, the contract with programs: each report has a schema name with a version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from kubeverdict.render.rows import chunks
from kubeverdict.render.schemas import schema
from kubeverdict.render.style import Style
from kubeverdict.render.unevaluated import content as unevaluated

if TYPE_CHECKING:
    from kubeverdict.analyses.conditions import UnmetCondition
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.decisions import ConnectionVerdict, Decision, RuleView
    from kubeverdict.analyses.differences import Difference, Differences
    from kubeverdict.analyses.effects import Effect
    from kubeverdict.analyses.explain import Answer, Explanation
    from kubeverdict.analyses.links import Target
    from kubeverdict.analyses.misses import PolicyMiss, PolicyView, RuleMiss
    from kubeverdict.analyses.peers import Peer
    from kubeverdict.analyses.port_text import Ports
    from kubeverdict.analyses.whatif import WhatIf

Json = dict[str, Any]


def connections(report: Connections, style: Style) -> Iterator[str]:
    """A line for each connection."""
    head: Json = {
        "schema": schema("list", ranges=report.by_range),
        **unevaluated(report.unevaluated),
    }
    if report.conditional:
        head["conditional"] = [
            {
                "source": one.source.name,
                "destination": one.destination.name,
                "at_least": ports_of(one.at_least),
                "at_most": ports_of(one.at_most),
                **family(one.family),
            }
            for one in report.conditional
        ]
    yield f'{_text(head, indent=2)[:-2]},\n  "connections": ['
    between = "\n"
    for chunk in chunks(report, _head, _tail, ",\n"):
        yield between + chunk
        between = ",\n"
    yield "]\n}" if between == "\n" else "\n  ]\n}"


def differences(report: Differences, style: Style) -> str:
    changes: dict[str, list[Json]] = {"added": [], "removed": [], "changed": []}
    for change in report.changes:
        changes[change.kind].append(_change(change))
    workloads = {"added": list(report.appeared), "removed": list(report.gone)}
    profiles = {"old": report.old_profile or report.profile, "new": report.profile}
    content = {"profiles": profiles, **changes, "workloads": workloads}
    if report.conditional:
        content["conditional"] = [_change(change) for change in report.conditional]
    content |= unevaluated(report.unevaluated)
    return document("diff", content, ranges=report.by_range)


def explanation(report: Explanation, style: Style) -> str:
    return document(
        "explain",
        {
            "profile": report.profile,
            "source": report.source,
            "destination": report.destination,
            "port": report.port,
            "allowed": report.allowed,
            "answers": [_answer(answer) for answer in report.answers],
            "notes": list(report.notes),
            **unevaluated(report.unevaluated),
            **({"via": report.via} if report.via else {}),
        },
    )


def whatif(report: WhatIf, style: Style) -> str:
    return document(
        "whatif",
        {
            "profile": report.profile,
            "pod_pairs": [
                {
                    "families": [f"IPv{number}" for number in pairs.families],
                    "before": pairs.before,
                    "after": pairs.after,
                    "opened": pairs.opened,
                    "closed": pairs.closed,
                }
                for pairs in report.pairs
            ],
            "opened": [effect_content(one) for one in report.opened],
            "closed": [effect_content(one) for one in report.closed],
            **unevaluated(report.unevaluated),
        },
    )


def document(verb: str, content: Json, *, ranges: bool = False) -> str:
    encoded = msgspec.json.encode({"schema": schema(verb, ranges=ranges), **content})
    return msgspec.json.format(encoded, indent=2).decode()


def _head(source: Peer) -> str:
    return f'    {{"source": {_text(source.name)}, '


def _tail(target: Target[Ports]) -> str:
    content = {
        "destination": target.peer.name,
        "ports": ports_of(target.value),
        **family(target.family),
    }
    return _text(content)[1:]


def _text(value: Any, indent: int = 0) -> str:
    """Without ``indent`` on one line."""
    return msgspec.json.format(msgspec.json.encode(value), indent=indent).decode()


def _change(change: Difference) -> Json:
    """One set of ports for a connection that comes or goes, two for one that changes."""
    ends = {"source": change.source.name, "destination": change.destination.name}
    if change.kind == "changed":
        ports = {"before": ports_of(change.before), "after": ports_of(change.after)}
    else:
        ports = {"ports": ports_of(change.before or change.after)}
    return {**ends, **ports, **family(change.family)}


def ports_of(ports: Ports) -> Any:
    return "all" if ports.everything else dict(ports.protocols)


def family(name: str) -> Json:
    return {"family": name} if name else {}


def _answer(answer: Answer) -> Json:
    return {
        "sources": list(answer.sources),
        "destinations": list(answer.destinations),
        "protocol": answer.protocol,
        "port": answer.port,
        **family(f"IPv{answer.family}" if answer.family else ""),
        **({"service_port": answer.through} if answer.through else {}),
        **({"hairpins": list(answer.hairpins)} if answer.hairpins else {}),
        "allowed": answer.allowed,
        **({"condition": answer.condition} if answer.condition else {}),
        "egress": decision(answer.egress),
        "ingress": decision(answer.ingress),
    }


def decision(decided: Decision) -> Json:
    """``isolated_by`` only where policies isolate and nothing matched, ``rule`` where one did,
    ``passed`` where rules of earlier tiers passed the connection on, ``layers`` where policies
    are of several."""
    content: Json = {"allowed": decided.allowed, "reason": decided.reason}
    if decided.rule is not None:
        content["rule"] = _rule(decided.rule)
    if decided.isolated_by:
        content["isolated_by"] = [_miss(miss) for miss in decided.isolated_by]
    if decided.passed:
        content["passed"] = [_rule(rule) for rule in decided.passed]
    if decided.bounds:
        most, least = decided.bounds
        content |= {"at_most": decision(most), "at_least": decision(least)}
    if decided.layers:
        content["layers"] = [
            {"layer": each.layer, **decision(each.decision)} for each in decided.layers
        ]
    return content


def _rule(rule: RuleView) -> Json:
    return {
        "kind": rule.policy.kind,
        "policy": rule.policy.name,
        "field": rule.field,
        "file": rule.file,
        "line": rule.line,
        "action": rule.action,
        **({"condition": rule.condition} if rule.condition else {}),
    }


def _policy(policy: PolicyView) -> Json:
    return {
        "kind": policy.kind,
        "policy": policy.name,
        "file": policy.file,
        "line": policy.line,
    }


def _miss(miss: PolicyMiss) -> Json:
    return {
        **_policy(miss.policy),
        **({"nearest": _rule_miss(miss.nearest)} if miss.nearest else {}),
    }


def _rule_miss(miss: RuleMiss) -> Json:
    return {
        "field": miss.field,
        "line": miss.line,
        "failures": [_failure(failure) for failure in miss.failures],
    }


def _failure(failure: UnmetCondition) -> Json:
    content: Json = {
        "condition": failure.condition,
        "wanted": failure.wanted,
        "found": failure.found,
        "message": failure.message,
    }
    if failure.closest is not None:
        content["closest"] = failure.closest.word
        content["letters_off"] = failure.closest.letters
    return content


def effect_content(effect: Effect) -> Json:
    return {
        "source": effect.source.name,
        "destination": effect.destination.name,
        "ports": ports_of(effect.ports),
        **family(effect.family),
        "pod_pairs": effect.pairs,
        **({"conditions": list(effect.conditions)} if effect.conditions else {}),
        "before": connection_verdict(effect.before),
        "after": connection_verdict(effect.after),
    }


def connection_verdict(verdict: ConnectionVerdict | None) -> Json | None:
    """Null where an end does not exist at that time."""
    if verdict is None:
        return None
    return {
        "allowed": verdict.allowed,
        "egress": decision(verdict.egress),
        "ingress": decision(verdict.ingress),
    }
