"""What the readers of all policy APIs have in common: names, and what policies repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kubeverdict.manifests import fields
from kubeverdict.manifests.blocks import BlockReader
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.policies import PolicyApi, path_of, reader_of, row_of
from kubeverdict.manifests.selectors import SelectorReader
from kubeverdict.manifests.validation import (
    annotation_errors,
    dns_label_errors,
    forbidden,
    generate_name_errors,
    generated_name,
    invalid,
    required,
    shape_object,
    shape_string,
    subdomain_errors,
    subject,
)
from kubeverdict.model.policy import NETWORK_POLICY_TIER, Policy, Tier
from kubeverdict.model.references import Definition
from kubeverdict.model.sources import FieldPath, Origin
from kubeverdict.model.unevaluated import Gap, Unevaluated

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class PolicyHead(NamedTuple):
    """What a policy of any API has, or a document that policies refer to: what it is called, and
    where it is. ``kind`` is the name of its API, ``namespace`` None where that is in none; ``tier``
    holds unless the spec of a policy has one."""

    kind: str
    namespace: str | None
    name: str
    tier: Tier
    annotations: Mapping[str, str]
    labels: Mapping[str, str]
    api_version: str = ""
    specs: Any = None  # what a document has besides its spec, where its API allows several


class PolicyReader:
    """Reads the policies of one load, of every API in the table.

    ``selectors`` and ``blocks`` are shared by all of them; ``unevaluated`` are the parts of
    policies that no verdict takes into account.
    """

    def __init__(self, findings: Findings, namespace: str) -> None:
        self._findings = findings
        self._namespace = namespace  # of policies that do not say
        self.unplaced = 0  # how many those are
        self.selectors = SelectorReader()
        self.blocks = BlockReader()
        self.unevaluated: list[Unevaluated] = []

    def read(
        self, name: str, document: dict[str, Any], origin: Origin, api_version: str = ""
    ) -> Policy | Definition | None:
        """The policy in a document of the API ``name``, or what policies refer to, or None where
        it has errors, which are then reported. ``api_version`` is the one that it is in."""
        place = DocumentPlace(self._findings, origin, name)
        head = self._head(place, name, document.get("metadata"), api_version)
        _, api = row_of(name)
        if isinstance(api, PolicyApi) and api.several:
            fields.check(place, document, (), fields.POLICY | {"specs"})
            head = head._replace(specs=document.get("specs"))
        else:
            fields.check(place, document, (), fields.POLICY)
        found = reader_of(name)(self, place, head, document.get("spec"))
        return None if place.failed else found

    def leave_out(self, place: DocumentPlace, head: PolicyHead, detail: str) -> None:
        """Note that a verdict may come out otherwise than it should, as ``detail`` says."""
        (group, kind), _ = row_of(head.kind)
        origin = place.origin
        self.unevaluated.append(
            Unevaluated(
                kind,
                group,
                Gap.POLICY,
                1,
                origin.file,
                origin.line_of(()),
                (path_of(head.namespace, head.name),),
                detail=f"{place.subject}: {detail}",
            )
        )

    def _head(self, place: DocumentPlace, kind: str, value: Any, api_version: str) -> PolicyHead:
        path: FieldPath = ("metadata",)
        metadata = shape_object(place, value, path)
        _, api = row_of(kind)
        place.subject = subject(kind, metadata, self._namespace if api.namespaced else None)
        name = shape_string(place, metadata.get("name"), (*path, "name"))
        prefix = shape_string(place, metadata.get("generateName"), (*path, "generateName"))
        given_namespace = shape_string(place, metadata.get("namespace"), (*path, "namespace"))
        namespace: str | None = given_namespace
        if not api.namespaced:
            namespace = None
        elif not namespace:
            self.unplaced += 1
            namespace = self._namespace
        given = name
        if name == "" and prefix:
            name = generated_name(prefix)
        fields.check(place, metadata, path, fields.METADATA)
        if given:
            for message in subdomain_errors(given):
                place.error((*path, "name"), invalid(given, message))
        elif not prefix and name is not None and prefix is not None:
            place.error((*path, "name"), required("name or generateName is required"))
        if prefix:
            for message in generate_name_errors(prefix, used=not given):
                place.error((*path, "generateName"), invalid(prefix, message))
        if namespace is not None:
            for message in dns_label_errors(namespace):
                place.error((*path, "namespace"), invalid(namespace, message))
        elif given_namespace:
            place.error((*path, "namespace"), forbidden("not allowed on this type"))
        labels = dict(self.selectors.labels(place, metadata.get("labels"), (*path, "labels")))
        found = (*path, "annotations")
        annotations = {
            key: shape_string(place, entry, (*found, key)) or ""
            for key, entry in shape_object(place, metadata.get("annotations"), found).items()
        }
        for message in annotation_errors(annotations):
            place.error(found, message)
        annotations.pop(_LAST_APPLIED, None)
        tier = api.tier if isinstance(api, PolicyApi) else NETWORK_POLICY_TIER
        return PolicyHead(kind, namespace, name or "", tier, annotations, labels, api_version)


ReadPolicy = Callable[[PolicyReader, DocumentPlace, PolicyHead, Any], Policy]
"""Reads the ``spec`` of a policy; what is wrong is reported to the place, and nothing raised."""

ReadDefinition = Callable[[PolicyReader, DocumentPlace, PolicyHead, Any], Definition]
"""The same for a document that policies refer to."""
