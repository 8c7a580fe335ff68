"""What ``watch`` says, for tests of renderers."""

from __future__ import annotations

from datetime import UTC, datetime

from kubeverdict.analyses.watched import (
    AssertionTurn,
    ClusterChange,
    Ended,
    Freshness,
    Started,
    Watched,
)
from kubeverdict.model.causes import Cause
from tests.render import reports
from tests.render.verified import VERIFICATION

_NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
_CAUSES = (
    Cause("changed", "NetworkPolicy.networking.k8s.io", "data", "db", "4711", "kubectl"),
    Cause("deleted", "Pod", "data", "db-0", "4712"),
    Cause("added", "NetworkPolicy.networking.k8s.io", "data", "odd", "4713", error="no CIDR"),
)
CLUSTER_CHANGE = ClusterChange(
    _NOON,
    _CAUSES,
    reports.WHATIF.opened * 12,
    reports.WHATIF.opened,
    reports.WHATIF.pairs,
    0.0123,
    "labels of a namespace change",
)
WATCHED: tuple[Watched, ...] = (
    Started(_NOON, "prod", "reference", 5_000, 500),
    CLUSTER_CHANGE,
    AssertionTurn(_NOON, "", VERIFICATION.results[0]),
    *(AssertionTurn(_NOON, "holds", result, _CAUSES) for result in VERIFICATION.results),
    Freshness(_NOON, "pods", "connection refused", 12.5),
    Freshness(_NOON, "pods", "", 0.2),
    Ended(_NOON, 3, ("db is private",)),
)
