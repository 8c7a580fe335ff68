"""Assertions: what must and what must not be reachable, as people state it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from kubeverdict.model.policy import BlockPeer, PodPeer
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.sources import Source


class WorkloadName(msgspec.Struct, frozen=True):
    """A workload by name, or a pod; ``kind`` is in lower case and empty where none was said."""

    namespace: str
    name: str
    kind: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


# What an end is made of. Blocks are addresses outside the cluster and of its nodes: pods are
# named by what they are.
EndPart = WorkloadName | PodPeer | BlockPeer


class EndSpec(msgspec.Struct, frozen=True):
    """One end of an assertion: all of its parts together."""

    parts: tuple[EndPart, ...]


class PortName(msgspec.Struct, frozen=True, order=True):
    """A port by its name on the destination pod; ``protocol`` None is whichever it has there."""

    name: str
    protocol: Protocol | None = None

    def __str__(self) -> str:
        return f"{self.name}/{self.protocol.name}" if self.protocol is not None else self.name


# ICMP is a range of the protocol with the port 0.
PortAsked = PortRange | PortName


class Claim(StrEnum):
    """What is claimed of the connections between two ends."""

    ALLOW = "allow"  # each is allowed
    DENY = "deny"  # none is allowed
    ONLY_FROM = "only from"  # none to the destination is allowed that is not from the source
    ONLY_TO = "only to"  # none from the source is allowed that is not to the destination


class Assertion(msgspec.Struct, frozen=True, eq=False):
    """One assertion. ``ports`` None is every port of every protocol.

    ``sources`` are its place and those of its ends; ``may_be_empty`` lets an end match nothing.
    """

    name: str
    claim: Claim
    source: EndSpec
    destination: EndSpec
    origin: Source
    source_origin: Source
    destination_origin: Source
    description: str = ""
    ports: tuple[PortAsked, ...] | None = None
    may_be_empty: bool = False


class Assertions(msgspec.Struct, frozen=True, eq=False):
    """The assertions of all files, in their order, and the blocks that pods get addresses from,
    where a file says so."""

    assertions: tuple[Assertion, ...]
    pod_ranges: tuple[BlockPeer, ...] = ()
