"""Compiling the kernels ahead of time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compilation, compile_cluster
from kubeverdict.compile.incremental.editable import Editable
from kubeverdict.evaluate.aligned import align_ends
from kubeverdict.evaluate.checks import Claims, ReachabilityClaim, breaches
from kubeverdict.evaluate.delta import delta, whole_delta
from kubeverdict.evaluate.flows import judge, mark_used, port_atoms
from kubeverdict.evaluate.local_classes import decisions, local_classes, port_classes
from kubeverdict.evaluate.pairs import count_pairs, rows
from kubeverdict.evaluate.scenarios.combine import rollout
from kubeverdict.evaluate.scenarios.workbench import evaluate, workbench
from kubeverdict.kernels import jit
from kubeverdict.model.addresses import Block
from kubeverdict.model.cluster import Cluster, Namespace, Pod, WorkloadRef
from kubeverdict.model.edit import Edit, policy_key
from kubeverdict.model.policy import (
    NETWORK_POLICY,
    NETWORK_POLICY_TIER,
    Action,
    BlockPeer,
    Direction,
    Peer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.profile import REFERENCE
from kubeverdict.model.selectors import EVERYTHING
from kubeverdict.model.sources import FieldPath, Source

Report = Callable[[str, int, int], None]


def warmup(report: Report) -> None:
    """Compile every kernel for the types it is used with, or load it from the cache.

    ``report(what, done, total)`` is called before each step and once at the end.
    """
    with jit.compiled_only():
        before, after = _versions()
        compiled = compile_cluster(before)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("compile", lambda: compile_cluster(after)),
            ("flows", lambda: _flows(compiled)),
            ("all pairs", lambda: count_pairs(compiled)),
            ("rows", lambda: list(rows(compiled, compiled.planes[0]))),
            ("one node", lambda: _one_node(compiled)),
            ("claims", lambda: _claims(compiled)),
            ("scenarios", lambda: _scenarios(compiled)),
            ("edits", lambda: _edits(before)),
            ("delta", lambda: _delta(compiled, compile_cluster(after))),
        ]
        for done, (what, step) in enumerate(steps):
            report(what, done, len(steps))
            step()
        report("done", len(steps), len(steps))


def _flows(compiled: CompiledPolicy) -> None:
    flow = np.array([[0], [1], [0], [80]])
    verdicts = judge(compiled, *flow)
    source, destination = flow[:2].astype(np.int32)
    atoms = port_atoms(compiled, source, destination, flow[2], flow[3])
    matched, used = np.zeros((2, len(compiled.rules)), np.bool_)
    mark_used(compiled, source, destination, atoms, verdicts, matched, used)


def _one_node(compiled: CompiledPolicy) -> None:
    plane = compiled.planes[0]
    for direction in Direction:
        classes = local_classes(plane, direction, plane.ends.identity[:2])
        _, atoms = port_classes(compiled, [classes])
        decisions(compiled, plane, direction, classes, atoms)


def _claims(compiled: CompiledPolicy) -> None:
    plane = compiled.planes[0]
    everything = Claims(
        ends=np.ones((1, plane.size), np.bool_),
        ports=np.ones((1, compiled.ports.weight.size), np.bool_),
        checks=[ReachabilityClaim(0, 0, 0, denied=True)],
    )
    list(breaches(compiled, plane, everything))


def _scenarios(compiled: CompiledPolicy) -> None:
    bench = workbench(compiled)
    policy, pod = compiled.policies[0], compiled.pods[0]
    edits = [
        Edit(
            "policy", policies_out=(policy_key(policy),), policies_in=(replace(policy, name="b"),)
        ),
        Edit("pod", pods_in=(replace(pod, labels={"app": "other"}),)),
    ]
    evaluate(bench, edits)
    rollout(bench, edits[:1])


def _edits(cluster: Cluster) -> None:
    """Each kind of change twice, as arrays differ once they were published."""
    editable = Editable(compilation(cluster, REFERENCE))
    policy, pod = cluster.policies[0], cluster.pods[0]
    for name in ("first", "second"):
        editable.apply(Edit("", policies_in=(replace(policy, name=name),)))
        editable.apply(Edit("", pods_in=(replace(pod, name=name, labels={"app": name}),)))
        editable.apply(Edit("", pods_out=(("default", name),)))
        editable.apply(Edit("", policies_out=((policy.kind, "default", name),)))


def _delta(old: CompiledPolicy, new: CompiledPolicy) -> None:
    """By what was touched, and as a whole."""
    for change in (delta(old, new), whole_delta(old, new, align_ends(old, new), None)):
        for plane in change.planes:
            list(change.rows(plane))


class _Nowhere:
    """The origin of policies that no file holds."""

    file = "<warmup>"

    def line_of(self, path: FieldPath) -> int:
        return 0


def _versions() -> tuple[Cluster, Cluster]:
    """Two versions of a cluster just rich enough to need every kernel: unions of selectors, more
    blocks than are searched without an index, and something that changes."""
    source = Source(_Nowhere())
    here: tuple[Peer, ...] = (PodPeer(EVERYTHING, "default"),)
    blocks = [BlockPeer(Block(4, number << 8, 24)) for number in range(100)]
    rules = tuple(
        Rule(Direction.INGRESS, index, Action.ALLOW, peers, None, source)
        for index, peers in enumerate(((*here, *blocks), here))
    )
    policy = Policy(
        kind=NETWORK_POLICY,
        namespace="default",
        name="warmup",
        tier=NETWORK_POLICY_TIER,
        pods=EVERYTHING,
        isolates=(Direction.INGRESS,),
        rules=rules,
        source=source,
    )
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
    known = (Namespace("default", {}),)
    return Cluster(known, pods, (policy,)), Cluster(known, pods)
