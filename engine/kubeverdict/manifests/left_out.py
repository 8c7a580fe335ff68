"""Objects that are not read though a verdict may depend on them, counted by kind."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from kubeverdict.manifests import schema
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.objects import PodRecord, WorkloadRecord
from kubeverdict.manifests.resources import Resource, kind_name
from kubeverdict.model.cluster import WorkloadRef
from kubeverdict.model.sources import Origin
from kubeverdict.model.unevaluated import Gap, Unevaluated

# These are reported by name; of the others that may have pods only the namespace is kept.
_NAMED = frozenset({Gap.POLICY, Gap.RESTRICTION, Gap.POLICY_PART, Gap.PODS})
_WITH_PODS = frozenset({Gap.PODS, Gap.NOT_READ})
_decoder = msgspec.json.Decoder(schema.NamespaceManifest)


class _OfKind:
    """The objects of one kind."""

    __slots__ = ("count", "first", "gap", "names", "namespaces")

    def __init__(self, gap: Gap, first: Origin) -> None:
        self.gap = gap
        self.first = first
        self.count = 0
        self.names: dict[str, None] = {}
        self.namespaces: set[str] = set()

    def report(self, group: str, kind: str, complete: Container[str]) -> Unevaluated:
        file, line = self.first.file, self.first.line_of(())
        spaces = tuple(sorted(name for name in self.namespaces if name not in complete))
        return Unevaluated(kind, group, self.gap, self.count, file, line, tuple(self.names), spaces)


class LeftOut:
    """What one load leaves out."""

    def __init__(self) -> None:
        self._kinds: dict[Resource, _OfKind] = {}

    def add(self, group: str, kind: str, gap: Gap, document: Document) -> None:
        found = self._of(group, kind, gap, document.origin)
        found.count += 1
        if gap in _NAMED or gap in _WITH_PODS:
            metadata = metadata_of(document)
            if metadata.name and gap in _NAMED:
                parts = (metadata.namespace, metadata.name)
                found.names["/".join(part for part in parts if part)] = None
            if metadata.namespace and gap in _WITH_PODS:
                found.namespaces.add(metadata.namespace)

    def _of(self, group: str, kind: str, gap: Gap, origin: Origin) -> _OfKind:
        found = self._kinds.get((group, kind))
        if found is None:
            found = self._kinds[group, kind] = _OfKind(gap, origin)
        return found

    def report(
        self,
        pods: Sequence[PodRecord],
        workloads: Sequence[WorkloadRecord],
        origins: Mapping[tuple[str, str, str], Origin],
    ) -> tuple[Unevaluated, ...]:
        """All of it, once the pods and workloads of the whole input are known."""
        self._add_without_template(workloads, origins)
        complete: set[str] = set()
        if any(found.gap in _WITH_PODS for found in self._kinds.values()):
            self._forget_what_has_pods(pods, workloads)
            # A namespace with pods that run was dumped with all pods that there are.
            complete = {pod.namespace for pod in pods if pod.phase or pod.addresses}
        kinds = sorted(self._kinds.items())
        return tuple(one.report(*resource, complete) for resource, one in kinds if one.count)

    def _add_without_template(
        self,
        workloads: Iterable[WorkloadRecord],
        origins: Mapping[tuple[str, str, str], Origin],
    ) -> None:
        """Rollouts that take the template of a workload that the input does not hold."""
        borrowing = [workload for workload in workloads if workload.template_of]
        if not borrowing:
            return
        refs = {workload.ref for workload in workloads}
        for workload in borrowing:
            ref = workload.ref
            if workload.template_of not in refs:
                origin = origins[ref.kind, ref.namespace, ref.name]
                found = self._of("argoproj.io", ref.kind, Gap.PODS, origin)
                found.count += 1
                found.names[f"{ref.namespace}/{ref.name}"] = None
                found.namespaces.add(ref.namespace)

    def _forget_what_has_pods(
        self, pods: Iterable[PodRecord], workloads: Iterable[WorkloadRecord]
    ) -> None:
        """What makes pods is no gap where its pods, or workloads of it, are in the input."""
        owned = {(pod.namespace, pod.owner) for pod in pods}
        owned |= {(workload.ref.namespace, workload.owner) for workload in workloads}
        owners = {WorkloadRef(space, owner[1], owner[0]) for space, owner in owned if owner}
        for (group, kind), found in self._kinds.items():
            if found.gap is not Gap.PODS:
                continue
            for path in list(found.names):
                namespace, _, name = path.rpartition("/")
                if WorkloadRef(namespace or "default", name, kind_name(group, kind)) in owners:
                    del found.names[path]
                    found.count -= 1


def metadata_of(document: Document) -> schema.Metadata:
    """The name of an object that is not read, as far as it has one."""
    body = document.body
    try:
        if body is None:
            body = msgspec.json.encode(document.value)
        found = _decoder.decode(body).metadata
    except (msgspec.DecodeError, TypeError, ValueError, RecursionError):
        found = None
    return found or schema.Metadata()
