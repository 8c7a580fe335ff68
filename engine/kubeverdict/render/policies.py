"""Recommended policies as YAML, with the flows that led to each rule as a comment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from re import compile as pattern
from typing import TYPE_CHECKING

from kubeverdict.model.policy import NETWORK_POLICY

if TYPE_CHECKING:
    from kubeverdict.analyses.recommend.groups import Labels
    from kubeverdict.analyses.recommend.shapes import DraftPolicy, DraftRule, Peer

_PLAIN = pattern(r"[A-Za-z][A-Za-z0-9_./-]*")
# What YAML 1.1 takes for something else than text.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_METADATA_NAME = "kubernetes.io/metadata.name"


def policies(drafts: Sequence[DraftPolicy]) -> str:
    """The text of a file with these policies, the same for the same policies."""
    return "\n---\n".join("\n".join(_policy(draft)) for draft in drafts) + "\n"


def _policy(draft: DraftPolicy) -> Iterator[str]:
    for line in draft.why:
        yield f"# {line}"
    yield "apiVersion: networking.k8s.io/v1"
    yield f"kind: {NETWORK_POLICY}"
    yield "metadata:"
    yield f"  name: {_scalar(draft.name)}"
    yield f"  namespace: {_scalar(draft.namespace)}"
    yield "spec:"
    yield from _selector("podSelector", draft.labels, "  ")
    sides = (("Ingress", "from", draft.ingress), ("Egress", "to", draft.egress))
    types = ", ".join(name for name, _, rules in sides if rules is not None)
    yield f"  policyTypes: [{types}]"
    for name, word, rules in sides:
        if rules:
            yield f"  {name.lower()}:"
            for rule in rules:
                yield from _rule(rule, word, draft.namespace)


def _rule(rule: DraftRule, word: str, namespace: str) -> Iterator[str]:
    for line in rule.why:
        yield f"    # {line}"
    yield f"    - {word}:"
    for peer in rule.peers:
        yield from _listed(_peer(peer, namespace), "        ")
    if rule.ports is not None:
        yield "      ports:"
        for protocol, port in rule.ports:
            text = port if isinstance(port, int) else _scalar(port)
            yield f"        - {{protocol: {protocol.name}, port: {text}}}"


def _peer(peer: Peer, namespace: str) -> Iterator[str]:
    from kubeverdict.analyses.recommend.shapes import DraftBlockPeer

    if isinstance(peer, DraftBlockPeer):
        yield "ipBlock:"
        yield f"  cidr: {_scalar(str(peer.block))}"
        return
    if peer.namespace is None:
        yield "namespaceSelector: {}"
    elif peer.namespace != namespace:
        yield from _selector("namespaceSelector", ((_METADATA_NAME, peer.namespace),), "")
    if peer.labels or peer.namespace == namespace:
        yield from _selector("podSelector", peer.labels, "")


def _selector(name: str, labels: Labels, indent: str) -> Iterator[str]:
    if not labels:
        yield f"{indent}{name}: {{}}"
        return
    yield f"{indent}{name}:"
    yield f"{indent}  matchLabels:"
    for key, value in labels:
        yield f"{indent}    {_scalar(key)}: {_scalar(value)}"


def _listed(lines: Iterable[str], indent: str) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"{indent}{'  ' if number else '- '}{line}"


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text)
