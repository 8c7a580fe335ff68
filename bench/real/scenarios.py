"""The scenarios of the comparison, in a cluster that has a number of policies in all.

Beside them there are policies that one sees at work: each opens a port of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from msgspec.structs import replace as changed

from bench.comparison.scenarios import (
    ADDED_PEER,
    CLIENT,
    SERVER,
    SHOP,
    TrafficScenario,
    elsewhere,
    local_address,
    local_app,
    local_pod,
    remote_pod,
)
from bench.shapes.sketch import Sketch, block, here, labelled, there, udp
from kubeverdict import Cluster
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import Policy

STREAM_PORT, REFUSED_PORT = 8090, 8091
"""From the client to the server: always allowed, never allowed."""
NEWCOMER_PORT = 7500
"""From a pod that is a newcomer elsewhere to the server."""
NEW_LOCAL_PORT, NEW_LOCAL_REFUSED_PORT = 7600, 7601
"""From ``ADDED_PEER`` to a new pod of the node: allowed, and not allowed."""
ADDED_PORT = 7700
"""From ``ADDED_PEER`` to the server, while the policy :func:`added` is there."""

_FIRST_MARK = 20_000
_NEWCOMER, _NEW_LOCAL = "newcomer", "new-local"
_TEAM = "team-00"


@dataclass(frozen=True)
class RealScenario:
    """``local.policies`` policies select pods of the node, what is left to ``policies`` others."""

    name: str
    local: TrafficScenario
    policies: int

    @property
    def description(self) -> str:
        rules = f"rules in each: {self.local.rules:,}; " if self.local.rules > 1 else ""
        return (
            f"{self.policies:,} policies, of which {self.local.policies:,} select the "
            f"{self.local.local} pods of the node; {rules}{self.local.pods:,} pods elsewhere"
        )

    @cached_property
    def cluster(self) -> Cluster:
        base = self.local.cluster
        others = elsewhere(self.policies - self.local.policies, self.local.seed)
        return changed(base, policies=(*base.policies, *others, *_shown()))

    @property
    def of_node(self) -> Cluster:
        """The cluster with the policies that count on the node: no other one is there to enforce
        those of the other end."""
        own = (policy for policy in self.cluster.policies if policy.namespace == SHOP)
        return changed(self.cluster, policies=tuple(own))

    def rewritten(self) -> Cluster:
        """The same pods, and almost every rule of policies another one."""
        return replace(self, local=replace(self.local, seed=self.local.seed + 1)).cluster


def added() -> Policy:
    """Opens ``ADDED_PORT``."""
    return _opening("z-added", ADDED_PORT)


def mark(number: int) -> tuple[Policy, int]:
    """A policy that opens another port with each ``number``, and the port."""
    port = _FIRST_MARK + number
    return _opening("z-mark", port), port


def newcomer(number: int) -> Pod:
    """A pod elsewhere that may reach the server."""
    return remote_pod(_TEAM, f"newcomer-{number}", _NEWCOMER, (250 << 8) + 1 + number)


def new_local(number: int) -> Pod:
    """A pod of the node, with a name and an address that no other had."""
    return local_pod(f"new-{number}", _NEW_LOCAL, local_address(100 + number))


def passing(number: int) -> Pod:
    """A pod elsewhere that comes and goes, one of the many that rules select."""
    team, app = f"team-{number % 20:02d}", f"app-{number // 20 % 50:02d}"
    return remote_pod(team, f"passing-{number}", app, (200 << 8) + number % 4096)


def _opening(name: str, port: int) -> Policy:
    sketch = Sketch("comparison", 0)
    server = labelled("app", local_app(SERVER))
    sketch.policy(SHOP, name, server, ingress=[((block(f"{ADDED_PEER}/32"),), (udp(port),))])
    return sketch.policies[0]


def _shown() -> list[Policy]:
    sketch = Sketch("comparison", 0)
    server, client = (labelled("app", local_app(number)) for number in (SERVER, CLIENT))
    stream = (udp(STREAM_PORT),)
    sketch.policy(SHOP, "z-stream-in", server, ingress=[((here(SHOP, client),), stream)])
    sketch.policy(SHOP, "z-stream-out", client, egress=[((here(SHOP, server),), stream)])
    newcomers = there(labelled("team", _TEAM), labelled("app", _NEWCOMER))
    sketch.policy(SHOP, "z-newcomers", server, ingress=[((newcomers,), (udp(NEWCOMER_PORT),))])
    peer = block(f"{ADDED_PEER}/32")
    new = labelled("app", _NEW_LOCAL)
    sketch.policy(SHOP, "z-new-locals", new, ingress=[((peer,), (udp(NEW_LOCAL_PORT),))])
    return sketch.policies
