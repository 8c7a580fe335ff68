"""Which workload a pod belongs to, and pods for workloads that have none in the input.

Nothing here reads text: it runs once the records of the whole input are known, because a
ReplicaSet that names the Deployment of a pod may come after the pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from kubeverdict.manifests.objects import PodRecord, WorkloadRecord
from kubeverdict.manifests.pod_fields import Owner
from kubeverdict.model.cluster import UNKNOWN_VALUE, Pod, WorkloadRef

_POD_NAME = "statefulset.kubernetes.io/pod-name"
_POD_INDEX = "apps.kubernetes.io/pod-index"
_JOB_NAMES = ("job-name", "batch.kubernetes.io/job-name")


def pods_of(
    pods: Sequence[PodRecord], workloads: Sequence[WorkloadRecord], nodes: Sequence[str]
) -> list[Pod]:
    """The pods of the input, then those that workload templates stand for.

    A template stands for its pods where none of them is in the input, the workload is not itself
    owned by a workload of the input, and no other workload takes its template.
    """
    owners = Owners(workloads)
    refs = [owners.of_pod(record) for record in pods]
    _adopt(pods, refs, workloads, owners)
    result = [pod_of(record, ref) for record, ref in zip(pods, refs, strict=True)]
    taken = {(pod.namespace, pod.name) for pod in result}
    lent = {workload.template_of for workload in workloads if workload.template_of}
    for workload in workloads:
        if workload.ref in owners.with_pods or owners.is_owned(workload) or workload.ref in lent:
            continue
        top = owners.top(workload.ref)
        if workload.template_of and not owners.is_known(workload.template_of):
            continue  # reported: its pods are not modelled
        for part in (workload, *workload.more):
            result += _template_pods(owners.with_template(part), top, nodes, taken)
    return result


def pod_of(record: PodRecord, ref: WorkloadRef) -> Pod:
    """The pod of a record, which belongs to the workload ``ref``."""
    return Pod(
        record.namespace,
        record.name,
        record.labels,
        ref,
        record.addresses,
        record.ports,
        record.node,
        record.phase,
        record.host_network,
        started=record.started,
    )


def waiting(workloads: Iterable[WorkloadRecord], owners: Owners) -> list[WorkloadRecord]:
    """The workloads that should have pods, and have none of those that ``owners`` was asked
    about."""
    return [
        workload
        for workload in workloads
        if workload.replicas != 0
        and workload.ref not in owners.with_pods
        and not owners.is_owned(workload)
    ]


def _adopt(
    pods: Sequence[PodRecord],
    refs: list[WorkloadRef],
    workloads: Sequence[WorkloadRecord],
    owners: Owners,
) -> None:
    """Give pods of a live cluster to the workload whose template they have the labels of, where
    nothing between the two is in the input: they must not count twice. Of several such workloads
    it is the one that the pod, or its owner, is called after."""
    lonely: dict[tuple[str, tuple[str, str]], list[int]] = {}
    alone = waiting(workloads, owners)
    if not alone:
        return
    for place, (record, ref) in enumerate(zip(pods, refs, strict=True)):
        if (record.phase or record.addresses) and not owners.is_known(ref):
            for label in record.labels.items():
                lonely.setdefault((record.namespace, label), []).append(place)
    claims: dict[int, tuple[int, WorkloadRef]] = {}
    for workload in alone if lonely else ():
        ref, called_after = workload.ref, f"{workload.ref.name}-"
        for part in (workload, *workload.more):
            labels = owners.with_template(part).labels
            first = next(iter(labels.items()), None)
            if first is None:
                continue
            for place in lonely.get((ref.namespace, first), ()):
                record = pods[place]
                name = record.owner[1] if record.owner else record.name
                is_named = name.startswith(called_after)
                # A pod that nothing owns has to look like one of these by its name too.
                if (record.owner or is_named) and labels.items() <= record.labels.items():
                    claim = len(ref.name) if is_named else 0, ref
                    claims[place] = max(claim, claims.get(place, claim))
    for place, (_, ref) in claims.items():
        refs[place] = owners.top(ref, passed=owners.with_pods)


Way = tuple[str, Owner, str, str]
"""What the workload of a pod is found by, and alike for all pods that say the same of it: the
namespace, the owner, the hash of the template in a label, and what makes ReplicaSets with it."""


def way_of(pod: PodRecord) -> Way | None:
    """None for a pod that stands alone."""
    if pod.owner is None or pod.owner[0] == "Node":
        return None
    labels = pod.labels
    template_hash, kind = labels.get("pod-template-hash", ""), "Deployment"
    if not template_hash:
        template_hash, kind = labels.get("rollouts-pod-template-hash", ""), "Rollout"
    return pod.namespace, pod.owner, template_hash, kind


class Owners:
    """Follows owner references to the topmost workload, once for each owner.

    ``with_pods`` holds every workload that was passed on the way from a pod.
    """

    def __init__(self, workloads: Iterable[WorkloadRecord]) -> None:
        self._records = {workload.ref: workload for workload in workloads}
        self.with_pods: set[WorkloadRef] = set()
        self._found: dict[Way, WorkloadRef] = {}

    def of_pod(self, pod: PodRecord) -> WorkloadRef:
        key = way_of(pod)
        if key is None:
            return WorkloadRef(pod.namespace, pod.name, "Pod")
        ref = self._found.get(key)
        if ref is None:
            ref = self._found[key] = self._climb(*key)
        return ref

    def _climb(self, namespace: str, owner: Owner, template_hash: str, kind: str) -> WorkloadRef:
        """``kind`` is what makes ReplicaSets whose pods have the hash in the label it is from."""
        ref = WorkloadRef(namespace, owner[1], owner[0])
        self.with_pods.add(ref)
        suffix = f"-{template_hash}"
        if (
            ref.kind == "ReplicaSet"
            and self._above(ref) is None
            and template_hash
            and len(ref.name) > len(suffix)
            and ref.name.endswith(suffix)
        ):
            ref = WorkloadRef(namespace, ref.name.removesuffix(suffix), kind)
            self.with_pods.add(ref)
        return self.top(ref, passed=self.with_pods)

    def _above(self, ref: WorkloadRef) -> Owner | None:
        record = self._records.get(ref)
        return record.owner if record is not None else None

    def top(self, ref: WorkloadRef, passed: set[WorkloadRef] | None = None) -> WorkloadRef:
        """The workload above ``ref`` that no object of the input says is owned."""
        seen = {ref}
        while (owner := self._above(ref)) is not None:
            ref = WorkloadRef(ref.namespace, owner[1], owner[0])
            if ref in seen:  # owners that own each other
                break
            seen.add(ref)
        if passed is not None:
            passed |= seen
        return ref

    def is_known(self, ref: WorkloadRef) -> bool:
        """Whether a workload is in the input."""
        return ref in self._records

    def is_owned(self, workload: WorkloadRecord) -> bool:
        owner = workload.owner
        if owner is None:
            return False
        above = WorkloadRef(workload.ref.namespace, owner[1], owner[0])
        return above in self._records and above != workload.ref

    def with_template(self, workload: WorkloadRecord) -> WorkloadRecord:
        """A workload that takes its template from another one, with that template."""
        other = self._records.get(workload.template_of) if workload.template_of else None
        if other is None:
            return workload
        return msgspec.structs.replace(
            workload,
            labels=other.labels,
            ports=other.ports,
            node=other.node,
            host_network=other.host_network,
        )


def _template_pods(
    workload: WorkloadRecord,
    top: WorkloadRef,
    nodes: Sequence[str],
    taken: set[tuple[str, str]],
) -> Iterator[Pod]:
    namespace, name, kind = workload.ref.namespace, workload.ref.name, workload.ref.kind
    if workload.part:
        name = f"{name}-{workload.part}"
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
    if workload.unknown:
        labels = {**dict.fromkeys(workload.unknown, UNKNOWN_VALUE), **labels}
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
