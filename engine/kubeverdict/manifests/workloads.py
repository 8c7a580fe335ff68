"""Which workload a pod belongs to, and pods for workloads that have none in the input.

Nothing here reads text: it runs once the records of the whole input are known, because a
ReplicaSet that names the Deployment of a pod may come after the pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kubeverdict.manifests.objects import Owner, PodRecord, WorkloadRecord
from kubeverdict.model.cluster import Pod, WorkloadRef

_HASH = "pod-template-hash"
_POD_NAME = "statefulset.kubernetes.io/pod-name"
_POD_INDEX = "apps.kubernetes.io/pod-index"
_JOB_NAMES = ("job-name", "batch.kubernetes.io/job-name")


def pods_of(
    pods: Sequence[PodRecord], workloads: Sequence[WorkloadRecord], nodes: Sequence[str]
) -> list[Pod]:
    """The pods of the input, then those that workload templates stand for.

    A template stands for its pods where none of them is in the input and the workload is not
    itself owned by a workload of the input.
    """
    owners = _Owners(workloads)
    result = [
        Pod(
            record.namespace,
            record.name,
            record.labels,
            owners.of_pod(record),
            record.addresses,
            record.ports,
            record.node,
            record.phase,
            record.host_network,
            started=record.started,
        )
        for record in pods
    ]
    taken = {(pod.namespace, pod.name) for pod in result}
    for workload in workloads:
        if workload.ref not in owners.with_pods and not owners.is_owned(workload):
            result += _template_pods(workload, owners.top(workload.ref), nodes, taken)
    return result


class _Owners:
    """Follows owner references to the topmost workload, once for each owner.

    ``with_pods`` holds every workload that was passed on the way from a pod.
    """

    def __init__(self, workloads: Iterable[WorkloadRecord]) -> None:
        self._above: dict[WorkloadRef, Owner | None] = {
            workload.ref: workload.owner for workload in workloads
        }
        self.with_pods: set[WorkloadRef] = set()
        self._found: dict[tuple[str, Owner, str], WorkloadRef] = {}

    def of_pod(self, pod: PodRecord) -> WorkloadRef:
        if pod.owner is None or pod.owner[0] == "Node":
            return WorkloadRef(pod.namespace, pod.name, "Pod")
        key = (pod.namespace, pod.owner, pod.labels.get(_HASH, ""))
        ref = self._found.get(key)
        if ref is None:
            ref = self._found[key] = self._climb(*key)
        return ref

    def _climb(self, namespace: str, owner: Owner, template_hash: str) -> WorkloadRef:
        ref = WorkloadRef(namespace, owner[1], owner[0])
        self.with_pods.add(ref)
        suffix = f"-{template_hash}"
        if (
            ref.kind == "ReplicaSet"
            and self._above.get(ref) is None
            and template_hash
            and len(ref.name) > len(suffix)
            and ref.name.endswith(suffix)
        ):
            ref = WorkloadRef(namespace, ref.name.removesuffix(suffix), "Deployment")
            self.with_pods.add(ref)
        return self.top(ref, passed=self.with_pods)

    def top(self, ref: WorkloadRef, passed: set[WorkloadRef] | None = None) -> WorkloadRef:
        """The workload above ``ref`` that no object of the input says is owned."""
        seen = {ref}
        while (owner := self._above.get(ref)) is not None:
            ref = WorkloadRef(ref.namespace, owner[1], owner[0])
            if ref in seen:  # owners that own each other
                break
            seen.add(ref)
        if passed is not None:
            passed |= seen
        return ref

    def is_owned(self, workload: WorkloadRecord) -> bool:
        owner = workload.owner
        if owner is None:
            return False
        above = WorkloadRef(workload.ref.namespace, owner[1], owner[0])
        return above in self._above and above != workload.ref


def _template_pods(
    workload: WorkloadRecord,
    top: WorkloadRef,
    nodes: Sequence[str],
    taken: set[tuple[str, str]],
) -> Iterator[Pod]:
    namespace, name, kind = workload.ref.namespace, workload.ref.name, workload.ref.kind
    for suffix, labels, node in _instances(workload, nodes):
        pod = f"{name}-{suffix}"
        if (namespace, pod) in taken:  # workloads of two kinds may have one name
            pod = f"{name}-{kind.lower()}-{suffix}"
        taken.add((namespace, pod))
        yield Pod(
            namespace=namespace,
            name=pod,
            labels=labels,
            workload=top,
            ports=workload.ports,
            node=node,
            host_network=workload.host_network,
            template=True,
        )


def _instances(
    workload: WorkloadRecord, nodes: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Name suffix, labels and node of each pod."""
    name, labels = workload.ref.name, workload.labels
    if workload.replicas is None:
        for node in nodes:
            yield node, labels, node
        if not nodes:
            yield "0", labels, workload.node
        return
    if workload.ref.kind == "Job":
        labels = {**labels, **dict.fromkeys(_JOB_NAMES, name)}
    for number in range(workload.first, workload.first + workload.replicas):
        if workload.ref.kind == "StatefulSet":
            yield str(number), {**labels, **ordinal_labels(name, number)}, workload.node
        else:
            yield str(number), labels, workload.node


def ordinal_labels(name: str, number: int) -> dict[str, str]:
    """What the StatefulSet ``name`` writes on its pod of a number."""
    return {_POD_NAME: f"{name}-{number}", _POD_INDEX: str(number)}
