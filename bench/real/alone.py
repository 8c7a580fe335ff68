"""One program after the other: how fast it is, what it costs, and what its restart does."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.comparison.scenarios import (
    ADDED_PEER,
    CLIENT,
    FLOODER,
    SERVER,
    SHOP,
    local_address,
)
from bench.comparison.staged_node import StagedNode
from bench.lab import LabPod
from bench.real.agents import RealAgent
from bench.real.connections import OpenConnections
from bench.real.plan import RealPlan
from bench.real.pulses import Heard, Pulse
from bench.real.scenarios import (
    ADDED_PORT,
    NEW_LOCAL_PORT,
    NEW_LOCAL_REFUSED_PORT,
    NEWCOMER_PORT,
    REFUSED_PORT,
    STREAM_PORT,
    RealScenario,
    added,
    new_local,
    newcomer,
    passing,
)
from bench.real.site import AgentHost, Site
from bench.real.usage import Usage, usage
from tests.kubernetes.api import ApiError
from tests.kubernetes.enclosure import Daemon

_PATIENCE, _LEAST_PATIENCE = 180.0, 20.0
# Between two changes: longer than the feed leaves a file alone.
_CALM = 1.2
# For connections to be made and packets to flow before something happens.
_WARM = 1.0
# From when changes alone are not followed any more, in seconds for one kind of them.
_BUDGET = 40.0


@dataclass
class Restart:
    """What one restart did. ``down`` is for how many seconds nothing ran, ``back`` how many passed
    from the start to a policy in force that was added meanwhile. ``closed`` and ``open`` are
    seconds for which allowed packets were lost and others let through."""

    how: str
    down: float
    back: float
    lost: int
    closed: float
    leaked: int
    open: float
    connections: int
    broken: int
    longest_wait: float


@dataclass
class SoloFigures:
    """What a program did on a scenario. ``seconds`` has those of each change by its kind; memory
    is in bytes, CPU a share of one core. ``lost`` and ``leaked`` count packets while everything was
    replaced. ``failed`` says why there are no more figures."""

    scenario: str
    agent: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    feed_memory: dict[str, int] = field(default_factory=dict)
    feed_cpu: dict[str, float] = field(default_factory=dict)
    accepting: float = 0.0
    lost: int = 0
    leaked: int = 0
    restarts: list[Restart] = field(default_factory=list)
    failed: str = ""
    # The load average of the machine while this was measured.
    load: float | None = None

    def note(self, kind: str, seconds: float) -> None:
        self.seconds.setdefault(kind, []).append(seconds)


class Trial:
    """A program on a node of its own. It is waited for ``patience`` seconds, and after ``until``,
    on the monotonic clock, no more."""

    patience = _PATIENCE

    def __init__(
        self,
        site: Site,
        scenario: RealScenario,
        agent: RealAgent,
        node: StagedNode,
        until: float,
    ) -> None:
        self.site = site
        self.scenario = scenario
        self.agent = agent
        self.node = node
        self.until = until
        self.found = SoloFigures(scenario.name, agent.name)
        self.host: AgentHost = site.host(node)
        agent.prepare(self.host)
        self._feeds: list[Daemon] = []
        self._folder = Path()
        self.daemon: Daemon | None = None
        self._chance = random.Random(1)

    @property
    def _patience(self) -> float:
        return min(max(self.until - time.monotonic(), _LEAST_PATIENCE), self.patience)

    # --- the program -------------------------------------------------------------------------

    def launch(self) -> float:
        """Start it; when that was."""
        if self.agent.fed and not self._feeds:
            feed, self._folder = self.site.feed()
            self._feeds = [feed]
        begin = time.monotonic()
        self.daemon = self.agent.start(self.host, self._folder)
        return begin

    def start(self) -> None:
        """Start it, and wait until it has what it shall have in force."""
        with self._streams() as (allowed, refused):
            time.sleep(_WARM / 4)
            begin = self.launch()
            if self.agent.enforces:
                closed = refused.last(begin, self._patience, self._check, quiet=1.5)
                self.in_force()
                opened = allowed.heard().whole_since(begin)
                self.found.note("start", max(closed, opened))
            else:
                self._covers(begin)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """It does nothing for as long as the block lasts; what it wrote stays."""
        daemons = self._daemons
        for daemon in daemons:
            daemon.pause()
        try:
            yield
        finally:
            for daemon in daemons:
                daemon.resume()

    def end(self) -> None:
        """End it, and the feed."""
        for daemon in self._daemons:
            daemon.stop(signal.SIGKILL)
        self.daemon = None
        self._feeds = []

    def enforces(self) -> None:
        """Wait until it enforces at all: before that, everything gets through."""
        with self._streams() as (_, refused):
            refused.last(time.monotonic(), self._patience, self._check, quiet=1.0)

    def in_force(self) -> float:
        """Wait until all that the API server has is in force; how long that took."""
        accepted, port = self.site.mark()
        with self._from_outside(self.node.pods[SERVER], port) as pulse:
            return pulse.first(accepted, self._patience, self._check)

    def _covers(self, begin: float) -> None:
        """Wait for an agent that only watches: it answers once it is at work."""
        while True:
            try:
                self.host.run("test", "-S", "/run/kubeverdict/agent.sock")
                time.sleep(_CALM)
                return
            except RuntimeError:
                self._check()
                if time.monotonic() > begin + self._patience:
                    raise
                time.sleep(0.2)

    def _check(self) -> None:
        for daemon in self._daemons:
            daemon.check()

    @property
    def _daemons(self) -> list[Daemon]:
        return [*([self.daemon] if self.daemon else ()), *self._feeds]

    # --- what is seen on the wire ------------------------------------------------------------

    def _from_outside(self, target: LabPod, port: int, address: str = ADDED_PEER) -> Pulse:
        return Pulse(self.node.outside, target, port, address)

    @contextmanager
    def _streams(self) -> Iterator[tuple[Pulse, Pulse]]:
        """Packets that are allowed all the time, and such as never are."""
        client, flooder = self.node.pods[CLIENT], self.node.pods[FLOODER]
        server = self.node.pods[SERVER]
        with (
            Pulse(client, server, STREAM_PORT, local_address(CLIENT)) as allowed,
            Pulse(flooder, server, REFUSED_PORT, local_address(FLOODER)) as refused,
        ):
            yield allowed, refused

    # --- changes -----------------------------------------------------------------------------

    def policies(self, times: int, when: str = "") -> None:
        """A policy added and removed, over and over."""
        policy = added()
        with self._from_outside(self.node.pods[SERVER], ADDED_PORT) as pulse:
            for _ in self._repeated(times):
                accepted = self.site.add(policy)
                opened = pulse.first(accepted, self._patience, self._check)
                self._calm()
                accepted = self.site.remove(policy)
                closed = pulse.last(accepted, self._patience, self._check)
                pulse.forget()
                self.found.note(f"policy added{when}", opened)
                self.found.note(f"policy removed{when}", closed)
                self._calm()

    def pods(self, times: int) -> None:
        """A pod elsewhere that comes and goes."""
        for number in self._repeated(times):
            pod = newcomer(number)
            with self._from_outside(
                self.node.pods[SERVER], NEWCOMER_PORT, pod.addresses[0]
            ) as pulse:
                self.site.create_pod(pod)
                self._calm()
                accepted = self.site.start_pod(pod)
                opened = pulse.first(accepted, self._patience, self._check)
                self._calm()
                accepted = self.site.delete_pod(pod)
                closed = pulse.last(accepted, self._patience, self._check)
            self.found.note("pod added", opened)
            self.found.note("pod removed", closed)
            self._calm()

    def local_pods(self, times: int) -> None:
        """A pod of the node that comes and goes: until it is reached by whom it may be, and until
        it is reached by nobody else."""
        for number in self._repeated(times):
            pod = new_local(number)
            self.site.create_pod(pod)
            made = self.node.lab.add_pod(SHOP, pod.name, ipv4=pod.addresses[0])
            try:
                with (
                    self._from_outside(made, NEW_LOCAL_PORT) as allowed,
                    self._from_outside(made, NEW_LOCAL_REFUSED_PORT) as refused,
                ):
                    self._calm()
                    accepted = self.site.start_pod(pod)
                    opened = allowed.first(accepted, self._patience, self._check)
                    closed = refused.last(accepted, self._patience, self._check, quiet=1.0)
                    # It may have been reached until everything was closed for a while.
                    opened = max(opened, allowed.heard().whole_since(accepted))
            finally:
                self.site.delete_pod(pod)
                self.node.lab.delete_pod(made)
            self.found.note("new pod of the node reached", opened)
            self.found.note("new pod of the node open to others", closed)
            self._calm()

    def replace_everything(self) -> None:
        """Almost every rule of every policy becomes another one, and then the one that it was."""
        other = self.scenario.rewritten().policies
        with self._streams() as (allowed, refused):
            time.sleep(_WARM)
            self.found.accepting = self.site.show(other)
            self.found.note("everything replaced", self.in_force())
            time.sleep(_WARM)
            self.found.lost = allowed.finish().lost
            self.found.leaked = len(refused.finish().numbers)
        self.site.show(self.scenario.cluster.policies)
        self.in_force()

    def _repeated(self, times: int) -> Iterator[int]:
        begin = time.monotonic()
        for number in range(times):
            if number and time.monotonic() > begin + _BUDGET:
                return
            yield number

    def _calm(self) -> None:
        # Not in step with whoever looks in intervals.
        time.sleep(_CALM + 0.3 * self._chance.random())

    # --- costs -------------------------------------------------------------------------------

    def watch(self, kind: str, seconds: float, meanwhile: Callable[[], None] | None = None) -> None:
        """What it takes for some seconds, or for as long as ``meanwhile`` lasts if that is more."""
        before, feeds = self._used()
        begin = time.monotonic()
        if meanwhile is not None:
            meanwhile()
        time.sleep(max(seconds - (time.monotonic() - begin), 0))
        passed = time.monotonic() - begin
        after, feeds_after = self._used()
        self.found.memory[kind] = after.memory
        self.found.cpu[kind] = (after.cpu - before.cpu) / passed
        if self._feeds:
            self.found.feed_memory[kind] = feeds_after.memory
            self.found.feed_cpu[kind] = (feeds_after.cpu - feeds.cpu) / passed

    def _used(self) -> tuple[Usage, Usage]:
        assert self.daemon is not None
        return usage([self.daemon]), usage(self._feeds)

    def churn(self, rate: int, seconds: float) -> None:
        """Pods elsewhere come and go, ``rate`` of them a second; and now and then a policy."""
        with _passing(self.site, rate):
            time.sleep(_WARM)

            def change() -> None:
                if self.agent.enforces:
                    self.policies(2, " during churn")

            self.watch("churn", seconds, change)
        self.site.tidy()

    # --- restarts ----------------------------------------------------------------------------

    def restart(self, how: signal.Signals, connections: int) -> None:
        """End it and start it again, with connections open."""
        assert self.daemon is not None
        client = self.node.pods[CLIENT]
        with ExitStack() as stack:
            allowed, refused = stack.enter_context(self._streams())
            kept = stack.enter_context(OpenConnections(client, local_address(SERVER), connections))
            time.sleep(_WARM)
            gone = time.monotonic()
            self.daemon.stop(how)
            self.daemon = None
            time.sleep(_WARM)
            _, port = self.site.mark()
            pulse = stack.enter_context(self._from_outside(self.node.pods[SERVER], port))
            # Where ending it opened everything, its packets arrive before the start.
            begin = self.launch()
            pulse.forget()
            back = pulse.first(begin, self._patience, self._check)
            time.sleep(3 * _WARM)
            through, others, kept_ones = allowed.finish(), refused.finish(), kept.finish()
        self.found.restarts.append(_restart(how, begin - gone, back, through, others, kept_ones))


def _restart(
    how: signal.Signals,
    down: float,
    back: float,
    through: Heard,
    others: Heard,
    kept: tuple[int, int, float],
) -> Restart:
    opened, broken, longest = kept
    return Restart(
        how.name,
        down,
        back,
        through.lost,
        through.closed,
        len(others.numbers),
        others.opened,
        opened,
        broken,
        longest,
    )


@contextmanager
def _passing(site: Site, rate: int) -> Iterator[None]:
    """Pods that come and go, ``rate`` a second, each for a second."""
    ending = threading.Event()

    def come_and_go() -> None:
        begin = time.monotonic()
        with ThreadPoolExecutor(4) as threads:
            number = 0
            while not ending.is_set():
                threads.submit(_come, site, number)
                if number >= rate:
                    threads.submit(site.delete_pod, passing(number - rate))
                number += 1
                ending.wait(max(begin + number / rate - time.monotonic(), 0))

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _come(site: Site, number: int) -> None:
    pod = passing(number)
    site.create_pod(pod)
    site.start_pod(pod)


def measure_alone(
    site: Site,
    scenario: RealScenario,
    agent: RealAgent,
    plan: RealPlan,
    cpu: int | None,
    until: float,
    say: Callable[[str], None],
) -> SoloFigures:
    """Everything that is to be seen of a program on a scenario, which the API server has, up to
    ``until`` on the monotonic clock.

    What does not work ends it; the figures so far are kept, with the reason.
    """
    with StagedNode(agent.name, agent.profile, scenario.local.local, cpu) as node:
        trial = Trial(site, scenario, agent, node, until)
        doing = ""
        try:
            for what, step in _steps(trial, plan):
                doing = what
                if time.monotonic() > until:
                    raise TimeoutError("no time was left")
                step()
        except (RuntimeError, OSError, ApiError) as error:
            trial.found.failed = f"to {doing}: {str(error).strip()}"
            say(f"{agent.title}: {trial.found.failed}")
        finally:
            trial.found.load = os.getloadavg()[0]
            trial.end()
            site.tidy()
    return trial.found


def _steps(trial: Trial, plan: RealPlan) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is done, in words and as a call; what costs least for what it tells is first."""
    yield "start it", trial.start
    if trial.scenario is not plan.spread:
        yield "add policies", partial(trial.policies, plan.changes)
        return
    yield "let it rest", partial(time.sleep, 3 * _WARM)
    yield "watch it at rest", partial(trial.watch, "rest", plan.rest)
    if trial.agent.enforces:
        yield "add policies", partial(trial.policies, plan.changes)
        yield "add pods", partial(trial.pods, plan.pods)
        for how in plan.signals:
            yield f"restart it by {how.name}", partial(trial.restart, how, plan.connections)
        yield "add pods of the node", partial(trial.local_pods, plan.local_pods)
        yield "replace everything", trial.replace_everything
    yield "let pods come and go", partial(trial.churn, plan.rate, plan.churn)
