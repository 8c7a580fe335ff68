"""``antrea``: the shape of that controller's own scale test with small namespaces.

Very many namespaces, each with four pods, one default denial and two policies whose labels are
the same everywhere: what breaks here is anything that looks at all namespaces for each policy.
"""

from __future__ import annotations

from bench.shapes.sketch import Sketch, here, labelled
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.selectors import EVERYTHING

_GROUPS = ("1", "2")
_PODS_A_GROUP = 2
_PODS_A_NAMESPACE = len(_GROUPS) * _PODS_A_GROUP


def antrea(pods: int, policies: int | None = None, seed: int = 1) -> Cluster:
    """``pods / 4`` namespaces with three policies each; nothing is drawn from ``seed``.

    Raises ValueError where ``policies`` is given: the shape fixes their number.
    """
    if policies is not None:
        raise ValueError("the antrea shape has three policies a namespace, no other number")
    sketch = Sketch("antrea", pods)
    for index in range(max(1, pods // _PODS_A_NAMESPACE)):
        namespace = f"ns-{index:06d}"
        sketch.namespace(namespace, {"app": namespace})
        sketch.policy(namespace, "default-deny-all", EVERYTHING, ingress=[])
        for group in _GROUPS:
            same = labelled(f"app-{group}", f"scale-{group}")
            sketch.policy(namespace, f"np-{group}", same, ingress=[([here(namespace, same)], None)])
            for number in range(_PODS_A_GROUP):
                labels = {f"app-{group}": f"scale-{group}"}
                sketch.pod(namespace, f"pod-{group}-{number}", labels)
    return sketch.cluster()
