"""Scenarios: named lists of changes, read from files or made for each of something.

A scenario file is YAML (a list, or several documents), JSON, or JSON Lines::

    - name: drop the old policy
      changes:
        - delete: networkpolicy/shop/old
        - apply: {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, ...}
        - apply: manifests/new.yaml
        - label: deployment/shop/web
          set: {tier: front}
          remove: [legacy]
        - scale: deployment/shop/web
          replicas: 5
        - cni: calico

A file that holds Kubernetes objects instead is one scenario: they are applied. Scenarios are plain
data, so that they can be sent to another process.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from kubeverdict.errors import InputError, Problem, UsageError
from kubeverdict.manifests import policies, sources
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.objects import MAX_REPLICAS
from kubeverdict.manifests.resources import group_of
from kubeverdict.manifests.validation import (
    invalid,
    label_key_errors,
    label_value_errors,
    quoted,
    required,
    unsupported,
    wrong_type,
)
from kubeverdict.manifests.values import Entry, entries
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.defaults import DEFAULT_NAMESPACE
from kubeverdict.model.edit import policy_key
from kubeverdict.model.profile import PROFILES
from kubeverdict.model.sources import FieldPath

# The fields that go with each change.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "apply": (),
    "delete": (),
    "label": ("set", "remove"),
    "scale": ("replicas",),
    "cni": (),
}


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change. ``kind`` is a key of the notation above; ``target`` is what it is about, as
    KIND/NAMESPACE/NAME, or the name of a CNI. ``text`` holds manifests to apply, which begin at
    ``line`` of ``file``; those that do not say are in ``namespace``."""

    kind: str
    file: str = ""
    line: int = 0
    target: str = ""
    text: str = ""
    set: dict[str, str] = {}
    remove: tuple[str, ...] = ()
    replicas: int = 0
    namespace: str = DEFAULT_NAMESPACE


class Scenario(msgspec.Struct, frozen=True, omit_defaults=True):
    """A named list of changes. ``error`` says why it cannot be judged, a line for each mistake."""

    name: str
    changes: tuple[Change, ...] = ()
    error: str = ""


# --- read from files ---------------------------------------------------------------------------


def read_scenarios(path: str, namespace: str = DEFAULT_NAMESPACE) -> list[Scenario]:
    """The scenarios of a file, or of a folder with one of manifests in each file; ``-`` is
    standard input. Manifests that do not say are in ``namespace``.

    A scenario that is wrong has an error with its place, and no other suffers. Raises InputError
    for a path that cannot be read, and for names that are not unique.
    """
    findings = Findings()
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    names = _Names()
    found: list[Scenario] = []
    for buffer in sources.read([path], None, findings):
        short = os.path.relpath(buffer.name, folder)
        text = sources.text(buffer, findings)
        if text is None:
            continue
        read = list(entries(buffer.name, text))
        if not read:
            message = "holds neither scenarios nor Kubernetes objects"
            findings.errors.append(Problem(buffer.name, 0, "", message))
            continue
        if not any(map(_is_scenario, read)):
            change = Change("apply", buffer.name, 1, text=text, namespace=namespace)
            found.append(names.take(Scenario(short, (change,)), buffer.name, 0))
            continue
        for one in read:
            if isinstance(one, Problem):
                broken = Scenario(f"{short}:{one.line}", error=str(one))
                found.append(names.take(broken, one.file, one.line))
            else:
                line = one.text.line_of(one.at)
                found.append(
                    names.take(_scenario(one, f"{short}:{line}", namespace), buffer.name, line)
                )
    if findings.fatal:
        raise InputError(findings.fatal)
    for problem in findings.errors:
        found.append(Scenario(os.path.relpath(problem.file, folder), error=str(problem)))
    names.check()
    return found


def _is_scenario(one: Entry | Problem) -> bool:
    """Whether a value is meant as a scenario, right or wrong, and not as a Kubernetes object."""
    if isinstance(one, Problem):
        return False
    if one.at or not isinstance(one.value, dict):
        return bool(one.at)
    return "changes" in one.value or one.value.keys().isdisjoint(("apiVersion", "kind"))


