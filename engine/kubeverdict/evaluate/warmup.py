"""Compiling the kernels ahead of time."""

from __future__ import annotations

from collections.abc import Callable

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.delta import delta
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.pairs import count_pairs, rows
from kubeverdict.kernels import jit
from kubeverdict.model.cluster import Cluster, Namespace, Pod, WorkloadRef

Report = Callable[[str, int, int], None]


def warmup(report: Report) -> None:
    """Compile every kernel for the types it is used with, or load it from the cache.

    ``report(what, done, total)`` is called before each step and once at the end.
    """
    with jit.compiled_only():
        cluster = _smallest()
        steps: list[tuple[str, Callable[[], object]]] = [
            ("compile", lambda: compile_cluster(cluster)),
            ("flows", lambda: judge(compile_cluster(cluster), [0], [1], [0], [80])),
            ("all pairs", lambda: count_pairs(compile_cluster(cluster))),
            ("rows", lambda: _rows(cluster)),
            ("delta", lambda: _delta(cluster)),
        ]
        for done, (what, step) in enumerate(steps):
            report(what, done, len(steps))
            step()
        report("done", len(steps), len(steps))


def _rows(cluster: Cluster) -> None:
    compiled = compile_cluster(cluster)
    for plane in compiled.planes:
        list(rows(compiled, plane))


def _delta(cluster: Cluster) -> None:
    compiled = compile_cluster(cluster)
    change = delta(compiled, compiled)
    for plane in change.planes:
        list(change.rows(plane))


def _smallest() -> Cluster:
    """Two pods: types do not depend on how many there are."""
    pods = tuple(
        Pod(
            namespace="default",
            name=name,
            labels={"app": name},
            workload=WorkloadRef("default", name, "Pod"),
            addresses=(address,),
            phase="Running",
        )
        for name, address in (("one", "192.0.2.1"), ("two", "192.0.2.2"))
    )
    return Cluster(namespaces=(Namespace("default", {}),), pods=pods)
