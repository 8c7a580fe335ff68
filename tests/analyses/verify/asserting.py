"""Assertions, written as briefly as tests want to read them."""

from __future__ import annotations

from collections.abc import Iterable

from kubeverdict.analyses.verify.report import Result, Violation
from kubeverdict.analyses.verify.verifying import verify
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.assertions import (
    Assertion,
    Assertions,
    Claim,
    EndPart,
    EndSpec,
    PortAsked,
    PortName,
    WorkloadName,
)
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import BlockPeer, PodPeer
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.profile import REFERENCE, Profile
from kubeverdict.model.sources import Source
from tests.clusters.records import Document, selector

ORIGIN = Source(Document("assertions.yaml"))


def end(*parts: EndPart | str) -> EndSpec:
    """``shop/web`` is a workload, ``app=web`` are pods in every namespace."""
    return EndSpec(tuple(_part(part) if isinstance(part, str) else part for part in parts))


def _part(text: str) -> EndPart:
    if "=" in text:
        return PodPeer(selector(text))
    *kind, namespace, name = text.split("/")
    return WorkloadName(namespace, name, "".join(kind))


def inside(namespace: str, label_text: str = "") -> PodPeer:
    return PodPeer(selector(label_text), namespace)


def tcp(*ports: int | str) -> tuple[PortAsked, ...]:
    return tuple(
        PortName(port) if isinstance(port, str) else PortRange(Protocol.TCP, port, port)
        for port in ports
    )


def claim(
    what: Claim,
    source: EndSpec,
    destination: EndSpec,
    ports: tuple[PortAsked, ...] | None = None,
    *,
    may_be_empty: bool = False,
    name: str = "it",
) -> Assertion:
    return Assertion(
        name=name,
        claim=what,
        source=source,
        destination=destination,
        origin=ORIGIN,
        source_origin=ORIGIN,
        destination_origin=ORIGIN,
        ports=ports,
        may_be_empty=may_be_empty,
    )


def results(
    cluster: Cluster,
    *assertions: Assertion,
    anyone: bool = False,
    profile: Profile = REFERENCE,
    pod_ranges: Iterable[BlockPeer] = (),
) -> tuple[Result, ...]:
    asked = Assertions(assertions, tuple(pod_ranges))
    return verify(compile_cluster(cluster, profile), asked, anyone=anyone).results


def ends_of(violations: Iterable[Violation]) -> list[tuple[str, str, str]]:
    return [(one.source, one.destination, str(one.ports)) for one in violations]
