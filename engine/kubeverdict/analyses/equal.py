"""Whether two sets of policies allow the same connections.

Both are judged over the same pods: those of the input, and on request also one pod for each way in
which either set can distinguish pods and namespaces that could be created (:mod:`.could_be`). What
one set allows for certain and the other denies for certain is a counterexample. Where rules have
conditions, the sets are equal if they are in every way to settle these, the same condition of both
alike (:mod:`.assumed`). A difference in one of these ways, too many conditions, and what was not
evaluated leave the question open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kubeverdict.analyses.assumed import assumed, conditions_of, settled, text_of
from kubeverdict.analyses.could_be import CouldBe, could_be
from kubeverdict.analyses.decisions import ConnectionVerdict, Decision
from kubeverdict.analyses.effects import Effect, connection, length
from kubeverdict.analyses.unevaluated import sentences
from kubeverdict.analyses.verify.values import TooManyError
from kubeverdict.analyses.whatif import Shortest, shortest
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Namespace, Pod
from kubeverdict.model.counts import count
from kubeverdict.model.unevaluated import Gap, Unevaluated, merged

EQUAL, DIFFERENT, UNKNOWN = "equal", "different", "unknown"
# Each doubles the ways that are compared.
_MOST_CONDITIONS = 4


class Equality(msgspec.Struct, frozen=True):
    """The report. ``profiles`` are those of the first and the second set.

    ``counterexamples`` are connections that one set allows and the other denies, the simplest of
    each pair of deciding rules, the simplest first; ``before`` and ``after`` of each are the first
    and the second set. ``different`` counts all that were found. ``doubts`` are sentences on what
    leaves the question open where there is no counterexample. ``pods`` were compared, and
    ``new_pods`` that could be created; None where that was not asked. ``created`` are those of the
    counterexamples, with their ``namespaces``. A new pod with a name for a port has it for one
    number of each range that rules distinguish."""

    profiles: tuple[str, str]
    counterexamples: tuple[Effect, ...]
    different: int
    doubts: tuple[str, ...]
    pods: int
    new_pods: int | None = None
    created: tuple[Pod, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    unevaluated: tuple[Unevaluated, ...] = ()

    @property
    def verdict(self) -> str:
        if self.different:
            return DIFFERENT
        return UNKNOWN if self.doubts else EQUAL


def equal(first: CompiledPolicy, second: CompiledPolicy, *, any_pod: bool = False) -> Equality:
    """Compare two sets of policies over the same pods, namespaces and nodes. ``any_pod``: and for
    every pod and namespace that could be created."""
    sides = first, second
    found = [_compared(sides)]
    doubts = []
    made = None
    if any_pod:
        try:
            made = could_be(sides)
        except TooManyError as error:
            doubts.append(f"pods that could be created are not compared: {error}")
        else:
            found.append(_compared([_populated(side, made) for side in sides]))
            doubts += _early_names(sides)
    unevaluated = merged(first.unevaluated, second.unevaluated)
    different = sum(one.found for one in found)
    if not different:
        doubts += _conditional(sides, made)
    doubts += sentences(
        one for one in unevaluated if one.gap.decides and one.gap is not Gap.CONDITION
    )
    counterexamples = tuple(_simplest(found))
    shown = {end.name for one in counterexamples for end in (one.source, one.destination)}
    created = tuple(pod for pod in (made.pods if made else ()) if f"{pod}[Pod]" in shown)
    spaces = {pod.namespace for pod in created}
    return Equality(
        profiles=(first.profile.name, second.profile.name),
        counterexamples=counterexamples,
        different=different,
        doubts=tuple(dict.fromkeys(doubts)),
        pods=len(first.pods),
        new_pods=None if made is None else len(made.pods),
        created=created,
        namespaces=tuple(one for one in (made.namespaces if made else ()) if one.name in spaces),
        unevaluated=unevaluated,
    )


def _compared(sides: Sequence[CompiledPolicy]) -> Shortest:
    return shortest(sides[0], sides[1])


def _populated(side: CompiledPolicy, made: CouldBe) -> CompiledPolicy:
    """The same policies over pods that could be."""
    cluster = msgspec.structs.replace(
        side.cluster,
        namespaces=(*side.cluster.namespaces, *made.namespaces),
        pods=made.pods,
    )
    return compile_cluster(cluster, side.profile, static=True)


def _conditional(sides: Sequence[CompiledPolicy], made: CouldBe | None) -> list[str]:
    """Where the sets differ by the conditions of their rules, or what keeps it from being known."""
    if not any(side.least for side in sides):
        return []
    conditions = conditions_of(sides)
    if len(conditions) > _MOST_CONDITIONS:
        return [f"rules have {len(conditions)} conditions: more than {_MOST_CONDITIONS}"]
    for holds in settled(conditions):
        taken = [assumed(side, holds) for side in sides]
        undecided = [one for one in conditions_of(taken) if one]
        if undecided:
            return [f"connections depend on {undecided[0]!r}, which is not compared"]
        found = [_compared(taken)]
        if made is not None:
            found.append(_compared([_populated(side, made) for side in taken]))
        different = sum(one.found for one in found)
        if different:
            number = count(different, "connection differs", "connections differ")
            first = connection(_simplest(found)[0])
            return [f"{number} {text_of(holds)}, among them {first}"]
    return []


def _early_names(sides: Sequence[CompiledPolicy]) -> list[str]:
    return [
        f"{side.profile.title} takes some numbers for the name of a port from all pods that a "
        "policy is about: for pods that could be created, from these"
        for side in sides
        if side.profile.resolves_names_early
    ]


def _simplest(compared: Iterable[Shortest]) -> list[Effect]:
    """Of each pair of deciding rules the effect that takes the fewest words."""
    found: dict[tuple[object, ...], Effect] = {}
    effects = [effect for one in compared for effect in one.effects]
    for effect in sorted(effects, key=lambda one: length(one.source, one.destination, one.ports)):
        found.setdefault((_decider(effect.before), _decider(effect.after)), effect)
    return list(found.values())


def _decider(verdict: ConnectionVerdict | None) -> tuple[object, ...]:
    """What decides: both directions of what is allowed, those that deny of what is denied."""
    if verdict is None:
        return ()
    decided = (verdict.egress, verdict.ingress)
    return tuple(_place(one) for one in decided if one.allowed == verdict.allowed)


def _place(decision: Decision) -> tuple[object, ...]:
    rule = decision.rule
    if rule is None:
        policies = (miss.policy for miss in decision.isolated_by)
        return decision.reason, *((one.kind, one.name) for one in policies)
    return rule.policy.kind, rule.policy.name, rule.field, rule.file
