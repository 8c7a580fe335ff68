"""The results of assertions, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kubeverdict.analyses.verify.report import connection, reasons
from kubeverdict.model.counts import count
from kubeverdict.render.json import decision, document, ports_of
from kubeverdict.render.md import cell
from kubeverdict.render.md import table as md_table
from kubeverdict.render.rows import Row, aligned
from kubeverdict.render.style import Style
from kubeverdict.render.unevaluated import content as unevaluated

if TYPE_CHECKING:
    from kubeverdict.analyses.verify.report import NewPod, Result, Verification, Violation

Json = dict[str, Any]

_COLORS = {"holds": "green", "violated": "red", "unknown": "yellow", "error": "red"}
_HEADING: Row = ("assertion", "claim", "status", "pod pairs")
# People see this many violations of an assertion, and how many there are.
_SHOWN = 10


def table(report: Verification, style: Style) -> str:
    """A line for each assertion, and below it what breaks it."""
    if not report.results:
        return "no assertions"
    title, *lines = aligned(_HEADING, [_row(one) for one in report.results])
    text = [style.paint(title, "bold")]
    for one, line in zip(report.results, lines, strict=True):
        text.append(style.paint(line, _COLORS[one.status]) if one.status != "holds" else line)
        text += [f"    {detail}" for detail in _details(one, style)]
    return "\n".join([*text, "", _summary(report)])


def md(report: Verification, style: Style) -> str:
    """A table of the assertions, and lists of what breaks them."""
    parts = [md_table(_HEADING, [_row(one) for one in report.results])]
    for one in report.results:
        details = _details(one, Style())
        if details:
            listed = [f"- {cell(detail.strip())}" for detail in details]
            parts.append("\n".join([f"**{cell(one.name)}**", "", *listed]))
    return "\n\n".join([*parts, _summary(report)])


def json(report: Verification, style: Style) -> str:
    return document(
        "verify",
        {
            "profile": report.profile,
            "any": report.anyone,
            "assertions": [_result(one) for one in report.results],
            "notes": list(report.notes),
            **unevaluated(report.unevaluated),
        },
    )


def _row(one: Result) -> Row:
    pairs = f"{one.pairs:,}" if one.pairs else "-"
    return (one.name, one.claim, one.status, pairs)


def _details(one: Result, style: Style) -> list[str]:
    lines = [f"{one.file}:{one.error_line}: {one.error}"] if one.error else []
    if one.status == "unknown":
        lines += one.doubts
    for violation in one.violations[:_SHOWN]:
        lines.append(f"{connection(violation, style.arrow)} is {one.should}")
        lines.append(f"  {reasons(one, violation)}")
    hidden = len(one.violations) - _SHOWN
    if hidden > 0 or one.more:
        more = f"{max(hidden, 0):,} more listed by -o json"
        lines.append(f"{more}, and others that are only counted" if one.more else more)
    return lines


def _summary(report: Verification) -> str:
    held, violated, unknown, failed = (
        sum(one.status == status for one in report.results)
        for status in ("holds", "violated", "unknown", "error")
    )
    counts = [
        (held, "holds" if held == 1 else "hold"),
        (violated, "violated"),
        (unknown, "unknown"),
        (failed, "could not be judged"),
    ]
    total = len(report.results)
    head = count(total, "assertion")
    whom = "for any pod that could be created" if report.anyone else "for the pods that exist"
    return (
        f"{head} {whom}: {', '.join(f'{number:,} {words}' for number, words in counts if number)}"
    )


def _result(one: Result) -> Json:
    content: Json = {
        "name": one.name,
        "claim": one.claim,
        "status": one.status,
        "file": one.file,
        "line": one.line,
    }
    if one.description:
        content["description"] = one.description
    if one.error:
        content["error"] = {"line": one.error_line, "message": one.error}
    if one.status == "unknown":
        content["doubts"] = list(one.doubts)
    content["pod_pairs"] = one.pairs
    content["violations"] = [_violation(violation) for violation in one.violations]
    content["complete"] = not one.more
    return content


def _violation(one: Violation) -> Json:
    source, destination, port = one.sample
    return {
        "source": one.source,
        "destination": one.destination,
        "ports": ports_of(one.ports),
        **({"family": one.family} if one.family else {}),
        **({"new_source": _new_pod(one.new_source)} if one.new_source else {}),
        **({"new_destination": _new_pod(one.new_destination)} if one.new_destination else {}),
        "pod_pairs": one.pairs,
        "example": {"source": source, "destination": destination, "port": port},
        "egress": decision(one.egress),
        "ingress": decision(one.ingress),
    }


def _new_pod(pod: NewPod) -> Json:
    return {
        "namespace": pod.namespace,
        "labels": pod.labels,
        **({"address": pod.address} if pod.address else {}),
        **({"node": pod.node} if pod.node else {}),
        **({"port": pod.port, "port_names": list(pod.port_names)} if pod.port_names else {}),
    }
