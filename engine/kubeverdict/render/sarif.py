"""SARIF 2.1.0, the format in which code hosts take the findings of analyses.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import msgspec

from kubeverdict import __version__
from kubeverdict.analyses.findings import Check, Checked, Finding
from kubeverdict.analyses.unevaluated import sentences
from kubeverdict.render.style import Style

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

Json = dict[str, Any]


def findings(report: Checked, style: Style) -> str:
    """One run. Rules are the checks that were made; a result is a finding in a file. Code hosts
    refuse results without a file, all of them: any others are notifications, and so is what was
    not evaluated."""
    made = [check for check in report.checks if not check.skipped]
    numbers = {check.id: number for number, check in enumerate(made)}
    run: Json = {
        "tool": {
            "driver": {
                "name": "kubeverdict",
                "version": __version__,
                "rules": [_rule(check) for check in made],
            }
        },
        "automationDetails": {"id": f"kubeverdict/{report.verb}/"},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, numbers[one.id]) for one in report.findings if one.file],
    }
    elsewhere = [_notification(one, numbers[one.id]) for one in report.findings if not one.file]
    elsewhere += [
        {"level": "warning", "message": {"text": text}} for text in sentences(report.unevaluated)
    ]
    if elsewhere:
        run["invocations"] = [
            {"executionSuccessful": True, "toolExecutionNotifications": elsewhere}
        ]
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=2).decode()


def _rule(check: Check) -> Json:
    return {
        "id": check.id,
        "shortDescription": {"text": check.title or check.id},
        **({"fullDescription": {"text": check.why}} if check.why else {}),
        **({"help": {"text": check.fix}} if check.fix else {}),
        "defaultConfiguration": {"level": check.severity.value},
    }


def _result(one: Finding, rule: int) -> Json:
    place: Json = {"artifactLocation": {"uri": _uri(one.file)}}
    if one.line:
        place["region"] = {"startLine": one.line}
    return {
        "ruleId": one.id,
        "ruleIndex": rule,
        "level": one.severity.value,
        "message": _message(one),
        "locations": [{"physicalLocation": place, **_objects(one)}],
        **_known_by(one),
    }


def _known_by(one: Finding) -> Json:
    """What code hosts recognise a result by from one run to the next."""
    if not one.fingerprint:
        return {}
    return {"partialFingerprints": {"kubeverdict/v1": one.fingerprint}}


def _notification(one: Finding, rule: int) -> Json:
    objects = _objects(one)
    return {
        "associatedRule": {"id": one.id, "index": rule},
        "level": one.severity.value,
        "message": _message(one),
        **({"locations": [objects]} if objects else {}),
    }


def _message(one: Finding) -> Json:
    return {"text": "\n".join(part for part in (one.text, one.fix) if part)}


def _objects(one: Finding) -> Json:
    if not one.objects:
        return {}
    names = [{"fullyQualifiedName": name, "kind": "resource"} for name in one.objects]
    return {"logicalLocations": names}


def _uri(file: str) -> str:
    """A path as a URI: relative to where the command ran, or absolute."""
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="surrogateescape")
