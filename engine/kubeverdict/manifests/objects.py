"""Pods, namespaces, nodes, services and workloads: JSON bytes to records.

A record holds what the model needs and still says who owns it; :mod:`workloads` makes pods of
records once the whole input is known. Wrong types and impossible values are reported with their
field; such an object has no record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kubeverdict.manifests import json_text, schema
from kubeverdict.manifests.checked import check_address, port_number, protocol_of
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.pod_fields import Owner, addresses_of, owner_of, started_at
from kubeverdict.manifests.pod_templates import UNKNOWN_LABELS, FoundTemplate
from kubeverdict.manifests.resources import Resource, kind_name
from kubeverdict.manifests.services import Located, read_endpoints, read_service, read_slice
from kubeverdict.manifests.undecodable import report_invalid
from kubeverdict.manifests.validation import generated_name, invalid, required, subject, wrong_type
from kubeverdict.model.cluster import (
    DEFAULT_ACCOUNT,
    METADATA_NAME,
    SERVICE_ACCOUNT,
    ApiServerCalls,
    BackendRef,
    ContainerKind,
    ContainerPort,
    Ingress,
    Namespace,
    Node,
    Service,
    WorkloadRef,
)
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.ports import Protocol
from kubeverdict.model.sources import FieldPath, Origin

# More pods than this for one workload is taken for a typing error.
MAX_REPLICAS = 200_000

Labels = Mapping[str, str]


class PodRecord(msgspec.Struct, gc=False):
    """A pod as read. Equal records are pods that no verdict can distinguish."""

    namespace: str
    name: str
    labels: Labels
    owner: Owner | None
    addresses: tuple[str, ...]
    ports: tuple[ContainerPort, ...]
    node: str
    phase: str
    host_network: bool
    started: int = 0


class WorkloadRecord(msgspec.Struct, gc=False):
    """A workload and the pods that its template describes.

    ``replicas`` None: one a node. ``scaled``: the manifest says how many. ``unknown`` are the keys
    of labels that pods get when they run. ``more`` are the further templates of the workload, and
    ``part`` is the name of each; ``template_of`` is the workload whose template it takes.
    """

    ref: WorkloadRef
    owner: Owner | None
    replicas: int | None
    labels: Labels
    ports: tuple[ContainerPort, ...]
    node: str
    host_network: bool
    scaled: bool
    first: int = 0  # the number of the first pod
    unknown: tuple[str, ...] = ()
    part: str = ""
    more: tuple[WorkloadRecord, ...] = ()
    template_of: WorkloadRef | None = None


Record = (
    PodRecord
    | WorkloadRecord
    | Namespace
    | Node
    | Service
    | Ingress
    | EndpointList
    | ApiServerCalls
)

_CUSTOM = msgspec.json.Decoder(schema.NamespaceManifest)
_TEMPLATE = msgspec.json.Decoder(schema.Template)
_label_map = msgspec.json.Decoder(dict[str, str | None])
_port_list = msgspec.json.Decoder(list[schema.Port] | None)
_NO_METADATA = schema.Metadata()
_NO_POD_SPEC = schema.PodSpec()
_NO_STATUS = schema.PodStatus()
_NULL = b"null"
CLUSTER_SCOPED = frozenset(
    {
        *("Namespace", "Node", "APIService", "CustomResourceDefinition"),
        *("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
    }
)

# Quoted, the action of a template is a string like any other.
_ACTION = "{{"
_UNRENDERED = "holds the action of a template: render it first"


class ObjectReader:
    """Reads the objects of one load. Label maps and port lists are shared between them."""

    def __init__(self, findings: Findings, namespace: str) -> None:
        self._findings = findings
        self._namespace = namespace  # of objects that do not say
        self.unplaced = 0  # how many those are
        self._labels: dict[bytes, Labels] = {_NULL: {}}
        self._ports: dict[tuple[ContainerKind, bytes], tuple[ContainerPort, ...]] = {}
        self._texts: dict[str, str] = {}
        self._with_account: dict[tuple[int, str], tuple[Labels, Labels]] = {}

    def pod(self, kind: str, pod: schema.PodManifest, origin: Origin) -> PodRecord | None:
        place, metadata = self._start(kind, pod.metadata, origin)
        spec = pod.spec or _NO_POD_SPEC
        status = pod.status or _NO_STATUS
        record = PodRecord(
            self._namespace_of(metadata),
            metadata.name or "",
            self._pod_labels(place, metadata, spec, ("metadata", "labels")),
            owner_of(metadata),
            addresses_of(place, status),
            self._pod_ports(place, spec, ("spec",)),
            self._text(spec.node_name or ""),
            self._text(status.phase or ""),
            bool(spec.host_network),
            started_at(metadata, status),
        )
        return None if place.failed else record

    def namespace(
        self, kind: str, namespace: schema.NamespaceManifest, origin: Origin
    ) -> Namespace | None:
        place, metadata = self._start(kind, namespace.metadata, origin)
        labels = self._label_map(place, metadata.labels, ("metadata", "labels"))
        name = metadata.name or ""
        if METADATA_NAME not in labels:
            labels = {METADATA_NAME: name, **labels}
        return None if place.failed else Namespace(name, labels)

    def node(self, kind: str, node: schema.NodeManifest, origin: Origin) -> Node | None:
        place, metadata = self._start(kind, node.metadata, origin)
        addresses = []
        found = (node.status.addresses if node.status else None) or ()
        for index, entry in enumerate(found):
            if entry.type in ("InternalIP", "ExternalIP"):
                text = entry.address or ""
                path = ("status", "addresses", index, "address")
                check_address(place, text, path)
                if text not in addresses:
                    addresses.append(text)
        labels = self._label_map(place, metadata.labels, ("metadata", "labels"))
        return None if place.failed else Node(metadata.name or "", tuple(addresses), labels)

    def service(self, kind: str, service: schema.ServiceManifest, origin: Origin) -> Service | None:
        place, metadata = self._start(kind, service.metadata, origin)
        selector = (service.spec or schema.ServiceSpec()).selector
        labels = self._label_map(place, selector, ("spec", "selector"))
        own = self._label_map(place, metadata.labels, ("metadata", "labels"))
        record = read_service(place, self._located(metadata), service, labels, own)
        return None if place.failed else record

    def endpoint_slice(
        self, kind: str, endpoints: schema.EndpointSlice, origin: Origin
    ) -> EndpointList | None:
        place, metadata = self._start(kind, endpoints.metadata, origin)
        labels = self._label_map(place, metadata.labels, ("metadata", "labels"))
        record = read_slice(place, self._located(metadata), endpoints, labels)
        return None if place.failed else record

    def endpoints(
        self, kind: str, endpoints: schema.EndpointsManifest, origin: Origin
    ) -> EndpointList | None:
        place, metadata = self._start(kind, endpoints.metadata, origin)
        record = read_endpoints(place, self._located(metadata), endpoints)
        return None if place.failed else record

    def ingress(self, kind: str, ingress: schema.IngressManifest, origin: Origin) -> Ingress | None:
        place, metadata = self._start(kind, ingress.metadata, origin)
        spec = ingress.spec or schema.IngressSpec()
        found = [spec.default_backend]
        for rule in spec.rules or ():
            found += [path.backend for path in (rule.http and rule.http.paths) or ()]
        backends: list[tuple[str, int | str]] = []
        for service in (backend.service for backend in found if backend):
            if service and service.name:
                port = service.port or schema.BackendPort()
                backends.append((service.name, port.name or port.number or 0))
        return self._ingress(place, kind, metadata, backends)

    def route(self, kind: str, route: schema.Route, origin: Origin) -> Ingress | None:
        place, metadata = self._start(kind, route.metadata, origin)
        spec = route.spec or schema.RouteSpec()
        port = (spec.port.target_port if spec.port else None) or 0
        targets = [spec.to, *(spec.alternate_backends or ())]
        backends = [
            (target.name, port)
            for target in targets
            if target and target.name and target.kind in (None, "Service")
        ]
        return self._ingress(place, kind, metadata, backends)

    def _ingress(
        self,
        place: DocumentPlace,
        kind: str,
        metadata: schema.Metadata,
        backends: Iterable[tuple[str, int | str]],
    ) -> Ingress | None:
        namespace = self._namespace_of(metadata)
        found = dict.fromkeys(BackendRef(namespace, service, port) for service, port in backends)
        record = Ingress(namespace, metadata.name or "", tuple(found), kind)
        return None if place.failed else record

    def workload(
        self, kind: str, workload: schema.Workload, origin: Origin
    ) -> WorkloadRecord | None:
        place, metadata = self._start(kind, workload.metadata, origin)
        spec = workload.spec or schema.WorkloadSpec()
        path: FieldPath = ("spec", "template")
        template = spec.template
        if kind == "CronJob":
            path = ("spec", "jobTemplate", *("spec", "template"))
            job = spec.job_template.spec if spec.job_template else None
            template = job.template if job else None
        if template is None:
            place.error(path, required())
            return None
        field = "parallelism" if kind == "Job" else "replicas"
        given = spec.parallelism if kind == "Job" else spec.replicas
        replicas = None if kind == "DaemonSet" else 1 if given is None else given
        if replicas is not None:
            _check_replicas(place, replicas, ("spec", field))
        pod_metadata = template.metadata or _NO_METADATA
        pod_spec = template.spec or _NO_POD_SPEC
        namespace = self._namespace_of(metadata)
        name = metadata.name or ""
        record = WorkloadRecord(
            WorkloadRef(namespace, name, kind),
            owner_of(metadata),
            replicas,
            self._pod_labels(place, pod_metadata, pod_spec, (*path, "metadata", "labels")),
            self._pod_ports(place, pod_spec, (*path, "spec")),
            pod_spec.node_name or "",
            bool(pod_spec.host_network),
            given is not None,
            max(0, (spec.ordinals.start if spec.ordinals else None) or 0),
            UNKNOWN_LABELS.get(kind, ()),
        )
        if replicas == 0 and not place.failed:
            place.warn(("spec", field), "is 0: stands for no pods")
        return None if place.failed else record

    def named(
        self, kind: str, head: schema.Metadata | None, origin: Origin
    ) -> tuple[str, str] | None:
        """The namespace ("" where its kind has none) and name of an object that says nothing else
        of itself; None, with an error, where it has no name."""
        place, metadata = self._start(kind, head, origin)
        namespace = "" if kind in CLUSTER_SCOPED else self._namespace_of(metadata)
        return None if place.failed else (namespace, metadata.name or "")

    def place(self, kind: str, origin: Origin, body: json_text.Bytes) -> DocumentPlace:
        """An object that does not decode, called by what can be read of its name."""
        try:
            value = json_text.parse(body)
        except json_text.JsonError:
            value = None
        found = value.get("metadata") if isinstance(value, dict) else None
        metadata = found if isinstance(found, dict) else {}
        namespace = None if kind in CLUSTER_SCOPED else self._namespace
        return DocumentPlace(self._findings, origin, subject(kind, metadata, namespace))

    def custom(
        self,
        resource: Resource,
        value: dict[str, Any],
        found: Sequence[FoundTemplate],
        origin: Origin,
    ) -> WorkloadRecord | None:
        """A workload of a kind that Kubernetes does not have, with the templates ``found``."""
        group, kind = resource
        body = msgspec.json.encode(value)
        try:
            head = _CUSTOM.decode(body)
        except (msgspec.DecodeError, UnicodeError) as error:
            report_invalid(DocumentPlace(self._findings, origin, kind), error, body)
            return None
        kind = kind_name(group, kind)
        place, metadata = self._start(kind, head.metadata, origin)
        ref = WorkloadRef(self._namespace_of(metadata), metadata.name or "", self._text(kind))
        records = [self._templated(place, ref, owner_of(metadata), one) for one in found]
        if place.failed:
            return None
        if all(record.replicas == 0 for record in records):
            place.warn(("spec",), "no replicas: stands for no pods")
        return msgspec.structs.replace(records[0], more=tuple(records[1:]))

    def _templated(
        self, place: DocumentPlace, ref: WorkloadRef, owner: Owner | None, found: FoundTemplate
    ) -> WorkloadRecord:
        path, row = found.path, found.row
        template = schema.Template()
        body = msgspec.json.encode(found.template)
        try:
            template = _TEMPLATE.decode(body)
        except (msgspec.DecodeError, UnicodeError) as error:
            report_invalid(place, error, body, path)
        _check_replicas(place, found.replicas, path)
        metadata = template.metadata or _NO_METADATA
        spec = template.spec or _NO_POD_SPEC
        words = {"name": ref.name, "namespace": ref.namespace, "part": found.part}
        added = {key: text.format_map(words) for key, text in row.labels.items()}
        labels = self._pod_labels(place, metadata, spec, (*path, "metadata", "labels"))
        ports = self._pod_ports(place, spec, (*path, "spec"))
        ports += tuple(ContainerPort("", Protocol.TCP, number) for number in row.ports)
        return WorkloadRecord(
            ref,
            owner,
            found.replicas,
            {**labels, **added},
            ports,
            spec.node_name or "",
            bool(spec.host_network),
            found.scaled,
            unknown=row.unknown,
            part=found.part,
            template_of=found.of and WorkloadRef(ref.namespace, found.of[1], found.of[0]),
        )

    def _start(
        self, kind: str, head: schema.Metadata | None, origin: Origin
    ) -> tuple[DocumentPlace, schema.Metadata]:
        metadata = head or _NO_METADATA
        if not metadata.name and metadata.generate_name:
            metadata.name = generated_name(metadata.generate_name)
        name = metadata.name or "?"
        if kind not in CLUSTER_SCOPED:
            name = f"{metadata.namespace or self._namespace}/{name}"
        place = DocumentPlace(self._findings, origin, f"{kind} {name}")
        if _ACTION in name:
            field = "name" if _ACTION in (metadata.name or "") else "namespace"
            place.error(("metadata", field), _UNRENDERED)
        if not metadata.name:
            place.error(("metadata", "name"), required("name or generateName is required"))
        return place, metadata

    def _located(self, metadata: schema.Metadata) -> Located:
        return Located(self._namespace_of(metadata), metadata.name or "")

    def _namespace_of(self, metadata: schema.Metadata) -> str:
        if not metadata.namespace:
            self.unplaced += 1
            return self._namespace
        return self._text(metadata.namespace)

    def _text(self, text: str) -> str:
        return self._texts.setdefault(text, text)

    def _pod_labels(
        self,
        place: DocumentPlace,
        metadata: schema.Metadata,
        spec: schema.PodSpec,
        path: FieldPath,
    ) -> Labels:
        """The labels of a pod, its service account among them where that is not the default."""
        labels = self._label_map(place, metadata.labels, path)
        account = spec.service_account_name
        if not account or account == DEFAULT_ACCOUNT:
            return labels
        key = (id(labels), account)
        known = self._with_account.get(key)
        if known is None or known[0] is not labels:
            known = labels, {**labels, SERVICE_ACCOUNT: self._text(account)}
            self._with_account[key] = known
        return known[1]

    def _label_map(self, place: DocumentPlace, raw: msgspec.Raw, path: FieldPath) -> Labels:
        text = bytes(raw)
        labels = self._labels.get(text)
        if labels is not None:
            return labels
        try:
            found = _label_map.decode(text)
            if len(found) != json_text.colons(text):
                json_text.parse(text)
        except json_text.JsonError as error:
            place.error(path, error.message)
            return {}
        except (msgspec.DecodeError, UnicodeError) as error:
            self._report_labels(place, text, error, path)
            return {}
        if _ACTION.encode() in text:
            place.error(path, _UNRENDERED)
            return {}
        labels = {key: value or "" for key, value in found.items()}
        self._labels[text] = labels
        return labels

    def _report_labels(
        self, place: DocumentPlace, text: bytes, error: Exception, path: FieldPath
    ) -> None:
        """msgspec does not say which entry of a map is wrong."""
        try:
            value = json_text.parse(text)
        except json_text.JsonError:
            value = None
        if not isinstance(value, dict):
            report_invalid(place, error, text, path)
            return
        for key, entry in value.items():
            if not isinstance(entry, str | None):
                place.error((*path, key), wrong_type(entry, "a string"))

    def _pod_ports(
        self, place: DocumentPlace, spec: schema.PodSpec, path: FieldPath
    ) -> tuple[ContainerPort, ...]:
        ports: tuple[ContainerPort, ...] = ()
        for index, container in enumerate(spec.containers or ()):
            where = (*path, "containers", index, "ports")
            ports += self._port_list(place, container.ports, ContainerKind.CONTAINER, where)
        for index, container in enumerate(spec.init_containers or ()):
            sidecar = container.restart_policy == "Always"
            kind = ContainerKind.SIDECAR if sidecar else ContainerKind.INIT
            where = (*path, "initContainers", index, "ports")
            ports += self._port_list(place, container.ports, kind, where)
        return ports

    def _port_list(
        self, place: DocumentPlace, raw: msgspec.Raw, kind: ContainerKind, path: FieldPath
    ) -> tuple[ContainerPort, ...]:
        text = bytes(raw)
        ports = self._ports.get((kind, text))
        if ports is not None:
            return ports
        try:
            found = _port_list.decode(text) or []
        except (msgspec.DecodeError, UnicodeError) as error:
            report_invalid(place, error, text, path)
            return ()
        ports = tuple(
            ContainerPort(
                port.name or "",
                protocol_of(place, port.protocol, (*path, index, "protocol")),
                port_number(place, port.container_port, (*path, index, "containerPort")),
                kind,
            )
            for index, port in enumerate(found)
        )
        if not place.failed:
            self._ports[kind, text] = ports
        return ports


def _check_replicas(place: DocumentPlace, replicas: int, path: FieldPath) -> None:
    if replicas < 0:
        place.error(path, invalid(replicas, "must be greater than or equal to 0"))
    elif replicas > MAX_REPLICAS:
        message = f"more than {MAX_REPLICAS} pods of one workload are not supported"
        place.error(path, invalid(replicas, message))
