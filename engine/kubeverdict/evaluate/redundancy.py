"""Policies without which the same connections are allowed: many of them at once.

That each of two policies changes nothing does not mean that both can go: each may be there for
the other. Policies are taken out from last to first, and one that is out counts for none of those
before it. That finds a large set, not the largest there is; before it is reported, the
engine judges the cluster without all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.covers import Covers, PolicyCover, is_default_deny
from kubeverdict.evaluate.scenarios.outcome import Outcome
from kubeverdict.evaluate.scenarios.workbench import Workbench, evaluate, workbench
from kubeverdict.model.edit import Edit, policy_key


class Removal(msgspec.Struct, frozen=True):
    """Policies that can be removed ``together``; and those that ``stay`` because what does the
    same is among them, though each could go by itself."""

    together: tuple[PolicyCover, ...] = ()
    stay: tuple[PolicyCover, ...] = ()


class Refused(msgspec.Struct, frozen=True):
    """A policy that has to stay when others are removed. ``outcome`` is what its removal on top
    of theirs changes; None for a default deny, which stays for the pods to come."""

    policy: int
    outcome: Outcome | None


def removal(bench: Workbench, among: Collection[int] | None = None) -> Removal:
    """The policies ``among`` some (None: all) whose rules and isolation others cover, as far as
    the rules say."""
    together, stay = Covers(bench.overlay).removal(among)
    proven, _ = _proven(bench, [cover.policy for cover in together])
    kept = set(proven)
    return Removal(
        tuple(cover for cover in together if cover.policy in kept),
        tuple(cover for cover in stay if not kept.isdisjoint(cover.together)),
    )


def removable(
    bench: Workbench, candidates: Sequence[int]
) -> tuple[list[int], list[Refused], Removal]:
    """Of ``candidates``, each of which changes nothing by itself: those that can be removed
    together, those that have to stay then, and what the rules alone say of it.

    Costs a compilation of the cluster without the first, where there are others.
    """
    by_rules = removal(bench, frozenset(candidates))
    gone = {cover.policy for cover in by_rules.together}
    policies = bench.compiled.policies
    left = [one for one in candidates if one not in gone]
    guards = [one for one in left if is_default_deny(policies[one])]
    left = [one for one in left if not is_default_deny(policies[one])]
    refused = [Refused(one, None) for one in guards]
    if not left:
        return sorted(gone), refused, by_rules
    rest = _without(bench, gone)
    place = {policy_key(policies[one]): one for one in left}
    keys = list(place)
    outcomes = evaluate(rest, [Edit("", (key,)) for key in keys], examples=1)
    idle = [key for key, outcome in zip(keys, outcomes, strict=True) if _is_idle(outcome)]
    proven, also = _proven(rest, [rest.numbers[key] for key in idle])
    gone |= {place[policy_key(rest.compiled.policies[one])] for one in proven}
    changed = {
        place[key]: outcome
        for key, outcome in zip(keys, outcomes, strict=True)
        if not _is_idle(outcome)
    }
    changed |= {
        place[policy_key(rest.compiled.policies[one])]: outcome for one, outcome in also.items()
    }
    refused += [Refused(one, outcome) for one, outcome in sorted(changed.items())]
    return sorted(gone), refused, by_rules


def _is_idle(outcome: Outcome) -> bool:
    return not outcome.changes and not outcome.error


def _without(bench: Workbench, gone: Collection[int]) -> Workbench:
    compiled = bench.compiled
    out = {policy_key(compiled.policies[one]) for one in gone}
    kept = tuple(one for one in compiled.cluster.policies if policy_key(one) not in out)
    cluster = msgspec.structs.replace(compiled.cluster, policies=kept)
    return workbench(compile_cluster(cluster, compiled.profile, static=compiled.static))


def _proven(bench: Workbench, numbers: Sequence[int]) -> tuple[list[int], dict[int, Outcome]]:
    """As many of some policies as can be removed together, by judging the cluster without them;
    and what each of the others would change then. Halves are tried where all of them change
    something."""
    policies = bench.compiled.policies
    proven: list[int] = []
    refused: dict[int, Outcome] = {}
    todo = [list(numbers)]
    while todo:
        group = todo.pop()
        if not group:
            continue
        keys = tuple(policy_key(policies[one]) for one in (*proven, *group))
        (outcome,) = evaluate(bench, [Edit("", keys)], examples=1)
        if _is_idle(outcome):
            proven += group
        elif len(group) == 1:
            refused[group[0]] = outcome
        else:
            half = len(group) // 2
            todo += [group[half:], group[:half]]
    return proven, refused
