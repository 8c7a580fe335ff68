"""``kube-burner``: the shape of that load generator's network policy workload.

Ten pods and twenty policies a namespace, and five of everything in a policy: peer namespaces,
peer pods, CIDRs, ports and port ranges. Hardly two policies share a selector, so this measures
the parsing and interning of policies.
"""

from __future__ import annotations

from random import Random

from bench.shapes.sketch import RuleSketch, Sketch, block, labelled, tcp, there
from kubeverdict.model.cluster import METADATA_NAME, Cluster

_PODS_A_NAMESPACE = 10
_POLICIES_A_NAMESPACE = 20
_OF_EVERYTHING = 5


def kube_burner(pods: int, policies: int | None = None, seed: int = 1) -> Cluster:
    """``pods / 10`` namespaces with twenty policies each.

    Raises ValueError where ``policies`` is given: the shape fixes their number.
    """
    if policies is not None:
        raise ValueError("the kube-burner shape has twenty policies a namespace, no other number")
    random = Random(seed)
    sketch = Sketch("kube-burner", pods)
    names = [f"network-policy-perf-{n}" for n in range(max(1, pods // _PODS_A_NAMESPACE))]
    ports = [tcp(8080 + n) for n in range(_OF_EVERYTHING)]
    ports += [tcp(5000 + 100 * n, 5005 + 100 * n) for n in range(_OF_EVERYTHING)]
    subject = labelled("num", *(str(n) for n in range(1, _PODS_A_NAMESPACE + 1)))
    peer_pods = labelled("num", *(str(n) for n in range(1, _OF_EVERYTHING + 1)))
    for namespace in names:
        sketch.namespace(namespace)
        for number in range(1, _PODS_A_NAMESPACE + 1):
            # Pod n has the labels 1 … n, so that selectors by key nest.
            labels = {str(n): "true" for n in range(1, number + 1)}
            labels |= {"num": str(number), "test-pod": "true"}
            sketch.pod(namespace, f"test-pod-{number}", labels)
        for number in range(_POLICIES_A_NAMESPACE):
            neighbours = random.choices(names, k=_OF_EVERYTHING)
            rules: list[RuleSketch] = [
                ([there(labelled(METADATA_NAME, *neighbours), peer_pods)], ports)
            ]
            for _ in range(_OF_EVERYTHING):
                cidr = f"1.{random.randrange(256)}.{random.randrange(256)}.0/24"
                rules.append(([block(cidr)], ports))
            sketch.policy(namespace, f"ingress-{number}", subject, ingress=rules)
    return sketch.cluster()
