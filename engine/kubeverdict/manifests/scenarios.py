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
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from kubeverdict.errors import InputError, Problem, UsageError
from kubeverdict.manifests import json_text, sources, yaml_text
from kubeverdict.manifests.findings import Findings
from kubeverdict.manifests.origins import json_tokens, lines_by_path, yaml_tokens
from kubeverdict.manifests.validation import quoted, type_name
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import policy_key
from kubeverdict.model.profile import PROFILES
from kubeverdict.model.sources import FieldPath, field_text

# The fields that go with each change.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "apply": (),
    "delete": (),
    "label": ("set", "remove"),
    "scale": ("replicas",),
    "cni": (),
}
_JSON_ENDINGS = (".json", ".jsonl", ".ndjson")


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change. ``kind`` is a key of the notation above; ``target`` is what it is about, as
    KIND/NAMESPACE/NAME, or the name of a CNI. ``text`` holds manifests to apply, which begin at
    ``line`` of ``file``."""

    kind: str
    file: str = ""
    line: int = 0
    target: str = ""
    text: str = ""
    set: dict[str, str] = {}
    remove: tuple[str, ...] = ()
    replicas: int = 0


class Scenario(msgspec.Struct, frozen=True, omit_defaults=True):
    """A named list of changes. ``error`` says why it cannot be judged."""

    name: str
    changes: tuple[Change, ...] = ()
    error: str = ""


def read_scenarios(path: str) -> list[Scenario]:
    """The scenarios of a file, or of a folder with one of manifests in each file.

    A scenario that is wrong has an error with its place. Raises InputError for a file that
    cannot be read, and for names that are not unique.
    """
    findings = Findings()
    found: list[Scenario] = []
    folder = Path(path) if os.path.isdir(path) else Path(path).parent
    for buffer in _buffers(path, findings):
        name = os.path.relpath(buffer.name, folder)
        try:
            text = buffer.data[:].decode()
        except UnicodeDecodeError as error:
            raise InputError([Problem(buffer.name, 0, "", f"not UTF-8 text: {error}")]) from None
        entries = list(_entries(buffer.name, text, findings))
        if any(isinstance(one.value, dict) and "changes" in one.value for one in entries):
            found += (
                _Reader(buffer.name, one.line_of).scenario(one.value, one.at) for one in entries
            )
        elif not findings.errors:
            found.append(Scenario(name, (Change("apply", buffer.name, 1, text=text),)))
    if findings.fatal or findings.errors:
        raise InputError(findings.fatal + findings.errors)
    _check_names(path, found)
    return found


def _buffers(path: str, findings: Findings) -> Iterator[sources.Buffer]:
    yield from sources.read([path], None, findings)


def _check_names(path: str, scenarios: Sequence[Scenario]) -> None:
    names: set[str] = set()
    for scenario in scenarios:
        if scenario.name in names:
            message = f"two scenarios have the name {quoted(scenario.name)}"
            raise InputError([Problem(path, 0, "", message)])
        names.add(scenario.name)


LineOf = Callable[[FieldPath], int]


class _Entry(NamedTuple):
    """A value in a file: its path in its document, the lines of that, its text and where the
    text begins."""

    value: Any
    at: FieldPath
    line_of: LineOf
    text: str
    line: int


def _entries(name: str, text: str, findings: Findings) -> Iterator[_Entry]:
    """The values in a file, lists taken apart: each with its path in its document and the lines
    of that."""
    if name.lower().endswith(_JSON_ENDINGS) or text.lstrip()[:1] in ("{", "["):
        yield from _json_entries(name, text, findings)
        return
    for part in yaml_text.documents(text):
        piece = text[part.start : part.end]
        try:
            value, _ = yaml_text.parse(piece)
        except yaml_text.TextError as error:
            findings.errors.append(Problem(name, part.line + error.line, "", error.message))
            continue
        yield from _taken_apart(value, yaml_tokens, piece, part.line)


def _json_entries(name: str, text: str, findings: Findings) -> Iterator[_Entry]:
    data = text.encode()
    try:
        for start, end in json_text.concatenated(data):
            line = 1 + data[:start].count(b"\n")
            piece = data[start:end]
            yield from _taken_apart(json_text.parse(piece), json_tokens, piece.decode(), line)
    except json_text.JsonError as error:
        line = 1 + data[: error.at].count(b"\n")
        findings.errors.append(Problem(name, line, "", error.message))


def _taken_apart(
    value: Any, tokens: Callable[[str], Iterator[Any]], text: str, line: int
) -> Iterator[_Entry]:
    line_of = _lines(partial(tokens, text), line)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield _Entry(item, (index,), line_of, text, line)
    elif value is not None:
        yield _Entry(value, (), line_of, text, line)


def _lines(tokens: Callable[[], Iterator[Any]], first: int) -> LineOf:
    """Lines of a document's fields, found when one is asked for."""
    known: dict[FieldPath, int] = {}

    def line_of(path: FieldPath) -> int:
        if not known:
            known.update(lines_by_path(tokens(), first))
            known.setdefault((), first)
        while path not in known:
            path = path[:-1]
        return known[path]

    return line_of