class _Names:
    """Where each name is from."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._problems: list[Problem] = []

    def take(self, scenario: Scenario, file: str, line: int) -> Scenario:
        first = self._places.get(scenario.name)
        if first is not None:
            message = f"another scenario has the name {quoted(scenario.name)}: {first}"
            self._problems.append(Problem(file, line, "name", message))
        self._places[scenario.name] = f"{file}:{line}" if line else file
        return scenario

    def check(self) -> None:
        if self._problems:
            raise InputError(self._problems)


def _scenario(entry: Entry, place: str, namespace: str) -> Scenario:
    """The scenario in an entry, named after its place where it has no name."""
    name = entry.value.get("name") if isinstance(entry.value, dict) else None
    if not isinstance(name, str) or not name:
        name = place
    reader = _Reader(entry, namespace)
    changes = tuple(reader.changes())
    if reader.errors:
        return Scenario(name, error="\n".join(map(str, reader.errors)))
    return Scenario(name, changes)


class _Reader:
    """Reads one scenario, and notes every mistake in it."""

    def __init__(self, entry: Entry, namespace: str) -> None:
        self._entry = entry
        self._namespace = namespace
        self._findings = Findings()
        self._file = entry.text.file

    @property
    def errors(self) -> list[Problem]:
        return self._findings.errors

    def _wrong(self, path: FieldPath, message: str) -> None:
        """A mistake in the field at ``path``, which begins at the scenario."""
        whole = (*self._entry.at, *path)
        DocumentPlace(self._findings, self._entry.text).error(path, message, at=whole)

    def _line(self, path: FieldPath) -> int:
        return self._entry.text.line_of((*self._entry.at, *path))

    def changes(self) -> Iterator[Change]:
        value = self._entry.value
        if not isinstance(value, dict):
            self._wrong((), wrong_type(value, "a scenario, with name and changes"))
            return
        for key in value:
            if key not in ("name", "changes"):
                self._wrong((key,), "unknown field: a scenario has name and changes")
        name = value.get("name")
        if name is not None and not isinstance(name, str):
            self._wrong(("name",), wrong_type(name, "a string"))
        elif not name:
            self._wrong(("name",), required())
        changes = value.get("changes")
        if changes is not None and not isinstance(changes, list):
            self._wrong(("changes",), wrong_type(changes, "a list"))
        elif not changes:
            self._wrong(("changes",), required("a scenario changes something"))
        else:
            for index, change in enumerate(changes):
                yield from self._change(change, ("changes", index))

    def _change(self, value: Any, at: FieldPath) -> Iterator[Change]:
        kinds = [key for key in value if key in _FIELDS] if isinstance(value, dict) else []
        if len(kinds) != 1:
            self._wrong(at, f"a change is one of {', '.join(_FIELDS)}")
            return
        (kind,) = kinds
        for key in value:
            if key != kind and key not in _FIELDS[kind]:
                self._wrong((*at, key), f"unknown field for {kind}")
        if kind == "apply":
            yield from self._applied(value[kind], (*at, kind))
            return
        target = self._target(kind, value[kind], (*at, kind))
        replicas = self._replicas(value, at) if kind == "scale" else 0
        labels, remove = self._labels(value, at) if kind == "label" else ({}, ())
        line = self._line((*at, kind))
        yield Change(kind, self._file, line, target, set=labels, remove=remove, replicas=replicas)

    def _target(self, kind: str, target: Any, at: FieldPath) -> str:
        if not isinstance(target, str):
            self._wrong(at, wrong_type(target, "a string"))
            return ""
        if not target:
            self._wrong(at, required())
        elif kind == "cni" and target not in PROFILES:
            self._wrong(at, unsupported(target, tuple(PROFILES)))
        return target

    def _replicas(self, value: dict[str, Any], at: FieldPath) -> int:
        replicas = value.get("replicas")
        if replicas is None:
            self._wrong((*at, "replicas"), required())
        elif type(replicas) is not int:
            self._wrong((*at, "replicas"), wrong_type(replicas, "an integer"))
        elif not 0 <= replicas <= MAX_REPLICAS:
            message = invalid(replicas, f"must be between 0 and {MAX_REPLICAS}")
            self._wrong((*at, "replicas"), message)
        else:
            return replicas
        return 0

    def _labels(
        self, value: dict[str, Any], at: FieldPath
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        labels = value.get("set") or {}
        remove = value.get("remove") or []
        if not isinstance(labels, dict):
            self._wrong((*at, "set"), wrong_type(labels, "an object"))
            labels = {}
        elif not isinstance(remove, list):
            self._wrong((*at, "remove"), wrong_type(remove, "a list"))
            remove = []
        elif not labels and not remove:
            self._wrong(at, required("give set or remove"))
        for key, text in labels.items():
            for message in _label_errors(key, text):
                self._wrong((*at, "set", key), message)
        for index, key in enumerate(remove):
            for message in _label_errors(key, ""):
                self._wrong((*at, "remove", index), message)
        return labels, tuple(remove)

    def _applied(self, value: Any, at: FieldPath) -> Iterator[Change]:
        if isinstance(value, dict):
            text, line = self._entry.text.excerpt((*self._entry.at, *at))
            yield Change("apply", self._file, line, text=text, namespace=self._namespace)
            return
        if not isinstance(value, str) or value in ("", "-"):
            self._wrong(at, "must be a Kubernetes object, or the path of manifests")
            return
        findings = Findings()
        for buffer in sources.read(
            [os.path.join(os.path.dirname(self._file), value)], None, findings
        ):
            text = buffer.data[:].decode("utf-8", "replace")
            yield Change("apply", buffer.name, 1, text=text, namespace=self._namespace)
        for problem in findings.fatal + findings.errors:
            self._wrong(at, str(problem))


def _label_errors(key: Any, value: Any) -> Iterator[str]:
    for text in (key, value):
        if not isinstance(text, str):
            yield wrong_type(text, "a string")
            return
    yield from (invalid(key, message) for message in label_key_errors(key))
    yield from (invalid(value, message) for message in label_value_errors(value))


# --- made for each of something ----------------------------------------------------------------


def delete_each(cluster: Cluster) -> Iterator[Scenario]:
    """Every policy removed on its own."""
    for kind, namespace, name in map(policy_key, cluster.policies):
        target = f"{kind.lower()}/{policies.path_of(namespace, name)}"
        yield Scenario(f"delete {target}", (Change("delete", target=target),))


def relabel_each(cluster: Cluster, label: str) -> Iterator[Scenario]:
    """A label set on each workload in turn (``KEY=VALUE``) or taken off it (``KEY-``)."""
    key, equals, value = label.partition("=")
    removes = not equals and key.endswith("-")
    key = key.removesuffix("-") if removes else key
    if not (equals or removes):
        raise UsageError(f"{label!r}: write it as KEY=VALUE, or as KEY- to remove a label")
    for message in _label_errors(key, value):
        raise UsageError(f"{label!r}: {message}")
    for ref in dict.fromkeys(pod.workload for pod in cluster.pods):
        target = f"{ref.kind.lower()}/{ref.namespace}/{ref.name}"
        change = (
            Change("label", target=target, remove=(key,))
            if removes
            else Change("label", target=target, set={key: value})
        )
        yield Scenario(f"label {target} {label}", (change,))


def apply_each(
    path: str, namespace: str = DEFAULT_NAMESPACE
) -> tuple[list[Scenario], dict[str, int]]:
    """Each policy in a file or folder on its own, in the order in which they come; and how many
    objects of other kinds are there, by kind. Policies that do not say are in ``namespace``.

    Raises InputError for what cannot be read, and where there is no policy.
    """
    findings = Findings()
    names = _Names()
    found: list[Scenario] = []
    others: Counter[str] = Counter()
    for buffer in sources.read([path], None, findings):
        text = buffer.data[:].decode("utf-8", "replace")
        for entry in entries(buffer.name, text):
            if isinstance(entry, Problem):
                findings.errors.append(entry)
                continue
            for at, value, missing in _objects(entry):
                head = {**missing, **value} if isinstance(value, dict) else {}
                kind, api_version = head.get("kind"), head.get("apiVersion")
                api = policies.evaluated_as(group_of(str(api_version or "")), str(kind))
                if api is None or not policies.is_evaluated(api):
                    others[str(kind or "document without a kind")] += 1
                    continue
                excerpt, line = entry.text.excerpt(at, **missing)
                change = Change("apply", buffer.name, line, text=excerpt, namespace=namespace)
                name = f"apply {api.lower()}/{_path(value, api, namespace)}"
                found.append(names.take(Scenario(name, (change,)), buffer.name, line))
    if findings.fatal or findings.errors:
        raise InputError(findings.fatal + findings.errors)
    if not found:
        raise InputError([Problem(path, 0, "", f"holds no {' or '.join(policies.EVALUATED)}")])
    names.check()
    return found, dict(sorted(others.items()))


def _objects(entry: Entry) -> Iterable[tuple[FieldPath, Any, dict[str, str]]]:
    """The objects of an entry, lists taken apart: path, value, and the fields that an item of a
    typed list has without saying so."""
    value = entry.value
    kind = str(value.get("kind")) if isinstance(value, dict) else ""
    items = value.get("items") if kind.endswith("List") else None
    if not isinstance(items, list):
        yield entry.at, value, {}
        return
    for index, item in enumerate(items):
        missing = {}
        if kind != "List" and isinstance(item, dict) and "kind" not in item:
            missing["kind"] = kind.removesuffix("List")
            missing["apiVersion"] = str(value.get("apiVersion"))
        yield (*entry.at, "items", index), item, missing


def _path(policy: dict[str, Any], api: str, default: str) -> str:
    metadata = policy.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    namespace = metadata.get("namespace") or default if policies.is_namespaced(api) else None
    return policies.path_of(namespace, str(metadata.get("name")))
