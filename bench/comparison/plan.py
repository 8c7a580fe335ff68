"""What a run measures, so that it ends in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.comparison.rounds import FLOOD
from bench.comparison.scenarios import POD_COUNTS, POLICY_COUNTS, RULE_COUNTS

_SWEEP = ("rr1", "rr16", "crr", "udp")
_ALL = (*_SWEEP, "stream", FLOOD)


@dataclass(frozen=True)
class Plan:
    """Metrics by scenario, rounds, seconds a figure, and after how many seconds of a scenario
    three rounds must do; scenarios in which changes are made, how often each, and after how many
    seconds a kind is not repeated any more."""

    traffic: Mapping[str, tuple[str, ...]]
    rounds: int
    seconds: float
    budget: float
    changes: tuple[str, ...]
    repetitions: int
    change_budget: float

    @property
    def settings(self) -> dict[str, float]:
        return {"rounds": self.rounds, "seconds": self.seconds, "repetitions": self.repetitions}

    @property
    def all_scenarios(self) -> tuple[str, ...]:
        return (*self.traffic, *self.changes)


FULL = Plan(
    traffic={
        **{
            f"policies-{count}": _ALL if count in (100, 10_000) else _SWEEP
            for count in POLICY_COUNTS
        },
        **{f"rules-{count}": _SWEEP for count in RULE_COUNTS},
    },
    rounds=5,
    seconds=0.2,
    budget=40.0,
    changes=("crowd", *(f"pods-{count}" for count in POD_COUNTS), "change"),
    repetitions=2,
    change_budget=1.5,
)

QUICK = Plan(
    traffic={"policies-10": _SWEEP, "policies-1000": _ALL, "rules-100": ("rr16", "crr")},
    rounds=3,
    seconds=0.1,
    budget=20.0,
    changes=("crowd", "pods-1000"),
    repetitions=1,
    change_budget=0.0,
)


def takes_part(entrant: str, scenario: str) -> bool:
    """Whether changes of a scenario are made with an entrant. One rule for each pair is half a
    million rules where rules select 10,000 pods: a minute, and nothing new."""
    return not (entrant == "naive" and scenario == "crowd")
