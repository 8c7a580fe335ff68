"""Connections where rules are conditional: those that are certain, and those that depend."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from kubeverdict.analyses.connections import (
    EVERYTHING,
    ConditionalConnection,
    Connections,
    Selection,
    connections,
)
from kubeverdict.analyses.differences import differences
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.model.addresses import Family


def certain_connections(
    compiled: CompiledPolicy,
    *,
    by_pod: bool = False,
    by_range: bool = False,
    families: Collection[Family] | None = None,
    selection: Selection = EVERYTHING,
) -> Connections:
    """As :func:`~kubeverdict.analyses.connections.connections`, but what conditional rules let
    through, or could deny, is told of by itself."""

    def listed(bound: CompiledPolicy) -> Connections:
        return connections(
            bound, by_pod=by_pod, by_range=by_range, families=families, selection=selection
        )

    most = listed(compiled)
    if not compiled.least:
        return most
    least = listed(compiled.least[0])
    conditional = tuple(
        ConditionalConnection(one.source, one.destination, one.before, one.after, one.family)
        for one in differences(least, most).changes
    )
    return msgspec.structs.replace(least, conditional=conditional, unevaluated=most.unevaluated)
