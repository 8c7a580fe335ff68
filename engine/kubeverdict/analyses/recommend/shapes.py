"""What a recommended policy is, before it is written."""

from __future__ import annotations

import msgspec

from kubeverdict.analyses.recommend.groups import Labels
from kubeverdict.analyses.recommend.ports import PortSpec
from kubeverdict.model.addresses import Block

# No policy that people have written is replaced, and those of an earlier run are.
PREFIX = "recommended-"


class DraftPodPeer(msgspec.Struct, frozen=True):
    """Pods by labels in a namespace; None: in every namespace."""

    namespace: str | None
    labels: Labels


class DraftBlockPeer(msgspec.Struct, frozen=True):
    block: Block


Peer = DraftPodPeer | DraftBlockPeer


class DraftRule(msgspec.Struct, frozen=True):
    """``ports`` None: all. ``why`` are lines of comment."""

    peers: tuple[Peer, ...]
    ports: tuple[PortSpec, ...] | None
    why: tuple[str, ...]


class DraftPolicy(msgspec.Struct, frozen=True):
    """A policy. Rules None: it does not isolate in that direction."""

    namespace: str
    name: str
    labels: Labels
    ingress: tuple[DraftRule, ...] | None
    egress: tuple[DraftRule, ...] | None
    why: tuple[str, ...]
