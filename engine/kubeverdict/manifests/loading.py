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
    exposing,
    formats,
    json_text,
    policies,
    repeated,
    sources,
)
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.kinds import HEAD, KNOWN, right_version
from kubeverdict.manifests.left_out import LeftOut, metadata_of
from kubeverdict.manifests.objects import (
    CLUSTER_SCOPED,
    ObjectReader,
    PodRecord,
    Record,
    WorkloadRecord,
)
from kubeverdict.manifests.other_kinds import gap_of, is_known
from kubeverdict.manifests.pod_templates import TEMPLATES, found_in
from kubeverdict.manifests.policies.reading import PolicyReader
from kubeverdict.manifests.resources import group_of
from kubeverdict.manifests.undecodable import report_invalid
from kubeverdict.manifests.validation import (
    dns_label_errors,
    invalid,
    is_generated,
    quoted,
    required,
    type_name,
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

NOT_AN_OBJECT = "not a Kubernetes object"


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
        self.objects = ObjectReader(self.findings, namespace)
        self.exposing = exposing.ExposingReader(self.objects)
        self.policy_reader = PolicyReader(self.findings, namespace)
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
        self.ignored: Counter[str] = Counter()
        self.documents = 0
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
        self._defined: dict[ObjectKey, tuple[Record | Policy | Definition, Origin]] = {}
        self._generated: Counter[ObjectKey] = Counter()
        self._repeated: list[tuple[str, Origin, Origin]] = []
        self._left_out = LeftOut()
        self._last = "Pod"  # the kind of the document before: the first guess for the next

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
            before = self.documents + len(findings.errors)
            found = 0
            for document in formats.read(buffer, findings):
                if document.empty:
                    found = 1
                else:
                    self._take(document, buffer.direct)
            found += self.documents + len(findings.errors) - before
            held[buffer.path] = held.get(buffer.path, 0) + found
        for path, found in held.items():
            if not found and not findings.are_in(path):
                findings.fatal.append(Problem(path, 0, "", "holds no Kubernetes object"))
        return self._finish(files, skip_invalid)

    def run_documents(self, documents: Iterable[Document], skip_invalid: bool) -> Loaded:
        for document in documents:
            self._take(document, direct=False)
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
            ignored=dict(sorted(self.ignored.items())),
            passed_over={reason: tuple(paths) for reason, paths in findings.passed_over.items()},
            files=files,
            documents=self.documents,
            workloads=tuple(workload.ref for workload in self.workloads),
            unscaled=frozenset(item.ref for item in self.workloads if not item.scaled),
            origins=_Origins(self._defined),
            unplaced=self.objects.unplaced + self.policy_reader.unplaced,
        )

    def _take(self, document: Document, direct: bool) -> None:
        if document.body is None:
            self._take_value(document, direct)
            return
        origin, body = document.origin, document.body
        kind = self._last
        try:
            head = KNOWN[kind].decoder.decode(body)
            guessed = (head.kind or document.kind) == kind
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            guessed = False
        if not guessed:
            try:
                head = HEAD.decode(body)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                report_invalid(DocumentPlace(self.findings, origin), error, body)
                return
            kind = head.kind or document.kind or ""
        api_version = head.api_version or document.api_version
        known = KNOWN.get(kind)
        if known is None or not known.accepts(api_version):
            self._take_other(kind, api_version, document, direct)
            return
        self.documents += 1
        self._last = kind
        if not guessed:
            try:
                head = known.decoder.decode(body)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                place = self.objects.place(kind, origin, body)
                if kind in exposing.KINDS:  # no verdict depends on it: a warning is enough
                    aside = Findings()
                    report_invalid(DocumentPlace(aside, origin, place.subject), error, body)
                    self.findings.warnings += aside.errors
                else:
                    report_invalid(place, error, body)
                return
        reader = getattr(self, known.reader)
        record: Record | None = getattr(reader, known.method)(kind, head, origin)
        if record is not None:
            self._add(kind, record, origin)

    def _take_value(self, document: Document, direct: bool) -> None:
        """A document that PyYAML read: a policy is read from its value, others through JSON."""
        value, origin = document.value, document.origin
        if not isinstance(value, dict):
            if direct or document.listed:
                message = f"{NOT_AN_OBJECT}: it is {type_name(value)}"
                DocumentPlace(self.findings, origin).error((), message)
            else:
                self.ignored[NOT_AN_OBJECT] += 1
            return
        kind = value.get("kind") or document.kind
        api_version = value.get("apiVersion") or document.api_version
        if isinstance(kind, str) and isinstance(api_version, str):
            api = policies.read_as(api_version, kind)
            if api is not None:
                self._take_policy(api, value, origin, api_version)
                return
        try:
            body = msgspec.json.encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            DocumentPlace(self.findings, origin, str(kind)).error((), f"cannot be read: {error}")
            return
        document.body = body
        self._take(document, direct)

    def _take_policy(self, api: str, value: Any, origin: Origin, api_version: str) -> None:
        self.documents += 1
        found = self.policy_reader.read(api, value, origin, api_version)
        if found is not None:
            self._add(found.kind, found, origin)

    def _take_other(
        self, kind: str, api_version: str | None, document: Document, direct: bool
    ) -> None:
        """A policy, or a document of a kind that is not used, which is counted or reported."""
        api = policies.read_as(api_version, kind)
        if api is None:
            self._leave_out(kind, api_version, document, direct)
            return
        origin = document.origin
        assert document.body is not None  # another was read from its value
        try:
            value = json_text.parse(document.body)
        except json_text.JsonError as error:
            DocumentPlace(self.findings, origin, kind).error((), error.message)
            return
        self._take_policy(api, value, origin, api_version or "")

    def _leave_out(
        self, kind: str, api_version: str | None, document: Document, direct: bool
    ) -> None:
        known = KNOWN.get(kind)
        place = DocumentPlace(self.findings, document.origin, kind)
        if not kind or not api_version:
            if known or policies.is_policy(kind) or direct or document.listed:
                self.documents += 1
                place.error(("apiVersion" if kind else "kind",), required())
            else:
                self.ignored[NOT_AN_OBJECT] += 1
            return
        self.documents += 1
        group = group_of(api_version)
        if kind.endswith("List") and _is_list(kind, group, document):
            # Its objects must not be lost for the list's sake.
            place.error(("items",), "Invalid value: expected a list of objects, and no lists in it")
            return
        right = right_version(group, kind)
        if right is not None:
            a = "an" if kind[0] in "AEIOU" else "a"
            place.error(("apiVersion",), invalid(api_version, f"{a} {kind} is of {right}"))
            return
        if (group, kind) in TEMPLATES:
            self._take_templates(group, kind, document)
            return
        gap = gap_of(group, kind)
        if gap is Gap.NOT_READ and document.has_containers:
            self._take_templates(group, kind, document)
        elif gap is None:
            self.ignored[f"{kind}.{group}" if known else kind] += 1
        else:
            self._left_out.add(group, kind, gap, document)

    def _take_templates(self, group: str, kind: str, document: Document) -> None:
        """Read the pod templates of a kind that Kubernetes does not have; where there are none,
        its pods are not modelled."""
        origin, value = document.origin, document.value
        try:
            if document.body is not None:
                value = json_text.parse(document.body)
        except json_text.JsonError as error:
            DocumentPlace(self.findings, origin, kind).error((), error.message)
            return
        found = found_in((group, kind), value)
        known = (group, kind) in TEMPLATES
        if not found:
            self._left_out.add(group, kind, Gap.PODS if known else Gap.NOT_READ, document)
            return
        if not known:
            self._left_out.add(group, kind, Gap.GENERIC, document)
        record = self.objects.custom((group, kind), value, found, origin)
        if record is not None:
            self._add(record.ref.kind, record, origin)

    def _add(self, kind: str, record: Record | Policy | Definition, origin: Origin) -> None:
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
        return (*whole, *self.policy_reader.unevaluated)

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


def _is_list(kind: str, group: str, document: Document) -> bool:
    """Whether a document without a list of items is meant to be one."""
    single = kind.removesuffix("List")
    if not single or single in KNOWN or is_known(group, single):
        return True
    return not metadata_of(document).name


class _Origins(Mapping[ObjectKey, Origin]):
    """What is known of the objects of a load, as far as it says where they came from."""

    def __init__(
        self, defined: Mapping[ObjectKey, tuple[Record | Policy | Definition, Origin]]
    ) -> None:
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
