"""Who takes part: dataplanes, each on a node of its own, with the same pods."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from bench.baselines import BASELINES, Baseline
from bench.baselines.loading import Rendering, run
from bench.baselines.node import view
from bench.comparison.dataplane import Dataplane, Updated
from bench.comparison.ours import VARIANTS, KubeverdictDataplane
from bench.comparison.scenarios import NODE, TrafficScenario
from bench.comparison.staged_node import StagedNode
from bench.lab import Lab
from kubeverdict import PROFILES, Cluster, compile_cluster


class RuleDataplane:
    """Rules of a baseline, put in force by the tools that its CNI uses."""

    judges_replies = False

    def __init__(self, baseline: Baseline, name: str | None = None) -> None:
        self.name = name or baseline.name
        self.title = baseline.title + (", again" if name else "")
        self.profile = baseline.profile
        self.enforces = baseline.enforces
        self._baseline = baseline
        self._lab: Lab | None = None
        self._rules: Rendering | None = None

    def _render(self, cluster: Cluster) -> Rendering:
        compiled = compile_cluster(cluster, PROFILES[self.profile])
        return self._baseline.render(view(compiled, NODE))

    def install(self, lab: Lab, cluster: Cluster) -> None:
        self._lab = lab
        self._rules = self._render(cluster)
        run(lab.node_netns, self._rules.install())

    def update(self, cluster: Cluster) -> Updated:
        assert self._lab is not None and self._rules is not None
        begin = time.perf_counter()
        rules = self._render(cluster)
        commands = rules.update(self._rules)
        prepared = time.perf_counter()
        run(self._lab.node_netns, commands)
        self._rules = rules
        return Updated(prepared - begin, time.perf_counter() - prepared)

    def kernel_bytes(self) -> None:
        return None

    def remove(self) -> None:
        if self._lab is not None and self._rules is not None:
            run(self._lab.node_netns, self._rules.remove())
            self._lab.forget_connections()
        self._lab = self._rules = None


class Entrant(StagedNode):
    """A dataplane and the node that it enforces on."""

    def __init__(self, dataplane: Dataplane, local: int, cpu: int | None) -> None:
        super().__init__(dataplane.name, dataplane.profile, local, cpu)
        self.dataplane = dataplane
        self._installed = False

    def __exit__(self, *failure: object) -> None:
        try:
            self.remove()
        finally:
            super().__exit__(*failure)

    def install(self, scenario: TrafficScenario) -> float:
        """Put a scenario in force in place of the one before; seconds, everything included."""
        self.remove()
        begin = time.perf_counter()
        self._installed = True
        self.dataplane.install(self.lab, scenario.cluster)
        return time.perf_counter() - begin

    def remove(self) -> None:
        """Leave the node as it was."""
        if self._installed:
            self.dataplane.remove()
        self._installed = False


CONTROL = "none-again"
"""Nothing once more: how far two of the same are apart is the noise of a run."""


DATAPLANES: dict[str, Callable[[], Dataplane]] = {
    **{name: partial(RuleDataplane, baseline) for name, baseline in BASELINES.items()},
    CONTROL: partial(RuleDataplane, BASELINES["none"], CONTROL),
    **{name: partial(KubeverdictDataplane, name) for name in VARIANTS},
}
