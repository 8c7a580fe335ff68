"""What a run with real programs measures, so that it ends in time."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from bench.comparison.scenarios import SCENARIOS, TrafficScenario
from bench.real.scenarios import RealScenario


@dataclass(frozen=True)
class RealPlan:
    """``spread`` is what programs go through alone, with everything that there is to measure;
    ``crowded`` another scenario for changes alone. How often each change is made, for how many
    seconds programs are watched, how many pods come and go a second. ``traffic`` are the scenarios
    in which all are compared, with ``metrics``, ``rounds``, seconds a figure, and after how many
    seconds of a scenario three rounds must do."""

    spread: RealScenario
    crowded: RealScenario | None
    changes: int
    pods: int
    local_pods: int
    rest: float
    churn: float
    rate: int
    connections: int
    signals: tuple[signal.Signals, ...]
    traffic: tuple[RealScenario, ...]
    metrics: tuple[str, ...]
    rounds: int
    seconds: float
    budget: float
    # When each part has to be over, in minutes from the beginning: alone, alone where it is
    # crowded, together. On a machine that is busy elsewhere there is not time for everything.
    ends: tuple[float, float, float]

    @property
    def settings(self) -> dict[str, float]:
        return {
            "rounds": self.rounds,
            "seconds": self.seconds,
            "changes": self.changes,
            "pods": self.pods,
            "local_pods": self.local_pods,
            "rate": self.rate,
            "rest": self.rest,
            "churn": self.churn,
            "connections": self.connections,
        }

    @property
    def scenarios(self) -> tuple[RealScenario, ...]:
        found = [self.spread, *((self.crowded,) if self.crowded else ()), *self.traffic]
        return tuple({scenario.name: scenario for scenario in found}.values())


def _of(name: str, policies: int) -> RealScenario:
    return RealScenario(name, SCENARIOS[name], policies)


_SMALL = RealScenario("policies-60", TrafficScenario("policies-60", 60, pods=500), 200)
_METRICS = ("rr1", "rr16", "crr", "udp")
_POLICIES = 5_000

REAL_FULL = RealPlan(
    spread=_of("policies-100", _POLICIES),
    crowded=_of("change", _POLICIES),
    changes=6,
    pods=3,
    local_pods=2,
    rest=6.0,
    churn=10.0,
    rate=20,
    connections=50,
    signals=(signal.SIGTERM, signal.SIGKILL),
    traffic=tuple(
        _of(name, _POLICIES) for name in ("policies-100", "policies-1000", "change", "rules-100")
    ),
    metrics=_METRICS,
    rounds=5,
    seconds=0.2,
    budget=40.0,
    ends=(12.5, 16.5, 23.0),
)

REAL_QUICK = RealPlan(
    spread=_SMALL,
    crowded=None,
    changes=2,
    pods=1,
    local_pods=1,
    rest=2.0,
    churn=3.0,
    rate=20,
    connections=10,
    signals=(signal.SIGKILL,),
    traffic=(_SMALL,),
    metrics=("rr16", "crr"),
    rounds=3,
    seconds=0.1,
    budget=10.0,
    ends=(10.0, 10.0, 20.0),
)
