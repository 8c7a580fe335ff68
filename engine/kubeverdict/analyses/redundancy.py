"""Policies that can be removed together, and why others have to stay then, in words."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.covers import PolicyCover
from kubeverdict.evaluate.redundancy import Removal, removable
from kubeverdict.evaluate.scenarios.outcome import Outcome
from kubeverdict.evaluate.scenarios.workbench import Workbench
from kubeverdict.model.counts import listed
from kubeverdict.model.edit import PolicyKey
from kubeverdict.model.ports import Protocol

_SHOWN = 3  # names of a longer list; the rest is counted


class Stays(msgspec.Struct, frozen=True):
    """A policy that changes nothing by itself and has to stay when others are removed."""

    policy: str
    reason: str


class Removable(msgspec.Struct, frozen=True):
    """Policies, as namespace/name: those without all of which nothing changes, as the engine
    judged, those that have to stay then, and default denies, which guard pods that are still to
    come. There may be a larger set than the first."""

    together: tuple[str, ...]
    stay: tuple[Stays, ...]
    default_denies: tuple[str, ...] = ()


def by_rules(compiled: CompiledPolicy, found: Removal) -> Removable:
    """What the rules of policies say."""
    names = [str(compiled.policies[cover.policy]) for cover in found.together]
    gone = {cover.policy for cover in found.together}
    stay = [
        Stays(str(compiled.policies[cover.policy]), _covered(compiled, cover, gone))
        for cover in found.stay
    ]
    return Removable(tuple(names), tuple(stay))


def judged(bench: Workbench, keys: Sequence[PolicyKey]) -> Removable:
    """Of policies whose removal changes nothing, each by itself: those that can go together."""
    compiled = bench.compiled
    together, refused, by = removable(bench, [bench.numbers[key] for key in keys])
    gone = set(together)
    covers = {cover.policy: cover for cover in by.stay}
    stay, denies = [], []
    for one in refused:
        name = str(compiled.policies[one.policy])
        if one.policy in covers:
            stay.append(Stays(name, _covered(compiled, covers[one.policy], gone)))
        elif one.outcome is not None:
            stay.append(Stays(name, _changes(one.outcome)))
        else:
            denies.append(name)
    names = tuple(str(compiled.policies[one]) for one in together)
    return Removable(names, tuple(stay), tuple(denies))


def _covered(compiled: CompiledPolicy, cover: PolicyCover, gone: set[int]) -> str:
    names = [str(compiled.policies[one]) for one in sorted(cover.together & gone)]
    what = "which goes" if len(names) == 1 else "which go"
    return f"covered by {listed(names, _SHOWN)}, {what}"


def _changes(outcome: Outcome) -> str:
    if outcome.error:
        return outcome.error
    if outcome.examples:
        one = outcome.examples[0]
        word = "opens" if one.opens else "closes"
        port = f"{one.port}/{Protocol(one.protocol).name}"
        return f"without it too, {one.source} to {one.destination} on {port} {word}"
    word = "open" if outcome.opens else "close"
    return f"without it too, connections with addresses outside {word}"
