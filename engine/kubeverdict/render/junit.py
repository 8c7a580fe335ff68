"""JUnit XML: a case for each check, with what was found inside its failure.

There is no standard, only readers. Some of them take one failure a case, so all findings of a
check are in one; what does not fail a job is in the output of the case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from kubeverdict.analyses.findings import Check, Checked, Finding, Severity, is_failure
from kubeverdict.analyses.unevaluated import sentences
from kubeverdict.errors import located
from kubeverdict.render.style import Style

# What XML 1.0 cannot hold, however it is written.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def findings(report: Checked, style: Style) -> str:
    """One suite, named after the verb."""
    found: dict[str, list[Finding]] = {check.id: [] for check in report.checks}
    for one in report.findings:
        found[one.id].append(one)
    failed = sum(any(map(is_failure, of_check)) for of_check in found.values())
    counts = {
        "tests": str(len(report.checks)),
        "failures": str(failed),
        "errors": "0",
        "skipped": str(sum(bool(check.skipped) for check in report.checks)),
    }
    name = f"kubeverdict {report.verb}"
    root = Element("testsuites", {"name": name, **counts})
    suite = SubElement(root, "testsuite", {"name": name, **counts})
    unevaluated = sentences(report.unevaluated)
    if unevaluated:
        properties = SubElement(suite, "properties")
        for line in unevaluated:
            SubElement(properties, "property", {"name": "not-evaluated", "value": _clean(line)})
    for check in report.checks:
        _case(suite, report.verb, check, found[check.id])
    indent(root)
    text: str = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


def _case(suite: Element, verb: str, check: Check, found: Sequence[Finding]) -> None:
    title = f": {check.title}" if check.title else ""
    case = SubElement(
        suite,
        "testcase",
        {"classname": f"kubeverdict.{verb}", "name": _clean(f"{check.id}{title}")},
    )
    if check.file:
        case.set("file", _clean(check.file))
        if check.line:
            case.set("line", str(check.line))
    if check.skipped:
        SubElement(case, "skipped", {"message": _clean(check.skipped)})
    failures = [one for one in found if is_failure(one)]
    notes = [one for one in found if not is_failure(one)]
    if failures:
        more = f" (and {len(failures) - 1:,} more)" if len(failures) > 1 else ""
        first = failures[0].text.partition("\n")[0]
        worst = min((one.severity for one in failures), key=list(Severity).index)
        failure = SubElement(
            case, "failure", {"message": _clean(f"{first}{more}"), "type": worst.value}
        )
        failure.text = _clean("\n\n".join(map(_text, failures)))
    if notes:
        SubElement(case, "system-out").text = _clean("\n\n".join(map(_text, notes)))


def _text(one: Finding) -> str:
    place = located(one.file, one.line)
    lines = [f"{place}: {one.message}" if place else one.message]
    if one.objects:
        lines.append(f"objects: {', '.join(one.objects)}")
    if one.why:
        lines.append(f"why: {one.why}")
    if one.fix:
        lines.append(f"fix: {one.fix}")
    return "\n".join(lines)


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("\ufffd", text)
