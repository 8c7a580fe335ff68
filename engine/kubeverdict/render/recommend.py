"""What was recommended, and the proof of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kubeverdict.errors import located
from kubeverdict.model.counts import count
from kubeverdict.model.policy import NETWORK_POLICY
from kubeverdict.render import log
from kubeverdict.render.json import document
from kubeverdict.render.md import cell
from kubeverdict.render.md import table as md_table
from kubeverdict.render.policies import policies
from kubeverdict.render.replay import counted, group_content, group_lines, words
from kubeverdict.render.rows import Row, aligned
from kubeverdict.render.style import Style
from kubeverdict.render.unevaluated import content as unevaluated

if TYPE_CHECKING:
    from kubeverdict.analyses.decisions import RuleView
    from kubeverdict.analyses.recommend.drafts import UnseenWorkload
    from kubeverdict.analyses.recommend.proof import Excess, Proof, Recommended
    from kubeverdict.analyses.recommend.shapes import DraftPolicy

_SHOWN = 20
_POLICY_HEADING: Row = ("policy", "for", "ingress", "egress")
_EXCESS_HEADING: Row = ("rule", "beyond what was seen", "seen", "addresses", "place")


def yaml(report: Recommended, style: Style) -> str:
    return policies(report.recommendation.policies).rstrip("\n")


def table(report: Recommended, style: Style) -> str:
    found = report.recommendation
    parts = ["\n".join(log.lines(report.log))]
    if found.policies:
        rows = [_policy(one) for one in found.policies]
        title, *lines = aligned(_POLICY_HEADING, rows)
        parts.append("\n".join([style.paint(title, "bold"), *lines]))
    else:
        parts.append("no policy was recommended")
    if report.written:
        parts.append("\n".join(["written", *(f"  {path}" for path in report.written)]))
    parts += ["\n".join(block) for block in _gaps(report)]
    proof = [line for block in _proof(report, style) for line in block]
    parts.append("\n".join(["proof", *(f"  {line}" for line in proof)]))
    if report.proof.excess:
        heading = "permitted beyond what was seen, by the rule that permits it"
        rows = [_excess(one) for one in report.proof.excess]
        parts.append(
            "\n".join(
                [
                    heading,
                    *aligned(_EXCESS_HEADING, rows[:_SHOWN]),
                    *_more(rows, report.proof.excess_left_out),
                ]
            )
        )
    return "\n\n".join(parts)


def md(report: Recommended, style: Style) -> str:
    plain = Style(False, style.unicode)
    found = report.recommendation
    parts = [cell(line) for line in log.lines(report.log)]
    parts.append(md_table(_POLICY_HEADING, [_policy(one) for one in found.policies]))
    blocks = [*_gaps(report), *_proof(report, plain)]
    parts += [cell(line) for block in blocks for line in block]
    if report.proof.excess:
        rows = [_excess(one) for one in report.proof.excess]
        parts.append(md_table(_EXCESS_HEADING, rows))
    return "\n\n".join(parts)


def json(report: Recommended, style: Style) -> str:
    found, proof = report.recommendation, report.proof
    return document(
        "recommend",
        {
            "log": log.content(report.log),
            "policies": [
                {
                    "namespace": one.namespace,
                    "name": one.name,
                    "for": list(one.why),
                    "pod_labels": dict(one.labels),
                    "ingress_rules": None if one.ingress is None else len(one.ingress),
                    "egress_rules": None if one.egress is None else len(one.egress),
                }
                for one in found.policies
            ],
            "yaml": policies(found.policies),
            "written": list(report.written),
            "silent": [
                {
                    "workload": one.workload,
                    "isolated_by": list(one.isolated_by),
                    **({"out_of_reach": True} if one.out_of_reach else {}),
                }
                for one in found.silent
            ],
            "one_way": [
                {
                    "workload": one.workload,
                    "unseen": one.direction,
                    "isolated_by": list(one.isolated_by),
                    **({"out_of_reach": True} if one.out_of_reach else {}),
                }
                for one in found.one_way
            ],
            "together": [list(names) for names in found.together],
            "namespaces_left_alone": list(found.left_alone),
            "notes": list(found.notes),
            "denied_connections": found.denied,
            **({"out_of_reach": counted(found.out_of_reach)} if found.out_of_reach.records else {}),
            **({"conditional": counted(found.conditional)} if found.conditional.records else {}),
            "proof": {
                "replayed": counted(proof.replayed),
                "newly_blocked": counted(proof.blocked),
                "repaired": counted(proof.repaired),
                "still_denied": counted(proof.still_denied),
                "blocks": [group_content(group) for group in proof.blocked_groups],
                "still_denies": [group_content(group) for group in proof.still_denied_groups],
                **_conditional(proof),
                "permitted": proof.permitted,
                "seen": proof.seen,
                "unseen": proof.permitted - proof.seen,
                "by_rule": [_excess_content(one) for one in proof.excess],
                "by_rule_left_out": proof.excess_left_out,
                "selects_nothing": list(proof.selects_nothing),
                **(
                    {"without_effect": [_rule_content(one) for one in proof.without_effect]}
                    if proof.without_effect
                    else {}
                ),
                "not_attributed": report.log.lost_records,
                "malformed": report.log.malformed,
            },
            **unevaluated(report.unevaluated),
        },
    )


def _conditional(proof: Proof) -> dict[str, Any]:
    """What depends on conditions, where anything does."""
    found: dict[str, Any] = {}
    if proof.conditional.records:
        found["conditional"] = counted(proof.conditional)
        found["depends"] = [group_content(group) for group in proof.conditional_groups]
    if proof.permitted_conditionally:
        found["permitted_conditionally"] = proof.permitted_conditionally
    return found


def remarks(report: Recommended) -> list[tuple[str, str]]:
    """What the policies alone do not say, as remarks: a kind and a text each."""
    return [
        ("log", "\n".join(log.lines(report.log))),
        *(("gap", "\n".join(block)) for block in _gaps(report)),
        *(("proof", "\n".join(block)) for block in _proof(report, Style())),
        *(("written", path) for path in report.written),
    ]


def _policy(one: DraftPolicy) -> Row:
    def rules(given: tuple[object, ...] | None) -> str:
        if given is None:
            return "-"
        return count(len(given), "rule") if given else "nothing"

    return (
        f"{one.namespace}/{one.name}",
        ", ".join(one.why),
        rules(one.ingress),
        rules(one.egress),
    )


def _gaps(report: Recommended) -> list[list[str]]:
    """What there is no policy for, and why."""
    found = report.recommendation
    blocks = []
    for tried, title in (
        (False, "nothing was seen of them (that says nothing of what they need)"),
        (True, f"no {NETWORK_POLICY} lets through what was seen of them"),
    ):
        lines = [_gap(one) for one in found.silent if one.out_of_reach is tried]
        if lines:
            blocks.append([f"no policy of their own, because {title}", *_indented(lines)])
    if found.one_way:
        lines = [_gap(one) for one in found.one_way]
        blocks.append(["traffic in one direction only", *_indented(lines)])
    if found.together:
        lines = [", ".join(names) for names in found.together]
        blocks.append(["one policy, because no labels distinguish them", *_indented(lines)])
    if found.left_alone:
        names = ", ".join(found.left_alone)
        blocks.append([f"no policies written for (use --in-namespace): {names}"])
    if found.denied:
        text = f"connections denied when logged, for which there is no rule: {found.denied:,}"
        blocks.append([text])
    if found.out_of_reach.records:
        text = "that policies of another tier deny, and for which there is no rule"
        blocks.append([f"{words(found.out_of_reach)} {text}"])
    return [*blocks, *([note] for note in found.notes)]


def _gap(one: UnseenWorkload) -> str:
    what = ""
    if one.isolated_by:
        what = f"is isolated by {', '.join(one.isolated_by)}"
    elif one.direction:
        what = "gets no rules"
    if one.direction and one.out_of_reach:
        what += f", no {NETWORK_POLICY} lets through what was seen"
    return ": ".join(part for part in (one.workload, f"{one.direction} {what}".strip()) if part)


def _proof(report: Recommended, style: Style) -> list[list[str]]:
    proof, total = report.proof, report.proof.replayed
    found = [[f"{words(total)} replayed"]]
    lost = report.log.lost_records
    for number, thing, what in (
        (lost, "record", "attributed"),
        (report.log.malformed, "malformed line", "read"),
    ):
        if number:
            text = f"{count(number, thing)} could not be {what}: nothing is proven of them"
            found.append([style.paint(text, "yellow")])
    blocked = proof.blocked.connections
    word = style.paint(f"{blocked:,} newly blocked", "red" if blocked else "green")
    found.append([word, *(group_lines(proof.blocked_groups, style) if blocked else [])])
    if proof.repaired.connections:
        text = f"{proof.repaired.connections:,} that present policies deny would be allowed"
        found.append([style.paint(text, "green")])
    if proof.still_denied.connections:
        text = f"{proof.still_denied.connections:,} that present policies deny would stay denied"
        found.append([style.paint(text, "yellow"), *group_lines(proof.still_denied_groups, style)])
    if proof.conditional.connections:
        text = f"{proof.conditional.connections:,} allowed only under the conditions of rules"
        found.append([style.paint(text, "yellow"), *group_lines(proof.conditional_groups, style)])
    unseen = proof.permitted - proof.seen
    text = (
        f"{proof.permitted:,} (pod pair, port) permitted: {proof.seen:,} seen, "
        f"{unseen:,} beyond that"
    )
    if proof.permitted_conditionally:
        text += f"; {proof.permitted_conditionally:,} only under the conditions of rules"
    found.append([text])
    if proof.without_effect:
        title = "rules of which policies of other tiers deny everything"
        lines = [f"{one.policy.title} {one.field}" for one in proof.without_effect]
        found.append([style.paint(title, "yellow"), *_indented(lines)])
    if proof.selects_nothing:
        title = style.paint("selectors without a pod", "red")
        found.append([title, *(f"  {one}" for one in proof.selects_nothing)])
    else:
        found.append(["every selector matches a pod"])
    return found


def _excess(one: Excess) -> Row:
    rule = one.rule
    addresses = f"{one.addresses:,}" if one.addresses else "-"
    name = f"{rule.policy.title} {rule.field}"
    return (name, f"{one.unseen:,}", f"{one.seen:,}", addresses, located(rule.file, rule.line))


def _rule_content(rule: RuleView) -> dict[str, Any]:
    name = rule.policy.name
    return {"policy": name, "field": rule.field, "file": rule.file, "line": rule.line}


def _excess_content(one: Excess) -> dict[str, Any]:
    return {
        **_rule_content(one.rule),
        "permitted": one.permitted,
        "seen": one.seen,
        "unseen": one.unseen,
        "addresses": one.addresses,
    }


def _indented(lines: tuple[str, ...] | list[str]) -> list[str]:
    return [f"  {line}" for line in lines[:_SHOWN]] + [f"  {line}" for line in _more(lines)]


def _more(rows: tuple[str, ...] | list[Any], left_out: int = 0) -> list[str]:
    more = max(len(rows) - _SHOWN, 0) + left_out
    return [f"and {more:,} more (-o json)"] if more > 0 else []
