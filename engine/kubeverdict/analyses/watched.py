"""What a cluster that is followed does, event by event: the report of ``watch``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from kubeverdict.analyses.effects import Effect
from kubeverdict.analyses.verify.report import Result
from kubeverdict.analyses.whatif import PairTotals
from kubeverdict.model.causes import Cause
from kubeverdict.model.unevaluated import Unevaluated


class Started(msgspec.Struct, frozen=True):
    """The cluster as it was first seen."""

    at: datetime
    context: str
    profile: str
    pods: int
    policies: int
    unevaluated: tuple[Unevaluated, ...] = ()


class ClusterChange(msgspec.Struct, frozen=True):
    """What arrived together, and what it opened and closed.

    ``seconds`` are those from the arrival of the first to the answer. ``anew`` is why the cluster
    had to be compiled anew, empty where the change was followed.
    """

    at: datetime
    causes: tuple[Cause, ...]
    opened: Sequence[Effect]
    closed: Sequence[Effect]
    pairs: tuple[PairTotals, ...]
    seconds: float
    anew: str = ""
    unevaluated: tuple[Unevaluated, ...] = ()


class AssertionTurn(msgspec.Struct, frozen=True):
    """An assertion that is not as it was: ``before`` is its status until then, empty at the
    start."""

    at: datetime
    before: str
    result: Result
    causes: tuple[Cause, ...] = ()


class Freshness(msgspec.Struct, frozen=True):
    """A kind of object that is not followed any more, or again (``error`` is then empty). ``age``
    are the seconds since the server last said something of it."""

    at: datetime
    kind: str
    error: str
    age: float


class Ended(msgspec.Struct, frozen=True):
    """The end; ``broken`` are the assertions that do not hold."""

    at: datetime
    changes: int
    broken: tuple[str, ...] = ()


Watched = Started | ClusterChange | AssertionTurn | Freshness | Ended
