"""``dense``: made to hurt. Every pod is an identity of its own and every peer selects thousands.

Each pod has a random half of 32 independent labels. Subjects ask for three of them, peers for one
and the absence of another, in all namespaces: nothing is rare, and no two pods are alike.
"""

from __future__ import annotations

from random import Random

from bench.shapes.sketch import RuleSketch, Sketch, exists, tcp, there
from kubeverdict.model.cluster import Cluster, ContainerPort
from kubeverdict.model.ports import Protocol
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector

_LABELS = 32
_PODS_A_NAMESPACE = 1000
_PORTS = (ContainerPort("http", Protocol.TCP, 8080),)


def dense(pods: int, policies: int | None = None, seed: int = 1) -> Cluster:
    """``pods / 1000`` namespaces, with ``pods / 10`` policies by default."""
    random = Random(seed)
    sketch = Sketch("dense", pods)
    names = [f"ns-{n}" for n in range(max(1, pods // _PODS_A_NAMESPACE))]
    for name in names:
        sketch.namespace(name)
    for number in range(pods):
        bits = random.getrandbits(_LABELS)
        labels = {f"b{n}": "1" for n in range(_LABELS) if bits >> n & 1}
        labels["uid"] = f"u{number}"
        sketch.pod(names[number % len(names)], f"pod-{number}", labels, _PORTS)
    for number in range(pods // 10 if policies is None else policies):
        keys = [f"b{random.randrange(_LABELS)}" for _ in range(5)]
        subject = Selector.of(map(exists, keys[:3]))
        peers = Selector.of([exists(keys[3]), Requirement(keys[4], Operator.DOES_NOT_EXIST)])
        rule: RuleSketch = ([there(EVERYTHING, peers)], [tcp(random.randint(1, 65535))])
        namespace = random.choice(names)
        if random.random() < 0.7:
            sketch.policy(namespace, f"policy-{number}", subject, ingress=[rule])
        else:
            sketch.policy(namespace, f"policy-{number}", subject, egress=[rule])
    return sketch.cluster()
