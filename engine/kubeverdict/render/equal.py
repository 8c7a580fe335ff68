"""Whether two sets of policies are equal: text, JSON and Markdown."""

from __future__ import annotations

from kubeverdict.analyses.effects import Effect
from kubeverdict.analyses.equal import DIFFERENT, EQUAL, Equality
from kubeverdict.model.address_text import shortened
from kubeverdict.model.counts import count
from kubeverdict.render.json import Json, connection_verdict, document, family, ports_of
from kubeverdict.render.md import cell, escaped
from kubeverdict.render.md import table as md_table
from kubeverdict.render.rows import Row
from kubeverdict.render.style import Style
from kubeverdict.render.tree import Branch, draw
from kubeverdict.render.tree import connection_verdict as verdict_text
from kubeverdict.render.unevaluated import content as unevaluated

# Counterexamples that are shown; JSON has all.
_SHOWN = 10
_END = 64
_COLORS = {EQUAL: "green", DIFFERENT: "red"}


def text(report: Equality, style: Style) -> str:
    """The verdict, what it is about, and the counterexamples with what decides in each set."""
    shown = style.paint(report.verdict, _COLORS.get(report.verdict, "yellow"))
    parts = [f"{shown}: {_about(report)}"]
    parts += [f"open: {doubt}" for doubt in report.doubts]
    parts += [draw(_example(one, style), style) for one in report.counterexamples[:_SHOWN]]
    parts += _more(report)
    return "\n\n".join(parts)


def md(report: Equality, style: Style) -> str:
    parts = [f"### Policies: {report.verdict}", escaped(_about(report))]
    parts += [f"- open: {cell(doubt)}" for doubt in report.doubts]
    if report.counterexamples:
        rows: list[Row] = [
            (
                *_ends(one),
                _on(one),
                verdict_text(one.before, style),
                verdict_text(one.after, style),
            )
            for one in report.counterexamples[:_SHOWN]
        ]
        parts.append(md_table(("from", "to", "ports", "first set", "second set"), rows))
    parts += _more(report)
    return "\n\n".join(parts)


def json(report: Equality, style: Style) -> str:
    return document(
        "equal",
        {
            "verdict": report.verdict,
            "profiles": list(report.profiles),
            "pods": report.pods,
            "new_pods": report.new_pods,
            "different": report.different,
            "doubts": list(report.doubts),
            "created": [
                {
                    "name": f"{pod}[Pod]",
                    "labels": dict(pod.labels),
                    "addresses": list(pod.addresses),
                    "port_names": sorted({port.name for port in pod.ports}),
                }
                for pod in report.created
            ],
            "namespaces": [
                {"name": one.name, "labels": dict(one.labels)} for one in report.namespaces
            ],
            "counterexamples": [_content(one) for one in report.counterexamples],
            **unevaluated(report.unevaluated),
        },
    )


def _about(report: Equality) -> str:
    what = f"{count(report.pods, 'pod')}"
    if report.new_pods is not None:
        what += f" and every one that could be created ({report.new_pods:,} kinds)"
    judged = " and ".join(dict.fromkeys(report.profiles))
    if report.verdict == EQUAL:
        said = "both sets of policies allow the same"
    elif report.verdict == DIFFERENT:
        found = count(report.different, "connection")
        said = f"{found} between workloads or addresses not alike"
    else:
        said = "no difference was found, and there may be one"
    return f"{said}, for {what}, as {judged} judges"


def _ends(one: Effect) -> tuple[str, str]:
    source, destination = (
        shortened(end.name, _END) if end.spans else end.name
        for end in (one.source, one.destination)
    )
    return source, destination


def _on(one: Effect) -> str:
    return f"{one.ports}{f' over {one.family}' if one.family else ''}"


def _example(one: Effect, style: Style) -> Branch:
    source, destination = _ends(one)
    return Branch(
        f"{source} {style.arrow} {destination}  {_on(one)}",
        (
            Branch(f"first: {verdict_text(one.before, style)}"),
            Branch(f"second: {verdict_text(one.after, style)}"),
        ),
    )


def _more(report: Equality) -> list[str]:
    rest = report.different - min(len(report.counterexamples), _SHOWN)
    return (
        [f"and {count(rest, 'more connection')} (-o json has one for each pair of rules)"]
        if (rest)
        else []
    )


def _content(one: Effect) -> Json:
    return {
        "source": one.source.name,
        "destination": one.destination.name,
        "ports": ports_of(one.ports),
        **family(one.family),
        "first": connection_verdict(one.before),
        "second": connection_verdict(one.after),
    }
