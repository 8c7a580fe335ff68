"""Traffic, measured in rounds: every entrant once in each, so that drift hits all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import traffic
from bench.baselines.node import view
from bench.comparison import probing
from bench.comparison.entrants import Entrant
from bench.comparison.scenarios import (
    CLIENT,
    FLOODER,
    NODE,
    NODE_ADDRESS,
    SERVER,
    TrafficScenario,
    local_address,
)
from bench.comparison.staged_node import StagedNode
from bench.traffic import DENIED_PORT, METRICS
from kubeverdict import Cluster
from kubeverdict.errors import KubeverdictError

FLOOD_RATE = 40_000  # packets a second that are to be denied
_PROBES = 240
_LEAST_ROUNDS = 3
_PATIENCE = 10.0  # seconds for what should arrive

FLOOD = "flood"
"""Request/response over 16 connections during a flood of denials: a figure of its own."""


@dataclass
class Measured:
    """Samples by metric and entrant, one a round: the figure, then latencies in µs (median, 99 %
    and 99.9 %) where the metric has them. ``cpu`` has CPU seconds a packet of the UDP metric."""

    scenario: str
    probes: dict[str, int] = field(default_factory=dict)
    install: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    samples: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # why an entrant has no figures

    def figures(self, metric: str) -> dict[str, list[float]]:
        """The first number of each sample, by entrant."""
        found = self.samples.get(metric, {})
        return {name: [sample[0] for sample in rounds] for name, rounds in found.items()}


def prepare(
    scenario: TrafficScenario, entrants: Sequence[Entrant], say: Callable[[str], None]
) -> tuple[Measured, list[Entrant]]:
    """Put a scenario in force everywhere, and prove each entrant before it is timed."""
    measured = Measured(scenario.name)
    ready = []
    for entrant in entrants:
        if entrant.dataplane.judges_replies and scenario.policies > scenario.local:
            measured.refused[entrant.name] = "replies would need rules of their own"
            continue
        say(f"{scenario.name}: {entrant.name}")
        before = kernel_memory()
        try:
            measured.install[entrant.name] = entrant.install(scenario)
        except (KubeverdictError, RuntimeError) as error:
            measured.refused[entrant.name] = f"it cannot be installed: {error}"
            entrant.remove()
            continue
        own = entrant.dataplane.kernel_bytes()
        grown = kernel_memory() - before
        measured.memory[entrant.name] = grown if own is None else own
        if entrant.dataplane.enforces:
            wrong = prove(entrant, scenario.cluster, measured)
            if wrong:
                measured.refused[entrant.name] = f"not the engine's verdict: {wrong[0]}"
                say(f"{entrant.name} is not timed: {len(wrong)} wrong verdicts, as {wrong[0]}")
                continue
        ready.append(entrant)
    return measured, ready


def prove(
    node: StagedNode, cluster: Cluster, measured: Measured, *, again: bool = False
) -> list[str]:
    """What happens on a node against the engine's verdict. ``again`` where connections of another
    scenario may be remembered: those without ports are then left out, since a packet of one may be
    an answer to an earlier one."""
    compiled = node.compiled(cluster)
    probes = probing.choose(compiled, view(compiled, NODE), NODE_ADDRESS, _PROBES)
    if again:
        probes = tuple(probe for probe in probes if probe.protocol.has_ports)
    measured.probes[node.name] = len(probes)
    return probing.wrong(
        probes, probing.arrived(node.lab, node.outside, probes, patience=_PATIENCE)
    )


def measure(
    measured: Measured,
    entrants: Sequence[StagedNode],
    metrics: Sequence[str],
    rounds: int,
    seconds: float,
    cpu: int | None,
    budget: float = math.inf,
) -> Iterator[None]:
    """Measure; yields after each sample, for who shows progress. When ``budget`` seconds have
    passed, no round is begun after the third."""
    begin = time.monotonic()
    for round_ in range(rounds):
        if round_ >= _LEAST_ROUNDS and time.monotonic() - begin > budget:
            return
        # The order turns, so that none always follows the same one.
        turned = [*entrants[round_ % len(entrants) :], *entrants[: round_ % len(entrants)]]
        for metric in metrics:
            for entrant in turned:
                if metric == FLOOD:
                    sample = _beside_flood(entrant, seconds, cpu)
                else:
                    before = busy_seconds()
                    sample = METRICS[metric].measure(
                        entrant.pods[CLIENT], local_address(SERVER), seconds, cpu
                    )
                    if metric == "udp":
                        packets = max(sample[1] * seconds, 1.0)
                        used = (busy_seconds() - before) / packets
                        measured.cpu.setdefault(entrant.name, []).append(used)
                        # What arrived counts, not what was sent.
                        sample = [sample[1]]
                by_entrant = measured.samples.setdefault(metric, {})
                by_entrant.setdefault(entrant.name, []).append(sample)
                yield


def _beside_flood(entrant: StagedNode, seconds: float, cpu: int | None) -> list[float]:
    server = local_address(SERVER)
    flood = traffic.start(
        entrant.pods[FLOODER], ("flood", server, DENIED_PORT, seconds + 0.1, FLOOD_RATE), cpu
    )
    try:
        return METRICS["rr16"].measure(entrant.pods[CLIENT], server, seconds, cpu)
    finally:
        flood.communicate()
        entrant.pods[FLOODER].stop()


def busy_seconds() -> float:
    """CPU time that this machine has used since it started, all cores together."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / 100


def kernel_memory() -> int:
    """Bytes that the kernel has allocated for itself."""
    total = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, value = line.split(":")
        if name in ("Slab", "VmallocUsed", "Percpu"):
            total += int(value.split()[0]) * 1024
    return total
