"""``observed``: the shape of a real cluster whose figures were published.

5,413 pods in 604 namespaces with 13,678 policies; a policy selects 6 pods and a peer 2 pods at the
median; 70 peers select two thirds of the cluster; external peers are single addresses.
Other sizes keep the density.
"""

from __future__ import annotations

from random import Random

from bench.shapes.population import ZONES, App, Home, populate
from bench.shapes.sketch import RuleSketch, Sketch, block, here, labelled, tcp, there
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.selectors import EVERYTHING

_PODS, _NAMESPACES, _POLICIES, _BROAD_PEERS = 5413, 604, 13678, 70
_BROAD_ZONES = ZONES[:4]  # of six: two thirds of the cluster
_LARGE_FIRST = 3
_USUAL_PORTS = (80, 443, 8080, 5432, 6379, 9090)


def observed(pods: int, policies: int | None = None, seed: int = 1) -> Cluster:
    """``pods`` pods at the published density of namespaces, policies and broad peers."""
    random = Random(seed)
    sketch = Sketch("observed", pods)
    namespaces = max(4, round(pods * _NAMESPACES / _PODS))
    homes = populate(sketch, random, pods, namespaces, mean_replicas=3)
    # Policies go where the pods are.
    weights = [sum(app.replicas for app in home.apps) for home in homes]
    total = round(pods * _POLICIES / _PODS) if policies is None else policies
    for number, home in enumerate(random.choices(homes, weights, k=total)):
        _add_policy(sketch, random, home, number)
    return sketch.cluster()


def _add_policy(sketch: Sketch, random: Random, home: Home, number: int) -> None:
    # Policies prefer large workloads, peers do not: so the two published medians come out.
    app: App = random.choices(home.apps, [app.replicas**_LARGE_FIRST for app in home.apps])[0]
    pods = EVERYTHING if random.random() < 0.25 else labelled("app", app.name)
    draw = random.random()
    rule: RuleSketch
    if draw < 0.40:
        address = ".".join(str(random.randint(11, 171)) for _ in range(4))
        rule = ([block(f"{address}/32")], [tcp(443)])
        incoming = random.random() < 0.75
    else:
        port = [tcp(random.choice((*_USUAL_PORTS, random.randint(1024, 9998))))]
        ports = port if random.random() < 0.35 else None
        if draw < 1.0 - _BROAD_PEERS / _POLICIES:
            rule = ([here(home.name, labelled("app", random.choice(home.apps).name))], ports)
        else:
            rule = ([there(labelled("zone", *_BROAD_ZONES))], ports)
        incoming = random.random() < 0.75
    name = f"{app.name}-{number}"
    if incoming:
        sketch.policy(home.name, name, pods, ingress=[rule])
    else:
        sketch.policy(home.name, name, pods, egress=[rule])
