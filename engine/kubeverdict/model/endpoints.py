"""Where the connections of a Service go, as EndpointSlices and Endpoints objects list it."""

from __future__ import annotations

import msgspec

from kubeverdict.model.ports import Protocol

# Who keeps the slices of Services with a selector: what it writes follows from the pods.
SLICE_CONTROLLER = "endpointslice-controller.k8s.io"


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One address that takes connections. ``pod`` is the name of the pod (of the same namespace)
    that ``targetRef`` says it is, empty where it says none."""

    address: str
    pod: str = ""
    node: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False


class EndpointPort(msgspec.Struct, frozen=True, gc=False):
    """A port on all endpoints of a group. ``name`` is that of the port of the Service."""

    protocol: Protocol
    number: int
    name: str = ""


class EndpointGroup(msgspec.Struct, frozen=True, gc=False):
    """Endpoints, each of which has all of the ports."""

    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class EndpointList(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An EndpointSlice, which has one group at most, or an Endpoints object with a group for each
    subset.

    ``service`` is the name of the Service (of the same namespace), empty where none is named.
    ``manager`` is who keeps a slice, as its label says.
    """

    kind: str
    namespace: str
    name: str
    service: str
    groups: tuple[EndpointGroup, ...] = ()
    manager: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
