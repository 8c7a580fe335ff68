"""The objects of a cluster that changes, one by one, as a load reads them; what changes as edits.

:class:`Held` reads each document by the reader of files. After any sequence of documents,
:meth:`Held.whole` is the cluster that a load of those that are there gives, and the edits of
:meth:`Held.edit` lead from each state to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from kubeverdict.errors import Problem
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.findings import Findings
from kubeverdict.manifests.held_pods import SpacePods
from kubeverdict.manifests.held_policies import HeldPolicies
from kubeverdict.manifests.left_out import LeftOut, metadata_of
from kubeverdict.manifests.loading import with_implied
from kubeverdict.manifests.objects import CLUSTER_SCOPED, PodRecord, WorkloadRecord
from kubeverdict.manifests.policies import evaluated_as, path_of, policy_gap
from kubeverdict.manifests.reading import DocumentReader, ReadObject
from kubeverdict.manifests.repeated import same
from kubeverdict.manifests.resources import Resource
from kubeverdict.model.cluster import (
    ApiServerCalls,
    Cluster,
    Ingress,
    Namespace,
    Node,
    Service,
)
from kubeverdict.model.defaults import DEFAULT_NAMESPACE
from kubeverdict.model.edit import Edit, PolicyKey, endpoints_key, ingress_key
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.policy import Policy
from kubeverdict.model.references import AddressSet, TierDefinition
from kubeverdict.model.sources import FieldPath, Origin
from kubeverdict.model.surroundings import Surroundings
from kubeverdict.model.unevaluated import Gap, Unevaluated

# What readers share between objects grows with what they have read: after so many documents they
# begin anew.
_READ_BY_ONE = 100_000

_OF_POLICIES = Policy | AddressSet | TierDefinition


class Unread(msgspec.Struct, frozen=True, gc=False):
    """Where an object is from that has no lines. Implements ``model.sources.Origin``."""

    file: str

    def line_of(self, path: FieldPath) -> int:
        return 0


class ObjectKey(NamedTuple):
    """An object of an API server. ``namespace`` is empty where its kind has none."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource[1]} {path_of(self.namespace, self.name)}"


class Aside(NamedTuple):
    """What is to be said of an object: what is wrong with it, warnings, and what verdicts miss.
    ``left_out`` is set where it is not read at all: what verdicts miss, and its origin's file."""

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    unevaluated: tuple[Unevaluated, ...]
    left_out: tuple[Gap, str] | None


class Read(NamedTuple):
    """A document that was read: the object, None where there is none, and what is to be said."""

    key: ObjectKey
    record: ReadObject | None
    aside: Aside | None


class _Table:
    """The objects of one type, and which of them changed, each with whether it was there."""

    def __init__(self, field: str, key: Callable[[Any], Any]) -> None:
        self.field = field
        self.key = key
        self.now: dict[Any, Any] = {}
        self.touched: dict[Any, bool] = {}

    def change(self, old: Any, new: Any) -> None:
        for record in (old, new):
            if record is not None:
                key = self.key(record)
                self.touched.setdefault(key, key in self.now)
        if old is not None:
            self.now.pop(self.key(old), None)
        if new is not None:
            self.now[self.key(new)] = new

    def edit(self) -> dict[str, tuple[Any, ...]]:
        """The fields of an edit."""
        touched, self.touched = self.touched, {}
        gone = tuple(key for key, was in touched.items() if was and key not in self.now)
        there = tuple(self.now[key] for key in touched if key in self.now)
        fields = {f"{self.field}_out": gone, f"{self.field}_in": there}
        return {name: found for name, found in fields.items() if found}


