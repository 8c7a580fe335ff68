"""Traffic through what all programs wrote, in turns, while none of them does anything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.comparison.entrants import CONTROL
from bench.comparison.rounds import Measured, measure, prove
from bench.comparison.staged_node import StagedNode
from bench.real.agents import RealAgent
from bench.real.alone import Trial
from bench.real.plan import RealPlan
from bench.real.scenarios import RealScenario
from bench.real.site import Site

NONE = "none"
_SETTLING = 3.0
# Who needs longer has no figures in a scenario.
_PATIENCE, _FIRST_PATIENCE = 75.0, 150.0


def measure_together(
    site: Site,
    agents: Sequence[RealAgent],
    plan: RealPlan,
    cpus: tuple[int | None, int | None],
    until: float,
    say: Callable[[str], None],
    step: Callable[[int, int], None],
) -> list[Measured]:
    """Every scenario of the plan, with every program that has it in force and that is proven to
    give the engine's verdicts. ``cpus`` are those of servers and of clients; after ``until`` on the
    monotonic clock no scenario is begun any more."""
    found: list[Measured] = []
    server_cpu, client_cpu = cpus
    local = plan.traffic[0].local.local
    with ExitStack() as stack:
        bare = [
            stack.enter_context(StagedNode(name, "reference", local, server_cpu))
            for name in (NONE, CONTROL)
        ]
        site.show(plan.traffic[0].cluster.policies)
        say(f"all programs, {plan.traffic[0].name}")
        trials = []
        for agent in agents:
            node = stack.enter_context(StagedNode(agent.name, agent.profile, local, server_cpu))
            trial = Trial(site, plan.traffic[0], agent, node, until)
            stack.callback(trial.end)
            trials.append(trial)
            trial.launch()
        for scenario in plan.traffic:
            if found and time.monotonic() > until:
                say(f"no time is left for {scenario.name}")
                continue
            site.show(scenario.cluster.policies)
            measured = Measured(scenario.name)
            for trial in trials:
                trial.patience = _PATIENCE if found else _FIRST_PATIENCE
            ready = [*bare, *_proven(trials, scenario, measured, say)]
            say(f"{scenario.name}: {plan.rounds} rounds of {', '.join(plan.metrics)}")
            total = plan.rounds * len(plan.metrics) * len(ready)
            samples = measure(
                *(measured, ready, plan.metrics, plan.rounds, plan.seconds),
                *(client_cpu, plan.budget),
            )
            with ExitStack() as still:
                for trial in trials:
                    still.enter_context(trial.standing_still())
                for done, _ in enumerate(samples, start=1):
                    step(done, total)
            found.append(measured)
    return found


def _proven(
    trials: Sequence[Trial],
    scenario: RealScenario,
    measured: Measured,
    say: Callable[[str], None],
) -> list[StagedNode]:
    ready = []
    for trial in trials:
        if trial.agent.enforces:
            with _noted(measured.refused, trial.agent, say):
                trial.enforces()
                measured.install[trial.agent.name] = trial.in_force()
    # Who reports only has what the one beside it has, which reads the same files.
    time.sleep(_SETTLING)
    for trial in trials:
        if trial.agent.name in measured.refused:
            continue
        if trial.agent.enforces:
            wrong = prove(trial.node, scenario.of_node, measured, again=True)
            if wrong:
                measured.refused[trial.agent.name] = f"not the engine's verdict: {wrong[0]}"
                say(f"{trial.agent.title} is not timed: {len(wrong)} wrong, as {wrong[0]}")
                continue
        ready.append(trial.node)
    return ready


@contextmanager
def _noted(refused: dict[str, str], agent: RealAgent, say: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError) as error:
        refused[agent.name] = str(error).strip()
        say(f"{agent.title} is not timed: {error}")
