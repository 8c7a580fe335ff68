"""Connections and changes of them where rules are conditional: which are certain, which depend."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from kubeverdict.analyses.connections import (
    EVERYTHING,
    ConditionalConnection,
    Connections,
    Selection,
    connections,
)
from kubeverdict.analyses.differences import (
    Difference,
    Differences,
    changes,
    compared,
    differences,
    outcomes,
    report,
)
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
    through, or could deny, is reported separately."""

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
    both bounds are reported separately."""

    def listed(bounds: Sequence[CompiledPolicy]) -> list[Connections]:
        return [connections(one, by_range=by_range, families=families) for one in bounds]

    most = listed((old, new))
    if not old.least and not new.least:
        return differences(*most)
    least = listed([one.bound(at_least=True) for one in (old, new)])
    certain: list[Difference] = []
    conditional: list[Difference] = []
    for source, destination, both in compared((*most, *least), outcomes):
        for changed, outcome in zip((certain, conditional), both, strict=True):
            changed += changes(source, destination, outcome)
    return report(most[0], most[1], certain, conditional)