class Held:
    """What an API server, or anything else that has one object of each key, holds now."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[tuple[str, str], ReadObject]] = {}
        self._aside: dict[ObjectKey, Aside] = {}
        self._tables: dict[type, _Table] = {
            Namespace: _Table("namespaces", lambda one: one.name),
            Node: _Table("nodes", lambda one: one.name),
            Service: _Table("services", lambda one: (one.namespace, one.name)),
            EndpointList: _Table("endpoints", endpoints_key),
            Ingress: _Table("ingresses", ingress_key),
            ApiServerCalls: _Table("api_server_calls", lambda one: (one.kind, one.name)),
        }
        self._policies = HeldPolicies()
        self._spaces: dict[str, SpacePods] = {}
        self._touched_spaces: set[str] = set()
        self._missing: tuple[Unevaluated, ...] = ()
        self._aside_changed = False
        self._findings = Findings()
        self._got: list[ReadObject] = []
        self._left: list[tuple[Gap, str]] = []
        self._renew()

    def _renew(self) -> None:
        self._reader = DocumentReader(self._findings, DEFAULT_NAMESPACE, self)

    # --- what a reader calls ------------------------------------------------------------------

    def add(self, kind: str, record: ReadObject, origin: Origin) -> None:
        self._got.append(record)

    def leave_out(self, group: str, kind: str, gap: Gap, document: Document) -> None:
        self._left.append((gap, document.origin.file))

    # --- objects ------------------------------------------------------------------------------

    def read(self, resource: Resource, document: Document) -> Read:
        """Read one document of ``resource``, without taking it."""
        if self._reader.documents >= _READ_BY_ONE:
            self._renew()
        reader, findings = self._reader, self._findings
        reader.take(document, direct=False)
        record = self._got.pop() if self._got else None
        key = _key_of(resource, document, record)
        parts = reader.policy_reader.unevaluated
        aside = None
        if findings.errors or findings.warnings or parts or self._left:
            left = self._left.pop() if self._left else None
            unevaluated = (*parts, *_unreadable(key, findings.errors))
            errors, warnings = tuple(findings.errors), tuple(findings.warnings)
            aside = Aside(errors, warnings, unevaluated, left)
            findings.errors.clear()
            findings.warnings.clear()
            parts.clear()
            self._got.clear()
            self._left.clear()
        return Read(key, record, aside)

    def take(self, read: Read) -> bool:
        """Have what was read in the place of what is held of the key; whether that changes
        anything."""
        return self._put(*read)

    def remove(self, key: ObjectKey) -> bool:
        """Take an object out; whether it was there."""
        return self._put(key, None, None)

    def differs(self, read: Read) -> bool:
        """Whether :meth:`take` would change anything."""
        old = self._objects.get(read.key.resource, {}).get(read.key[1:])
        return not _alike(old, read.record) or self._aside.get(read.key) != read.aside

    def has(self, key: ObjectKey) -> bool:
        """Whether an object is held, readable or not."""
        return key[1:] in self._objects.get(key.resource, ()) or key in self._aside

    def keys(self, resource: Resource) -> set[ObjectKey]:
        """The objects of a kind that are held, whether or not they could be read."""
        found = {ObjectKey(resource, *name) for name in self._objects.get(resource, ())}
        return found.union(key for key in self._aside if key.resource == resource)

    def _put(self, key: ObjectKey, record: ReadObject | None, aside: Aside | None) -> bool:
        objects = self._objects.setdefault(key.resource, {})
        old = objects.get(key[1:])
        changed = not _alike(old, record)
        if self._aside.get(key) != aside:
            changed = self._aside_changed = True
            if aside is None:
                del self._aside[key]
            else:
                self._aside[key] = aside
        if record is None:
            objects.pop(key[1:], None)
        elif changed:
            objects[key[1:]] = record
        if changed and not (old is None and record is None):
            self._change(key, old, record)
        return changed

    def _change(self, key: ObjectKey, old: ReadObject | None, new: ReadObject | None) -> None:
        table = self._tables.get(type(old if new is None else new))
        if table is not None:
            table.change(old, new)
            return
        if isinstance(old, _OF_POLICIES | None) and isinstance(new, _OF_POLICIES | None):
            self._policies.change(old, new)
            return
        self._touched_spaces.add(key.namespace)
        space = self._spaces.setdefault(key.namespace, SpacePods())
        if isinstance(old, WorkloadRecord):
            space.remove_workload(old.ref)
        if isinstance(new, WorkloadRecord):
            space.put_workload(new)
        if isinstance(new, PodRecord):
            space.put_pod(new)
        elif isinstance(old, PodRecord):
            space.remove_pod(old.name)

    # --- what is to be said -------------------------------------------------------------------

    @property
    def missing(self) -> tuple[Unevaluated, ...]:
        """What is not known, such as kinds that may not be read."""
        return self._missing

    @missing.setter
    def missing(self, found: tuple[Unevaluated, ...]) -> None:
        self._aside_changed |= found != self._missing
        self._missing = found

    @property
    def policies(self) -> frozenset[PolicyKey]:
        """The policies that there are, as of now."""
        return self._policies.keys

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What is wrong with objects that could not be read."""
        return tuple(one for aside in self._aside.values() for one in aside.errors)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(one for aside in self._aside.values() for one in aside.warnings)

    # --- results ------------------------------------------------------------------------------

    def whole(self) -> Cluster:
        """All of it. Later edits start from here."""
        self.edit()
        tables = {table.field: tuple(table.now.values()) for table in self._tables.values()}
        pods = tuple(pod for space in self._spaces.values() for pod in space.pods)
        policies = self._policies.all
        tables["namespaces"] = with_implied(
            tables["namespaces"], pods, policies, tables["services"]
        )
        return Cluster(
            pods=pods,
            policies=policies,
            unevaluated=self._unevaluated(),
            references=self._policies.references,
            **tables,
        )

    def edit(self) -> Edit:
        """What changed since the last call, or since :meth:`whole`; it may be nothing."""
        fields: dict[str, Any] = {}
        around = False
        nodes = self._tables[Node]
        names_changed = any(was != (name in nodes.now) for name, was in nodes.touched.items())
        spaces_touched = bool(self._tables[Namespace].touched)
        for kind, table in self._tables.items():
            if table.touched:
                around |= kind in (Service, EndpointList, Node)
                fields |= table.edit()
        fields |= self._policies.edit(self._labels, self._surroundings, around, spaces_touched)
        if names_changed:
            changed = (name for name, one in self._spaces.items() if one.nodes_changed())
            self._touched_spaces.update(changed)
        if self._touched_spaces:
            fields |= self._pods(tuple(nodes.now))
        if self._aside_changed:
            self._aside_changed = False
            fields["all_unevaluated"] = self._unevaluated()
        return Edit("live", **fields)

    def _pods(self, nodes: tuple[str, ...]) -> dict[str, Any]:
        put_in, out = [], []
        for name in self._touched_spaces:
            space = self._spaces[name]
            changes = space.changes(nodes)
            put_in += changes.put_in
            out += [(name, pod) for pod in changes.out]
            if space.is_empty:
                del self._spaces[name]
        self._touched_spaces.clear()
        return {"pods_out": tuple(out), "pods_in": tuple(put_in)}

    def _labels(self) -> Mapping[str, Mapping[str, str]]:
        return {one.name: one.labels for one in self._tables[Namespace].now.values()}

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            *(tuple(self._tables[kind].now.values()) for kind in (Service, EndpointList, Node))
        )

    def _unevaluated(self) -> tuple[Unevaluated, ...]:
        left = LeftOut()
        parts: list[Unevaluated] = []
        for key, aside in self._aside.items():
            if aside.left_out is not None:
                gap, file = aside.left_out
                left.add(*key.resource, gap, _only_named(key, file))
            parts += aside.unevaluated
        # None of the kinds that are read one by one makes pods: no matter which pods there are.
        return (*left.report((), (), {}), *parts, *self._missing)


