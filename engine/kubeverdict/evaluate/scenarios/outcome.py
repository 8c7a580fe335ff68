"""The effect of a scenario on a cluster."""

from __future__ import annotations

import msgspec

from kubeverdict.compile.compiled import Reason, RuleRef
from kubeverdict.evaluate.changed_rows import DeltaCounts
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Pod
from kubeverdict.model.ports import Protocol


class Focus(msgspec.Struct, frozen=True):
    """Which changes count: those with an end in one of ``namespaces`` (empty: anywhere), on
    ``port`` (None: any)."""

    namespaces: tuple[str, ...] = ()
    port: tuple[Protocol, int] | None = None


ANYTHING = Focus()


class Judged(msgspec.Struct, frozen=True):
    """Both directions of one connection at one time, and what decides each. ``other`` is what the
    other bound has where it depends on a condition whether the connection is allowed."""

    allowed: bool
    egress: RuleRef | Reason
    ingress: RuleRef | Reason
    other: Judged | None = None


class Example(msgspec.Struct, frozen=True):
    """One connection that a scenario opens or closes.

    An end that is no pod is an address, or a range of them written as ``first-last``. ``before``
    and ``after`` are None where an end does not exist at that time; ``family`` is None where
    nothing distinguishes the families.
    """

    opens: bool
    source: Pod | str
    destination: Pod | str
    protocol: Protocol
    port: int
    family: Family | None
    before: Judged | None
    after: Judged | None

    @property
    def is_conditional(self) -> bool:
        """Whether it depends on a condition that the connection changes."""
        return any(one is not None and one.other is not None for one in (self.before, self.after))


class Outcome(msgspec.Struct, frozen=True):
    """What one scenario changes.

    ``counts`` has one entry for each plane of address families. ``workloads`` and ``namespaces``
    are those that have an end in a changed connection; ``outside_opened`` and ``outside_closed``
    tell whether addresses outside the cluster gain or lose one. ``recompiled`` says that the
    changed cluster was compiled as a whole. ``error`` says why there is no answer. In a rollout,
    ``broken`` are the pod pairs that the step closes on a port that is open before the first
    step and after the last, and ``outside_broken`` says whether an address outside is among them.

    Where rules of the cluster or of the scenario are conditional, this is about what is allowed at
    most, and ``at_least`` says the same about what is allowed at least.
    """

    name: str
    counts: tuple[DeltaCounts, ...] = ()
    workloads: int = 0
    namespaces: int = 0
    outside_opened: bool = False
    outside_closed: bool = False
    examples: tuple[Example, ...] = ()
    seconds: float = 0.0
    recompiled: bool = False
    error: str = ""
    broken: int = 0
    outside_broken: bool = False
    at_least: Outcome | None = None

    @property
    def opens(self) -> bool:
        """Whether some connection opens, in either bound; and so below."""
        return any(
            bound.outside_opened or any(one.ports_opened for one in bound.counts)
            for bound in self._bounds
        )

    @property
    def closes(self) -> bool:
        return any(
            bound.outside_closed or any(one.ports_closed for one in bound.counts)
            for bound in self._bounds
        )

    @property
    def breaks(self) -> bool:
        return any(bound.outside_broken or bound.broken > 0 for bound in self._bounds)

    @property
    def _bounds(self) -> tuple[Outcome, ...]:
        return (self,) if self.at_least is None else (self, self.at_least)

    @property
    def changes(self) -> bool:
        return self.opens or self.closes
