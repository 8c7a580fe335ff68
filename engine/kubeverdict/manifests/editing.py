"""Policies as text that is edited: the text of one as its author wrote it, and edited text read
back.

What is edited is one document. In a YAML file it is cut out as it stands, with its comments; what
came as JSON, from a dump or from an API server, is written as YAML, without what a cluster adds.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import yaml

from kubeverdict.errors import InputError, Problem
from kubeverdict.manifests import formats, policies
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.findings import Findings
from kubeverdict.manifests.kinds import HEAD
from kubeverdict.manifests.loading import Loaded, load_documents
from kubeverdict.manifests.origins import JsonOrigin, YamlOrigin
from kubeverdict.manifests.resources import group_of
from kubeverdict.manifests.sources import Buffer
from kubeverdict.model.sources import Origin

# What a cluster keeps in the metadata of an object for itself.
_KEPT_BY_CLUSTER = (
    *("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"),
)
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MARK = "---"


def text_of(kind: str, origin: Origin) -> str:
    """The text of a policy to edit; ``kind`` is what its API is called, see
    :mod:`kubeverdict.manifests.policies`. Empty where the origin holds no text."""
    if isinstance(origin, YamlOrigin):
        return _cut_out(origin)
    if isinstance(origin, JsonOrigin):
        return _written(kind, origin.text.value(origin.index))
    return ""


def _cut_out(origin: YamlOrigin) -> str:
    lines = textwrap.dedent(origin.slice()).strip("\n").splitlines()
    if lines and lines[0].split("#")[0].strip() == _MARK:
        lines = lines[1:]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _written(kind: str, value: Mapping[str, Any]) -> str:
    content = dict(value)
    content.pop("status", None)
    (_, name), _ = policies.row_of(kind)
    head = {
        "apiVersion": content.pop("apiVersion", None) or policies.api_versions(kind)[0],
        "kind": content.pop("kind", None) or name,
    }
    metadata = content.get("metadata")
    if isinstance(metadata, dict):
        kept = {key: one for key, one in metadata.items() if key not in _KEPT_BY_CLUSTER}
        annotations = kept.get("annotations")
        if isinstance(annotations, dict):
            kept["annotations"] = {k: one for k, one in annotations.items() if k != _APPLIED}
            if not kept["annotations"]:
                del kept["annotations"]
        content["metadata"] = kept
    return yaml.safe_dump(
        {**head, **content}, sort_keys=False, allow_unicode=True, default_flow_style=False
    )


def read_policies(texts: Mapping[str, str]) -> Loaded:
    """The policies, and what policies refer to, in edited texts, each under the name that it has
    in messages. Raises InputError with every problem, which anything else in them is too."""
    findings = Findings()
    documents: list[Document] = []
    for name, text in texts.items():
        before = len(documents) + len(findings.errors) + len(findings.fatal)
        buffer = Buffer(name, name, text.encode("utf-8", "replace"), 1)
        documents += _policies_only(formats.read(buffer, findings), findings)
        if len(documents) + len(findings.errors) + len(findings.fatal) == before:
            findings.errors.append(Problem(name, 1, "", "holds no policy"))
    if findings.fatal or findings.errors:
        raise InputError(findings.fatal + findings.errors, findings.warnings)
    return load_documents(documents)


def _policies_only(documents: Iterator[Document], findings: Findings) -> Iterator[Document]:
    """Pods and the like are not edited here: one line of text could stand for millions."""
    for document in documents:
        if document.empty:
            continue
        kind, version = _head(document)
        name = policies.evaluated_as(group_of(version), kind) if kind else None
        if name is None:
            line = document.origin.line_of(("kind",))
            what = f"{kind} is no policy that is evaluated" if kind else "is not a policy"
            message = f"{what}: only those are edited here"
            findings.errors.append(Problem(document.origin.file, line, "kind", message))
        else:
            yield document


def _head(document: Document) -> tuple[str, str]:
    if document.body is None:
        value = document.value if isinstance(document.value, dict) else {}
        kind, version = value.get("kind"), value.get("apiVersion")
    else:
        try:
            head = HEAD.decode(document.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return "", ""
        kind, version = head.kind, head.api_version
    kind, version = kind or document.kind, version or document.api_version
    return kind if isinstance(kind, str) else "", version if isinstance(version, str) else ""


class PolicyChange(NamedTuple):
    """A change of one policy: ``text`` None takes it away; ``origin`` None is that of a new one.
    ``kind`` is what its API is called, ``name`` the file that a policy is shown in which no YAML
    file holds."""

    kind: str
    name: str
    origin: Origin | None
    text: str | None


def patch(changes: Iterable[PolicyChange]) -> str:
    """Changes as a unified diff, empty where nothing changes.

    Documents of YAML files are shown in their files, so that ``patch -p1`` can apply it.
    """
    in_files: dict[str, list[tuple[YamlOrigin, str | None]]] = {}
    parts: list[str] = []
    for change in changes:
        if isinstance(change.origin, YamlOrigin):
            in_files.setdefault(change.origin.file, []).append((change.origin, change.text))
        else:
            known = change.origin is not None
            old = text_of(change.kind, change.origin) if change.origin is not None else ""
            parts.append(_difference(change.name, old, change.text or "", known))
    for name, replaced in in_files.items():
        text = new = replaced[0][0].text
        # From the end, so that what is before stays where it is.
        for origin, own in sorted(replaced, key=lambda one: -one[0].start):
            new = new[: origin.start] + _in_place(origin, own) + new[origin.end :]
        parts.append(_difference(name, text, new, True))
    return "".join(parts)


def _difference(name: str, old: str, new: str, known: bool) -> str:
    path = name.lstrip("/")
    lines = difflib.unified_diff(
        old.splitlines(),
        new.splitlines(),
        f"a/{path}" if known else "/dev/null",
        f"b/{path}" if new.strip() else "/dev/null",
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)


def _in_place(origin: YamlOrigin, text: str | None) -> str:
    """What stands in a file where a document stood: its own mark and the blank lines after it
    stay."""
    own = origin.text[origin.start : origin.end]
    if text is None:
        return ""
    if text == _cut_out(origin):
        return own
    mark = own[: own.index("\n") + 1] if own.startswith(_MARK) and "\n" in own else ""
    indented = textwrap.indent(text.strip("\n"), " " * origin.column).lstrip(" ")
    return mark + indented + (own[len(own.rstrip()) :] or "\n")
