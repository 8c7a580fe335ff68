"""JSON, one object a line, for results that are written as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import ScenarioReport
    from kubeverdict.analyses.drift import Drift


def bulk(report: ScenarioReport, style: Style) -> str:
    fields = {"schema": "kubeverdict/bulk/v1", **msgspec.to_builtins(report)}
    return msgspec.json.encode({**fields, "changes": report.changes}).decode()


def drift(report: Drift, style: Style) -> str:
    fields = {"schema": "kubeverdict/drift/v1", **msgspec.to_builtins(report)}
    return msgspec.json.encode(fields).decode()