def key_of(resource: Resource, document: Document) -> ObjectKey:
    """The key of an object of a kind, read or not."""
    found = metadata_of(document)
    space = "" if resource[1] in CLUSTER_SCOPED else found.namespace or ""
    return ObjectKey(resource, space, found.name or "")


def _key_of(resource: Resource, document: Document, record: ReadObject | None) -> ObjectKey:
    """The same as :func:`key_of`, without looking for the metadata again where the record has what
    stands there; policies may be called otherwise than their objects."""
    if isinstance(record, WorkloadRecord):
        return ObjectKey(resource, record.ref.namespace, record.ref.name)
    if record is None or isinstance(record, _OF_POLICIES):
        return key_of(resource, document)
    return ObjectKey(resource, getattr(record, "namespace", None) or "", record.name)


def _only_named(key: ObjectKey, file: str) -> Document:
    """An object of which nothing is kept but its name."""
    body = msgspec.json.encode({"metadata": {"namespace": key.namespace, "name": key.name}})
    return Document(Unread(file), body)


def _alike(one: ReadObject | None, other: ReadObject | None) -> bool:
    if one is None or other is None:
        return one is other
    if (
        isinstance(one, Policy)
        and isinstance(other, Policy)
        and one.source.file != other.source.file
    ):
        return False  # rules are named with the version that they are from
    return type(one) is type(other) and same(one, other)


def _unreadable(key: ObjectKey, errors: Iterable[Problem]) -> list[Unevaluated]:
    """A policy that cannot be read could decide anything."""
    group, kind = key.resource
    problem = next(iter(errors), None)
    decides = policy_gap(group, kind) is not None or evaluated_as(group, kind) is not None
    if problem is None or not decides:
        return []
    name = path_of(key.namespace, key.name)
    return [Unevaluated(kind, group, Gap.POLICY, 1, problem.file, 0, (name,), detail=str(problem))]
