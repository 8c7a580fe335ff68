"""The whole of a load: files to a cluster, with everything that was wrong or left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

import msgspec

from kubeverdict.errors import InputError, Problem, UsageError, located
from kubeverdict.manifests import (
    formats,
    repeated,
    sources,
)
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.left_out import LeftOut
from kubeverdict.manifests.objects import (
    CLUSTER_SCOPED,
    PodRecord,
    WorkloadRecord,
)
from kubeverdict.manifests.reading import DocumentReader, ReadObject
from kubeverdict.manifests.validation import (
    dns_label_errors,
    is_generated,
    quoted,
)
from kubeverdict.manifests.workloads import pods_of
from kubeverdict.model.cluster import (
    METADATA_NAME,
    ApiServerCalls,
    Cluster,
    Ingress,
    Namespace,
    Node,
    Service,
    WorkloadRef,
)
from kubeverdict.model.defaults import DEFAULT_NAMESPACE
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.model.policy import Policy
from kubeverdict.model.references import (
    NO_REFERENCES,
    AddressSet,
    Definition,
    References,
    TierDefinition,
    resolved_policies,
)
from kubeverdict.model.sources import Origin
from kubeverdict.model.surroundings import Surroundings
from kubeverdict.model.unevaluated import Gap, Unevaluated

ObjectKey = tuple[str, str, str]
"""Kind, namespace ("" where it has none) and name."""


@dataclass(frozen=True)
class Loaded:
    """What an input holds.

    ``warnings`` are what a user should know; ``skipped`` the errors of documents that were left
    out on request; ``ignored`` counts the objects on which no verdict depends, by kind. What one
    may depend on and is not evaluated is in ``cluster.unevaluated``.
    ``passed_over`` are files and folders that were not read, by the reason.
    ``files`` and ``documents`` count what was read, items of lists singly. ``workloads`` are
    those whose templates were read, with or without pods; ``unscaled`` are those of them that
    do not say how many pods they have. ``origins`` are where the objects came from.
    ``unplaced`` counts the objects that do not say their namespace.
    """

    cluster: Cluster
    warnings: tuple[Problem, ...] = ()
    skipped: tuple[Problem, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    passed_over: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: int = 0
    documents: int = 0
    workloads: tuple[WorkloadRef, ...] = ()
    unscaled: frozenset[WorkloadRef] = frozenset()
    origins: Mapping[ObjectKey, Origin] = field(default_factory=dict)
    unplaced: int = 0


def load(
    paths: Sequence[str],
    *,
    stdin: BinaryIO | None = None,
    skip_invalid: bool = False,
    namespace: str = DEFAULT_NAMESPACE,
    mapped: bool = True,
) -> Loaded:
    """Read the cluster that ``paths`` hold together: files, folders, ``-`` for ``stdin``.

    ``skip_invalid`` leaves out documents with errors, which ``Loaded.skipped`` then names.
    ``namespace`` is that of objects that do not say, as kubectl's ``-n`` is. ``mapped``: large
    files are mapped into memory; a process that shortens one meanwhile ends this one.
    Raises :class:`InputError` with every error of every document, and always for a path that
    cannot be read or holds nothing.
    """
    if not paths:
        raise UsageError("no input: name a file, a folder, or - for standard input")
    for message in dns_label_errors(namespace):
        raise UsageError(f"namespace {quoted(namespace)}: {message}")
    with collector_paused():
        return _Load(namespace).run(paths, stdin, skip_invalid, mapped)


def load_text(file: str, text: bytes, line: int = 1, namespace: str = DEFAULT_NAMESPACE) -> Loaded:
    """Read the cluster in ``text``, which begins at ``line`` of ``file``. Raises as ``load``."""
    with collector_paused():
        return _Load(namespace).run_buffers(
            [sources.Buffer(file, file, text, line)], skip_invalid=False
        )


def load_documents(documents: Iterable[Document], skip_invalid: bool = False) -> Loaded:
    """Read the cluster that ``documents`` make together. Raises as ``load``."""
    with collector_paused():
        return _Load(DEFAULT_NAMESPACE).run_documents(documents, skip_invalid)


class _Load:
    """One load in progress."""

    def __init__(self, namespace: str) -> None:
        self.findings = Findings()
        self.reader = DocumentReader(self.findings, namespace, self)
        self.pods: list[PodRecord] = []
        self.workloads: list[WorkloadRecord] = []
        self.namespaces: list[Namespace] = []
        self.nodes: list[Node] = []
        self.services: list[Service] = []
        self.ingresses: list[Ingress] = []
        self.endpoints: list[EndpointList] = []
        self.api_server_calls: list[ApiServerCalls] = []
        self.policies: list[Policy] = []
        self.definitions: list[Definition] = []
        self._lists: dict[type, list[Any]] = {
            PodRecord: self.pods,
            WorkloadRecord: self.workloads,
            Namespace: self.namespaces,
            Node: self.nodes,
            Service: self.services,
            Ingress: self.ingresses,
            EndpointList: self.endpoints,
            ApiServerCalls: self.api_server_calls,
            Policy: self.policies,
            AddressSet: self.definitions,
            TierDefinition: self.definitions,
        }
        self._defined: dict[ObjectKey, tuple[ReadObject, Origin]] = {}
        self._generated: Counter[ObjectKey] = Counter()
        self._repeated: list[tuple[str, Origin, Origin]] = []
        self._left_out = LeftOut()

    def run(
        self, paths: Sequence[str], stdin: BinaryIO | None, skip_invalid: bool, mapped: bool
    ) -> Loaded:
        return self.run_buffers(sources.read(paths, stdin, self.findings, mapped), skip_invalid)

    def run_buffers(self, buffers: Iterable[sources.Buffer], skip_invalid: bool) -> Loaded:
        findings = self.findings
        held: dict[str, int] = {}
        files = 0
        for buffer in buffers:
            files += 1
            before = self.reader.documents + len(findings.errors)
            found = 0
            for document in formats.read(buffer, findings):
                if document.empty:
                    found = 1
                else:
                    self.reader.take(document, buffer.direct)
            found += self.reader.documents + len(findings.errors) - before
            held[buffer.path] = held.get(buffer.path, 0) + found
        for path, found in held.items():
            if not found and not findings.are_in(path):
                findings.fatal.append(Problem(path, 0, "", "holds no Kubernetes object"))
        return self._finish(files, skip_invalid)

    def run_documents(self, documents: Iterable[Document], skip_invalid: bool) -> Loaded:
        for document in documents:
            self.reader.take(document, direct=False)
        return self._finish(0, skip_invalid)

    def _finish(self, files: int, skip_invalid: bool) -> Loaded:
        findings = self.findings
        self._warn_of_the_whole()
        if findings.fatal or (findings.errors and not skip_invalid):
            raise InputError(findings.fatal + findings.errors, findings.warnings)
        return Loaded(
            cluster=self._cluster(),
            warnings=tuple(findings.warnings),
            skipped=tuple(findings.errors),
            ignored=dict(sorted(self.reader.ignored.items())),
            passed_over={reason: tuple(paths) for reason, paths in findings.passed_over.items()},
            files=files,
            documents=self.reader.documents,
            workloads=tuple(workload.ref for workload in self.workloads),
            unscaled=frozenset(item.ref for item in self.workloads if not item.scaled),
            origins=_Origins(self._defined),
            unplaced=self.reader.objects.unplaced + self.reader.policy_reader.unplaced,
        )

    def leave_out(self, group: str, kind: str, gap: Gap, document: Document) -> None:
        self._left_out.add(group, kind, gap, document)

    def add(self, kind: str, record: ReadObject, origin: Origin) -> None:
        if isinstance(record, WorkloadRecord):
            namespace, name = record.ref.namespace, record.ref.name
        else:
            namespace = "" if kind in CLUSTER_SCOPED else record.namespace or ""  # type: ignore
            name = record.name
        key = (kind, namespace, name)
        if is_generated(name):
            self._generated[key] += 1
            record, name = repeated.numbered(record, name, self._generated[key])
            key = (kind, namespace, name)
        entry = (record, origin)
        first = self._defined.setdefault(key, entry)
        if first is entry:
            self._lists[type(record)].append(record)
            return
        subject = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
        if repeated.same(first[0], record):
            self._repeated.append((subject, first[1], origin))
            return
        where = located(first[1].file, first[1].line_of(()))
        message = f"defined twice with different content, first at {where}"
        place = DocumentPlace(self.findings, origin, subject)
        if kind in repeated.BESIDE:
            place.warn((), f"{message}; the first is used")
            if isinstance(first[0], Service):
                # A question that asks about it cannot know which is meant.
                marked = msgspec.structs.replace(first[0], also=f"{where} and {place.text}")
                self.services[self.services.index(first[0])] = marked
                self._defined[key] = (marked, first[1])
        else:
            place.error((), message)

    def _warn_of_the_whole(self) -> None:
        for one in self._unevaluated:
            if one.gap.decides:
                text = "object is" if one.count == 1 else "objects are"
                message = one.detail or f"{one.count} {one.resource} {text} not evaluated"
                self.findings.warnings.append(Problem(one.file, one.line, "", message))
        if self._repeated:
            subject, first, origin = self._repeated[0]
            where = located(first.file, first.line_of(()))
            message = f"defined twice with the same content, first at {where}"
            if len(self._repeated) > 1:
                message += f" (and {len(self._repeated) - 1} more such objects)"
            DocumentPlace(self.findings, origin, subject).warn((), message)

    @cached_property
    def _unevaluated(self) -> tuple[Unevaluated, ...]:
        """What is not taken into account, once everything was read."""
        whole = self._left_out.report(self.pods, self.workloads, _Origins(self._defined))
        return (*whole, *self.reader.policy_reader.unevaluated)

    def _cluster(self) -> Cluster:
        nodes = [node.name for node in self.nodes]
        pods = pods_of(self.pods, self.workloads, nodes)
        references = self._references()
        return Cluster(
            namespaces=with_implied(self.namespaces, pods, self.policies, self.services),
            pods=tuple(pods),
            policies=resolved_policies(
                self.policies,
                references,
                {one.name: one.labels for one in self.namespaces},
                Surroundings(self.services, self.endpoints, self.nodes),
            ),
            nodes=tuple(self.nodes),
            services=tuple(self.services),
            ingresses=tuple(self.ingresses),
            unevaluated=self._unevaluated,
            endpoints=tuple(self.endpoints),
            api_server_calls=tuple(self.api_server_calls),
            references=references,
        )

    def _references(self) -> References:
        referring = [one for one in self.policies if one.refers]
        if not referring and not self.definitions:
            return NO_REFERENCES
        return References.of(referring, self.definitions)


class _Origins(Mapping[ObjectKey, Origin]):
    """What is known of the objects of a load, as far as it says where they came from."""

    def __init__(self, defined: Mapping[ObjectKey, tuple[ReadObject, Origin]]) -> None:
        self._defined = defined

    def __getitem__(self, key: ObjectKey) -> Origin:
        return self._defined[key][1]

    def __len__(self) -> int:
        return len(self._defined)

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._defined)


def with_implied(
    namespaces: Sequence[Namespace], *namespaced: Sequence[Any]
) -> tuple[Namespace, ...]:
    """``namespaces`` and those that only the objects in ``namespaced`` name, sorted by name.

    An object of no namespace, such as a policy for the whole cluster, names none.
    """
    names: set[str] = set()
    for objects in namespaced:
        names.update(item.namespace for item in objects if item.namespace is not None)
    names.difference_update(namespace.name for namespace in namespaces)
    implied = [Namespace(name, {METADATA_NAME: name}, implied=True) for name in sorted(names)]
    return (*namespaces, *implied)
