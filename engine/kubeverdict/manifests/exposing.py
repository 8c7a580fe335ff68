"""Objects that say who has to reach a pod from outside: JSON bytes to records.

The Gateway API leads visitors to Services; webhooks, aggregated APIs and the conversion of custom
resources make the API server call one. No verdict depends on them: what cannot be used of one is
left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from kubeverdict.manifests.objects import ObjectReader
from kubeverdict.manifests.schema import Head, Metadata
from kubeverdict.model.cluster import ApiServerCalls, BackendRef, Call, Ingress
from kubeverdict.model.sources import Origin

HTTPS = 443  # the port of a Service that the API server calls where none is named


# --- shapes ----------------------------------------------------------------------------------


class ObjectPart(msgspec.Struct, gc=False, rename="camel"):
    """A part of an object."""


class Reference(ObjectPart):
    """A reference of the Gateway API; without group and kind a backend is a Service."""

    group: str | None = None
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    port: int | None = None


class GatewayRule(ObjectPart):
    backend_refs: list[Reference] | None = None


class GatewayRouteSpec(ObjectPart):
    parent_refs: list[Reference] | None = None
    rules: list[GatewayRule] | None = None


class GatewayRoute(Head):
    """HTTPRoute, GRPCRoute, TCPRoute, TLSRoute and UDPRoute."""

    metadata: Metadata | None = None
    spec: GatewayRouteSpec | None = None


class Gateway(Head):
    metadata: Metadata | None = None


class ServiceReference(ObjectPart):
    namespace: str | None = None
    name: str | None = None
    port: int | None = None


class ClientConfig(ObjectPart):
    """``service`` is None where the webhook is called by its URL."""

    service: ServiceReference | None = None


class Webhook(ObjectPart):
    name: str | None = None
    client_config: ClientConfig | None = None
    failure_policy: str | None = None


class WebhookConfiguration(Head):
    metadata: Metadata | None = None
    webhooks: list[Webhook] | None = None


class APIServiceSpec(ObjectPart):
    service: ServiceReference | None = None


class APIService(Head):
    metadata: Metadata | None = None
    spec: APIServiceSpec | None = None


class Conversion(ObjectPart):
    webhook: Webhook | None = None


class CustomResourceDefinitionSpec(ObjectPart):
    conversion: Conversion | None = None


class CustomResourceDefinition(Head):
    metadata: Metadata | None = None
    spec: CustomResourceDefinitionSpec | None = None


# --- reading ---------------------------------------------------------------------------------


class ExposingReader:
    """Reads them for one load."""

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    def gateway_route(self, kind: str, route: GatewayRoute, origin: Origin) -> Ingress | None:
        spec = route.spec or GatewayRouteSpec()
        backends = [
            (ref.namespace or "", ref.name, ref.port or 0)
            for rule in spec.rules or ()
            for ref in rule.backend_refs or ()
            if ref.name and ref.kind in (None, "Service") and not ref.group
        ]
        gateways = [
            (ref.namespace or "", ref.name)
            for ref in spec.parent_refs or ()
            if ref.name and ref.kind in (None, "Gateway")
        ]
        return self._leading(kind, route.metadata, origin, backends, gateways)

    def gateway(self, kind: str, gateway: Gateway, origin: Origin) -> Ingress | None:
        """A Gateway leads to itself: its pods are there to be reached."""
        name = (gateway.metadata and gateway.metadata.name) or ""
        return self._leading(kind, gateway.metadata, origin, (), [("", name)])

    def _leading(
        self,
        kind: str,
        metadata: Metadata | None,
        origin: Origin,
        backends: Iterable[tuple[str, str, int | str]],
        gateways: Iterable[tuple[str, str]] = (),
    ) -> Ingress | None:
        """An empty namespace is that of the object."""
        named = self._objects.named(kind, metadata, origin)
        if named is None:
            return None
        namespace, name = named
        found = dict.fromkeys(
            BackendRef(where or namespace, service, port) for where, service, port in backends
        )
        through = dict.fromkeys((where or namespace, gateway) for where, gateway in gateways)
        return Ingress(namespace, name, tuple(found), kind, tuple(through))

    def webhooks(
        self, kind: str, configuration: WebhookConfiguration, origin: Origin
    ) -> ApiServerCalls | None:
        return self._calls(kind, configuration.metadata, origin, configuration.webhooks or ())

    def api_service(self, kind: str, service: APIService, origin: Origin) -> ApiServerCalls | None:
        called = ClientConfig(service.spec.service if service.spec else None)
        return self._calls(kind, service.metadata, origin, [Webhook("", called)])

    def conversion(
        self, kind: str, definition: CustomResourceDefinition, origin: Origin
    ) -> ApiServerCalls | None:
        conversion = definition.spec.conversion if definition.spec else None
        webhook = conversion.webhook if conversion else None
        if webhook is None:
            return None
        return self._calls(kind, definition.metadata, origin, [webhook])

    def _calls(
        self, kind: str, metadata: Metadata | None, origin: Origin, webhooks: Iterable[Webhook]
    ) -> ApiServerCalls | None:
        named = self._objects.named(kind, metadata, origin)
        return ApiServerCalls(kind, named[1], tuple(_called(webhooks))) if named else None


def _called(webhooks: Iterable[Webhook]) -> Iterator[Call]:
    for webhook in webhooks:
        service = webhook.client_config.service if webhook.client_config else None
        if service and service.namespace and service.name:
            port = service.port or HTTPS
            backend = BackendRef(service.namespace, service.name, port)
            yield Call(webhook.name or "", backend, webhook.failure_policy != "Ignore")


Row = tuple[str, frozenset[str], msgspec.json.Decoder[Any], str]
"""API group, its versions, the decoder of an object, and the method that reads it."""


def _row(group: str, versions: Iterable[str], shape: type[Head], method: str) -> Row:
    accepted = frozenset(f"{group}/{version}" for version in versions)
    return group, accepted, msgspec.json.Decoder(shape), method


_GATEWAY, _ADMISSION = "gateway.networking.k8s.io", "admissionregistration.k8s.io"
_STABLE, _EARLY = ("v1", "v1beta1"), ("v1", "v1alpha3", "v1alpha2")

KINDS: dict[str, Row] = {
    "Gateway": _row(_GATEWAY, _STABLE, Gateway, "gateway"),
    "HTTPRoute": _row(_GATEWAY, _STABLE, GatewayRoute, "gateway_route"),
    **dict.fromkeys(
        ("GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute"),
        _row(_GATEWAY, _EARLY, GatewayRoute, "gateway_route"),
    ),
    **dict.fromkeys(
        ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
        _row(_ADMISSION, ("v1",), WebhookConfiguration, "webhooks"),
    ),
    "APIService": _row("apiregistration.k8s.io", ("v1",), APIService, "api_service"),
    "CustomResourceDefinition": _row(
        "apiextensions.k8s.io", ("v1",), CustomResourceDefinition, "conversion"
    ),
}
