"""What a cluster that is followed does: lines for people, and JSON, one object a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from kubeverdict.analyses.effects import Effect, causes, connection
from kubeverdict.analyses.unevaluated import sentences
from kubeverdict.analyses.verify.report import Result, reasons
from kubeverdict.analyses.verify.report import connection as violation_text
from kubeverdict.analyses.watched import (
    AssertionTurn,
    ClusterChange,
    Ended,
    Freshness,
    Started,
    Watched,
)
from kubeverdict.model.causes import Cause
from kubeverdict.model.counts import count
from kubeverdict.render.json import effect_content
from kubeverdict.render.schemas import schema
from kubeverdict.render.style import Style
from kubeverdict.render.unevaluated import content

# Of a change that is large, what a person looks at.
_MOST = 10
_INDENT = " " * 10


def text(report: Watched, style: Style) -> str:
    first, *more = _lines(report, style)
    lines = [f"{report.at:%H:%M:%S}  {first}", *(f"{_INDENT}{line}" for line in more)]
    return "\n".join(lines)


def _lines(report: Watched, style: Style) -> Iterator[str]:
    match report:
        case Started():
            pods = count(report.pods, "pod")
            policies = count(report.policies, "policy", "policies")
            yield f"following the cluster of context {report.context}: {pods}, {policies}"
            for line in sentences(report.unevaluated):
                yield style.paint(f"note: {line}", "yellow")
        case ClusterChange():
            yield from _change(report, style)
        case AssertionTurn():
            yield from _assertion(report, style)
        case Freshness(error=""):
            yield style.paint(f"{report.kind}: followed again", "green")
        case Freshness():
            age = f"nothing was heard for {report.age:.0f} s"
            yield style.paint(f"{report.kind}: not followed, {age}: {report.error}", "yellow")
        case Ended():
            yield f"ended after {count(report.changes, 'change')}"
            if report.broken:
                yield style.paint(f"not known to hold: {', '.join(report.broken)}", "red")


def _change(report: ClusterChange, style: Style) -> Iterator[str]:
    yield from _some([str(one) for one in report.causes], "change")
    for cause in report.causes:
        if cause.error:
            yield style.paint(f"cannot be read: {cause.error}", "red")
    if report.anew:
        yield style.paint(f"compiled anew: {report.anew}", "dim")
    for verb, color, effects in (
        ("opens", "green", report.opened),
        ("closes", "red", report.closed),
    ):
        for effect in effects[:_MOST]:
            before, after = causes(effect)
            yield f"{style.paint(verb, color)} {connection(effect)}"
            yield f"  before: {before}"
            yield f"  after: {after}"
        if len(effects) > _MOST:
            yield f"{style.paint(verb, color)} {len(effects) - _MOST:,} more connections"
    if not report.opened and not report.closed:
        yield "no connection opens or closes"


def _assertion(report: AssertionTurn, style: Style) -> Iterator[str]:
    result = report.result
    color = "green" if result.status == "holds" else "red"
    again = " again" if result.status == "holds" and report.before else ""
    yield style.paint(f"assertion {result.name!r}: {result.status}{again}", color)
    if report.causes:
        yield from _some([f"after {one}" for one in report.causes], "change")
    if result.error:
        yield result.error
    yield from result.doubts
    for violation in result.violations[:_MOST]:
        yield f"{violation_text(violation, style.arrow)} is {result.should}"
        yield f"  {reasons(result, violation)}"


def _some(lines: Sequence[str], what: str) -> Iterator[str]:
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"and {count(len(lines) - _MOST, f'more {what}')}"


def jsonl(report: Watched, style: Style) -> str:
    fields: dict[str, Any] = {
        "schema": schema("watch"),
        "event": _EVENTS[type(report)],
        "at": report.at,
        **_content(report),
    }
    return msgspec.json.encode(fields).decode()


_EVENTS = {
    Started: "started",
    ClusterChange: "change",
    AssertionTurn: "assertion",
    Freshness: "freshness",
    Ended: "ended",
}


def _content(report: Watched) -> dict[str, Any]:
    match report:
        case Started():
            return {
                "context": report.context,
                "profile": report.profile,
                "pods": report.pods,
                "policies": report.policies,
                **content(report.unevaluated),
            }
        case ClusterChange():
            return {
                "causes": _causes(report.causes),
                "opened": _effects(report.opened),
                "closed": _effects(report.closed),
                "pod_pairs": [
                    {
                        "families": [f"IPv{number}" for number in one.families],
                        "before": one.before,
                        "after": one.after,
                        "opened": one.opened,
                        "closed": one.closed,
                    }
                    for one in report.pairs
                ],
                "seconds": round(report.seconds, 6),
                "compiled_anew": report.anew,
                **content(report.unevaluated),
            }
        case AssertionTurn(result=result):
            return {
                "name": result.name,
                "status": result.status,
                "before": report.before or None,
                "causes": _causes(report.causes),
                **_reasons(result),
            }
        case Freshness():
            return {
                "kind": report.kind,
                "stale": bool(report.error),
                "error": report.error,
                "age_seconds": round(report.age, 3),
            }
        case Ended():
            return {"changes": report.changes, "broken": list(report.broken)}


def _reasons(result: Result) -> dict[str, Any]:
    return {
        "error": result.error,
        "doubts": list(result.doubts),
        "violations": [
            {
                "connection": violation_text(one),
                "verdict": result.should,
                "reasons": reasons(result, one),
            }
            for one in result.violations
        ],
    }


def _effects(effects: Sequence[Effect]) -> list[Any]:
    return [effect_content(one) for one in effects]


def _causes(found: Sequence[Cause]) -> list[dict[str, Any]]:
    return [
        {
            "what": one.what,
            "kind": one.kind,
            "namespace": one.namespace or None,
            "name": one.name,
            "resource_version": one.version or None,
            "manager": one.manager or None,
            **({"error": one.error} if one.error else {}),
        }
        for one in found
    ]
