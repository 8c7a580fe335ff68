"""What a recommended policy is, before it is written."""

from __future__ import annotations

import msgspec

from kubeverdict.analyses.recommend.groups import Labels
from kubeverdict.analyses.recommend.ports import PortSpec
from kubeverdict.model.addresses import Block

# No policy that people have written is replaced, and those of an earlier run are.
PREFIX = "recommended-"


class PodPeer(msgspec.Struct, frozen=True):
    """Pods by labels in a namespace; None: in every namespace."""

    namespace: str | None
    labels: Labels


class BlockPeer(msgspec.Struct, frozen=True):
    block: Block


Peer = PodPeer | BlockPeer


class Rule(msgspec.Struct, frozen=True):
    """``ports`` None: all. ``why`` are lines of comment."""

    peers: tuple[Peer, ...]
    ports: tuple[PortSpec, ...] | None
    why: tuple[str, ...]


class Draft(msgspec.Struct, frozen=True):
    """A policy. Rules None: it does not isolate in that direction."""

    namespace: str
    name: str
    labels: Labels
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None
    why: tuple[str, ...]