class _WrongError(Exception):
    """A mistake in a scenario: the path of the field and the message."""

    def __init__(self, path: FieldPath, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


class _Reader:
    """Makes scenarios of the values of one file."""

    def __init__(self, file: str, line_of: LineOf) -> None:
        self._file = file
        self._line_of = line_of

    def scenario(self, value: Any, at: FieldPath) -> Scenario:
        line = self._line_of(at)
        name = value.get("name") if isinstance(value, dict) else None
        if not isinstance(name, str) or not name:
            name = f"{os.path.basename(self._file)}:{line}"
        try:
            return Scenario(name, tuple(self._changes(value, at)))
        except _WrongError as wrong:
            field = field_text(wrong.path[len(at) :])
            problem = Problem(self._file, self._line_of(wrong.path), field, wrong.message)
            return Scenario(name, error=str(problem))

    def _changes(self, value: Any, at: FieldPath) -> Iterator[Change]:
        if not isinstance(value, dict):
            raise _WrongError(at, f"a scenario is name and changes, not {type_name(value)}")
        for key in value:
            if key not in ("name", "changes"):
                raise _WrongError((*at, key), "unknown field: a scenario has name and changes")
        if not isinstance(value.get("name"), str) or not value["name"]:
            raise _WrongError((*at, "name"), "a scenario needs a name")
        changes = value.get("changes")
        if not isinstance(changes, list) or not changes:
            raise _WrongError((*at, "changes"), "must be a list of changes that is not empty")
        for index, change in enumerate(changes):
            yield from self._change(change, (*at, "changes", index))

    def _change(self, value: Any, at: FieldPath) -> Iterator[Change]:
        kinds = [key for key in value if key in _FIELDS] if isinstance(value, dict) else []
        if len(kinds) != 1:
            raise _WrongError(at, f"a change is one of {', '.join(_FIELDS)}")
        (kind,) = kinds
        for key in value:
            if key != kind and key not in _FIELDS[kind]:
                raise _WrongError((*at, key), f"unknown field for {kind}")
        line = self._line_of((*at, kind))
        target = value[kind]
        if kind == "apply":
            yield from self._applied(target, (*at, kind), line)
            return
        if not isinstance(target, str) or not target:
            raise _WrongError((*at, kind), "must be a text that is not empty")
        if kind == "cni" and target not in PROFILES:
            raise _WrongError((*at, kind), f"unknown CNI: known are {', '.join(PROFILES)}")
        labels = value.get("set", {})
        if not isinstance(labels, dict) or not _are_texts(labels.values()):
            raise _WrongError((*at, "set"), "must be label keys with values that are text")
        remove = value.get("remove", [])
        if not isinstance(remove, list) or not _are_texts(remove):
            raise _WrongError((*at, "remove"), "must be a list of label keys")
        if kind == "label" and not labels and not remove:
            raise _WrongError(at, "says neither set nor remove")
        replicas = value.get("replicas", -1)
        if kind == "scale" and (type(replicas) is not int or replicas < 0):
            raise _WrongError((*at, "replicas"), "must be a number from 0 on")
        yield Change(
            kind,
            self._file,
            line,
            target,
            set=labels,
            remove=tuple(remove),
            replicas=max(replicas, 0),
        )

    def _applied(self, value: Any, at: FieldPath, line: int) -> Iterator[Change]:
        if isinstance(value, dict):
            yield Change("apply", self._file, line, text=msgspec.json.encode(value).decode())
            return
        if not isinstance(value, str) or not value:
            raise _WrongError(at, "must be a Kubernetes object, or the path of a manifest")
        path = os.path.join(os.path.dirname(self._file), value)
        findings = Findings()
        for buffer in _buffers(path, findings):
            yield Change("apply", buffer.name, 1, text=buffer.data[:].decode("utf-8", "replace"))
        if findings.fatal:
            raise _WrongError(at, str(findings.fatal[0]))


def _are_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


# --- made for each of something --------------------------------------------------------------


def delete_each(cluster: Cluster) -> Iterator[Scenario]:
    """Every policy removed on its own."""
    for kind, namespace, name in map(policy_key, cluster.policies):
        target = f"{kind.lower()}/{namespace}/{name}"
        yield Scenario(f"delete {target}", (Change("delete", target=target),))


def relabel_each(cluster: Cluster, label: str) -> Iterator[Scenario]:
    """A label set on each workload in turn (``KEY=VALUE``) or taken off it (``KEY-``)."""
    key, equals, value = label.partition("=")
    removed = not equals and key.endswith("-")
    if not (equals or removed) or not key.rstrip("-"):
        raise UsageError(f"{label!r}: write it as KEY=VALUE, or as KEY- to remove a label")
    for ref in dict.fromkeys(pod.workload for pod in cluster.pods):
        target = f"{ref.kind.lower()}/{ref.namespace}/{ref.name}"
        change = Change(
            "label",
            target=target,
            set={} if removed else {key: value},
            remove=(key[:-1],) if removed else (),
        )
        yield Scenario(f"label {target} {label}", (change,))


def apply_each(path: str) -> list[Scenario]:
    """Each NetworkPolicy in a file or folder on its own, in the order in which they come."""
    findings = Findings()
    found: list[Scenario] = []
    for buffer in _buffers(path, findings):
        text = buffer.data[:].decode("utf-8", "replace")
        for entry in _entries(buffer.name, text, findings):
            value = entry.value
            items = value.get("items") if isinstance(value, dict) else None
            if not isinstance(items, list):
                # By its own text, so that every rule has its line.
                own = (entry.text, entry.line) if not entry.at else _alone(entry, entry.at, value)
                found += _applied_policy(value, buffer.name, *own)
                continue
            for index, item in enumerate(items):
                own = _alone(entry, (*entry.at, "items", index), item)
                found += _applied_policy(item, buffer.name, *own)
    if findings.fatal or findings.errors:
        raise InputError(findings.fatal + findings.errors)
    if not found:
        raise InputError([Problem(path, 0, "", "holds no NetworkPolicy")])
    _check_names(path, found)
    return found


def _alone(entry: _Entry, at: FieldPath, value: Any) -> tuple[str, int]:
    """A part of an entry as a text of its own, and its line."""
    return msgspec.json.encode(value).decode(), entry.line_of(at)


def _applied_policy(value: Any, file: str, text: str, line: int) -> Iterator[Scenario]:
    if not isinstance(value, dict) or value.get("kind") != "NetworkPolicy":
        return
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = f"{metadata.get('namespace') or 'default'}/{metadata.get('name')}"
    change = Change("apply", file, line, text=text)
    yield Scenario(f"apply networkpolicy/{name}", (change,))
