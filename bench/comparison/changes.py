"""How long a change takes to be in force, and what happens to packets meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from bench import traffic
from bench.comparison import probing
from bench.comparison.entrants import Entrant
from bench.comparison.scenarios import (
    ADDED_PEER,
    ADDED_PORT,
    CLIENT,
    FLOODER,
    SERVER,
    TrafficScenario,
    local_address,
    rewritten,
    with_pod,
    with_policy,
)
from bench.traffic import DENIED_PORT, UDP_PORT
from kubeverdict import Cluster, Protocol

_RATE = 2_000  # packets a second, each a connection of its own
_LEAST_SECONDS = 0.4  # of traffic around a change

CHANGES: dict[str, Callable[[TrafficScenario], Cluster]] = {
    "one policy added": with_policy,
    "one pod added": with_pod,
    "everything rewritten": rewritten,
}


@dataclass(frozen=True, slots=True)
class ChangeKind:
    """A kind of change: seconds of each repetition (see ``Updated``), and what packets saw.

    ``leaked`` of ``denied`` packets got through that policy denies before and after;
    ``lost`` of ``allowed`` did not that it allows before and after.
    """

    scenario: str
    entrant: str
    kind: str
    preparing: tuple[float, ...]
    applying: tuple[float, ...]
    allowed: int
    lost: int
    denied: int
    leaked: int

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def changes(
    entrant: Entrant,
    scenario: TrafficScenario,
    kinds: Sequence[str],
    repetitions: int,
    budget: float,
) -> list[ChangeKind]:
    """Every kind of change on a scenario that is in force, there and back, ``repetitions``
    times or until ``budget`` seconds have passed."""
    found = []
    for kind in kinds:
        changed = CHANGES[kind](scenario)
        preparing: list[float] = []
        applying: list[float] = []
        counts = [0, 0, 0, 0]
        begin = time.monotonic()
        while not applying or (len(applying) < repetitions and time.monotonic() - begin < budget):
            entrant.lab.forget_connections()
            watch = _Watch(entrant)
            seconds = entrant.dataplane.update(changed)
            preparing.append(seconds.preparing)
            applying.append(seconds.applying)
            for index, number in enumerate(watch.finish()):
                counts[index] += number
            if kind == "one policy added":
                _must_be_open(entrant)
            entrant.dataplane.update(scenario.cluster)
        found.append(
            ChangeKind(
                scenario.name, entrant.name, kind, tuple(preparing), tuple(applying), *counts
            )
        )
    return found


class _Watch:
    """Steady traffic, allowed and denied, around a change."""

    def __init__(self, entrant: Entrant) -> None:
        self._entrant = entrant
        server = local_address(SERVER)
        client, flooder = entrant.pods[CLIENT], entrant.pods[FLOODER]
        traffic.run(client, ("count", server, UDP_PORT))
        # Long enough for the slowest; ended when the change is over.
        self._flows = [
            traffic.start(pod, ("flood", server, port, 600, _RATE))
            for pod, port in ((client, UDP_PORT), (flooder, DENIED_PORT))
        ]
        self._begin = time.monotonic()
        time.sleep(_LEAST_SECONDS / 4)

    def finish(self) -> tuple[int, int, int, int]:
        """Allowed packets and how many were lost, denied packets and how many leaked."""
        entrant = self._entrant
        time.sleep(max(_LEAST_SECONDS / 4, _LEAST_SECONDS - (time.monotonic() - self._begin)))
        sent = []
        for flow in self._flows:
            flow.terminate()
            output, _ = flow.communicate()
            sent.append(int(output.split()[0]))
        client = entrant.pods[CLIENT]
        client.stop()
        entrant.pods[FLOODER].stop()
        arrived, leaked = traffic.run(client, ("count", local_address(SERVER), UDP_PORT))
        return sent[0], sent[0] - int(arrived), sent[1], int(leaked)


def _must_be_open(entrant: Entrant) -> None:
    """Raise RuntimeError where the policy that was added is not in force."""
    if not entrant.dataplane.enforces:
        return
    probe = probing.Probe(ADDED_PEER, local_address(SERVER), Protocol.UDP, ADDED_PORT, True)
    if wrong := probing.wrong([probe], probing.arrived(entrant.lab, entrant.outside, [probe])):
        raise RuntimeError(f"{entrant.name}: {wrong[0]}")
