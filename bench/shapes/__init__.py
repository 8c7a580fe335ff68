"""The shapes of clusters that benchmarks use, by name.

In: a number of pods, a number of policies (None: what the shape has at that size) and a seed.
Out: a :class:`~kubeverdict.model.cluster.Cluster`. One module a shape; each says which cluster
it imitates, or what it is meant to break.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.shapes.antrea import antrea
from bench.shapes.dense import dense
from bench.shapes.kube_burner import kube_burner
from bench.shapes.mixed import mixed
from bench.shapes.observed import observed
from kubeverdict.model.cluster import Cluster

Shape = Callable[[int, int | None, int], Cluster]

SHAPES: dict[str, Shape] = {
    "mixed": mixed,
    "observed": observed,
    "antrea": antrea,
    "kube-burner": kube_burner,
    "dense": dense,
}
