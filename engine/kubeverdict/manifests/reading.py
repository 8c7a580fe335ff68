"""One document to what a cluster is made of: a record, a policy, or a thing that is left out."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

import msgspec

from kubeverdict.manifests import exposing, json_text, policies
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.kinds import HEAD, KNOWN, right_version
from kubeverdict.manifests.left_out import metadata_of
from kubeverdict.manifests.objects import ObjectReader, Record
from kubeverdict.manifests.other_kinds import gap_of, is_known
from kubeverdict.manifests.pod_templates import TEMPLATES, found_in
from kubeverdict.manifests.policies.reading import PolicyReader
from kubeverdict.manifests.resources import group_of
from kubeverdict.manifests.undecodable import report_invalid
from kubeverdict.manifests.validation import invalid, required, type_name
from kubeverdict.model.policy import Policy
from kubeverdict.model.references import Definition
from kubeverdict.model.sources import Origin
from kubeverdict.model.unevaluated import Gap

NOT_AN_OBJECT = "not a Kubernetes object"

ReadObject = Record | Policy | Definition


class Sink(Protocol):
    """Who takes what was read."""

    def add(self, kind: str, record: ReadObject, origin: Origin) -> None:
        """An object; ``kind`` is what the API of a policy is called, else the kind."""

    def leave_out(self, group: str, kind: str, gap: Gap, document: Document) -> None:
        """An object that is not read though a verdict may depend on it."""


class DocumentReader:
    """Reads documents one after the other. What is wrong with one goes to ``findings``.

    ``documents`` counts those that are objects, ``ignored`` those on which no verdict depends.
    """

    def __init__(self, findings: Findings, namespace: str, sink: Sink) -> None:
        self._findings = findings
        self._sink = sink
        self.objects = ObjectReader(findings, namespace)
        self.exposing = exposing.ExposingReader(self.objects)
        self.policy_reader = PolicyReader(findings, namespace)
        self.ignored: Counter[str] = Counter()
        self.documents = 0
        self._last = "Pod"  # the kind of the document before: the first guess for the next

    def take(self, document: Document, direct: bool) -> None:
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
                report_invalid(DocumentPlace(self._findings, origin), error, body)
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
                    self._findings.warnings += aside.errors
                else:
                    report_invalid(place, error, body)
                return
        reader = getattr(self, known.reader)
        record: Record | None = getattr(reader, known.method)(kind, head, origin)
        if record is not None:
            self._sink.add(kind, record, origin)

    def _take_value(self, document: Document, direct: bool) -> None:
        """A document that PyYAML read: a policy is read from its value, others through JSON."""
        value, origin = document.value, document.origin
        if not isinstance(value, dict):
            if direct or document.listed:
                message = f"{NOT_AN_OBJECT}: it is {type_name(value)}"
                DocumentPlace(self._findings, origin).error((), message)
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
            DocumentPlace(self._findings, origin, str(kind)).error((), f"cannot be read: {error}")
            return
        document.body = body
        self.take(document, direct)

    def _take_policy(self, api: str, value: Any, origin: Origin, api_version: str) -> None:
        self.documents += 1
        found = self.policy_reader.read(api, value, origin, api_version)
        if found is not None:
            self._sink.add(found.kind, found, origin)

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
            DocumentPlace(self._findings, origin, kind).error((), error.message)
            return
        self._take_policy(api, value, origin, api_version or "")

    def _leave_out(
        self, kind: str, api_version: str | None, document: Document, direct: bool
    ) -> None:
        known = KNOWN.get(kind)
        place = DocumentPlace(self._findings, document.origin, kind)
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
            self._sink.leave_out(group, kind, gap, document)

    def _take_templates(self, group: str, kind: str, document: Document) -> None:
        """Read the pod templates of a kind that Kubernetes does not have; where there are none,
        its pods are not modelled."""
        origin, value = document.origin, document.value
        try:
            if document.body is not None:
                value = json_text.parse(document.body)
        except json_text.JsonError as error:
            DocumentPlace(self._findings, origin, kind).error((), error.message)
            return
        found = found_in((group, kind), value)
        known = (group, kind) in TEMPLATES
        if not found:
            self._sink.leave_out(group, kind, Gap.PODS if known else Gap.NOT_READ, document)
            return
        if not known:
            self._sink.leave_out(group, kind, Gap.GENERIC, document)
        record = self.objects.custom((group, kind), value, found, origin)
        if record is not None:
            self._sink.add(record.ref.kind, record, origin)


def _is_list(kind: str, group: str, document: Document) -> bool:
    """Whether a document without a list of items is meant to be one."""
    single = kind.removesuffix("List")
    if not single or single in KNOWN or is_known(group, single):
        return True
    return not metadata_of(document).name
