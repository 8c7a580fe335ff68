"""Connections and changes of them where rules are conditional: which are certain, which depend."""

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
from kubeverdict.analyses.differences import Difference, Differences, differences
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


def certain_differences(
    old: CompiledPolicy,
    new: CompiledPolicy,
    *,
    by_range: bool = False,
    families: Collection[Family] | None = None,
) -> Differences:
    """As :func:`~kubeverdict.analyses.differences.differences`, but changes that do not come in
    both bounds are told of by themselves."""

    def changed(at_least: bool) -> Differences:
        bounds = ((*one.least, one)[0] if at_least else one for one in (old, new))
        return differences(
            *(connections(one, by_range=by_range, families=families) for one in bounds)
        )

    most = changed(at_least=False)
    if not old.least and not new.least:
        return most
    least = changed(at_least=True)
    both = set(map(_key, most.changes)) & set(map(_key, least.changes))
    alone = (one for side in (most, least) for one in side.changes if _key(one) not in both)
    return msgspec.structs.replace(
        most,
        changes=tuple(one for one in most.changes if _key(one) in both),
        conditional=tuple(alone),
    )


def _key(change: Difference) -> tuple[object, ...]:
    ends = change.source.name, change.destination.name
    return (*ends, change.before, change.after, change.family)
