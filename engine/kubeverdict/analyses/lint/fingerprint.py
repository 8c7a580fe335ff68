"""What a finding is known by from one run to the next.

The rule, the object, and what the object says at the field in question: neither the file, nor a
line, nor the place of a rule in its list, nor how many pods there are today.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from kubeverdict.analyses.conditions import peer_text
from kubeverdict.model.policy import BlockPeer, Peer, PodPeer, Policy, Rule
from kubeverdict.model.sources import FieldPath, field_text

_LETTERS = 16
_DIRECTIONS, _PEERS = ("ingress", "egress"), ("from", "to")


def fingerprint(parts: Iterable[str]) -> str:
    """Hexadecimal digits that stand for ``parts``."""
    text = "\0".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_LETTERS]


def written(policy: Policy, path: FieldPath) -> str:
    """What a policy says at a field: of a rule its peers and ports, of a part of one that part;
    elsewhere the name of the field."""
    if len(path) < 3 or path[1] not in _DIRECTIONS:
        return field_text(path)
    where, index, rest = path[1], path[2], path[3:]
    rules = (one for one in policy.rules if (one.direction.word, one.index) == (where, index))
    rule = next(rules, None)
    if rule is None:
        return field_text(path)
    return f"{where} {_part(rule, rest)}"


def _part(rule: Rule, path: FieldPath) -> str:
    if len(path) > 1 and isinstance(path[1], int):
        field, index = path[0], path[1]
        if field in _PEERS and rule.peers and index < len(rule.peers):
            return f"{_peer(rule.peers[index])} {field_text(path[2:])}"
        if field == "ports" and rule.ports and index < len(rule.ports):
            return str(rule.ports[index])
    peers = "anybody" if rule.peers is None else "; ".join(map(_peer, rule.peers))
    ports = "any port" if rule.ports is None else "; ".join(map(str, rule.ports))
    return f"{peers} on {ports}"


def _peer(peer: Peer) -> str:
    if isinstance(peer, BlockPeer):
        return " except ".join(map(str, (peer.block, *peer.excepts)))
    if not isinstance(peer, PodPeer):
        return peer_text(peer)
    pods = "all pods" if peer.pods is None else str(peer.pods)
    where = f"namespace {peer.namespace}" if peer.namespace else f"namespaces {peer.namespaces}"
    return f"{pods} in {where}"
