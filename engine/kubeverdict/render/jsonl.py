"""JSON, one object a line, for results that are written as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kubeverdict.render.schemas import schema
from kubeverdict.render.style import Style
from kubeverdict.render.unevaluated import content

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import ScenarioReport
    from kubeverdict.analyses.drift import Drift


def bulk(report: ScenarioReport, style: Style) -> str:
    fields = {"schema": schema("bulk"), **_scenario(report)}
    return msgspec.json.encode({**fields, "changes": report.changes}).decode()


def drift(report: Drift, style: Style) -> str:
    clusters = {name: _scenario(one) for name, one in report.clusters.items()}
    fields = {
        "schema": schema("drift"),
        **msgspec.to_builtins(report),
        "clusters": clusters,
    }
    return msgspec.json.encode(fields).decode()


def _scenario(report: ScenarioReport) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(report)
    fields.pop("unevaluated", None)
    return {**fields, **content(report.unevaluated)}
