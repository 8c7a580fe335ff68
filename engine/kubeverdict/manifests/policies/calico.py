"""Calico's policies: NetworkPolicy, GlobalNetworkPolicy and the documents they refer to, in the
form of its API (projectcalico.org/v3) and in the one that it stores (crd.projectcalico.org/v1).

Policies without a tier are in that of NetworkPolicy, which Calico calls ``default``: there the
policies of Kubernetes have order 1000. In every tier ties of order are broken by what Calico calls
a policy inside, as text. A tier that no document describes comes last and denies in the end.

What is about host endpoints alone leaves pods as they are, and a warning says so.

Sources: as of ``calico_rules``; names of policies in libcalico-go/lib/names; what is stored in
libcalico-go/lib/backend/k8s/resources. All of Calico 3.31.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies import ADMIN_TIER, BASELINE_TIER
from kubeverdict.manifests.policies.calico_entities import read_nets, read_selector
from kubeverdict.manifests.policies.calico_rules import UNKNOWN_ACCOUNTS, read_rules
from kubeverdict.manifests.policies.calico_selectors import (
    IN_NAMESPACE,
    NAMESPACE,
    OF_ACCOUNTS,
    OF_NAMESPACES,
    POD,
    Expression,
    SelectorError,
    SelectorTerm,
    SelectorTerms,
    Several,
    lowered,
    pods_of,
)
from kubeverdict.manifests.policies.reading import PolicyHead, PolicyReader
from kubeverdict.manifests.validation import (
    dns_label_errors,
    invalid,
    shape_list,
    shape_object,
    shape_string,
    unsupported,
    wrong_type,
)
from kubeverdict.model.policy import (
    END_OF_TIER,
    NETWORK_POLICY_TIER,
    Action,
    Direction,
    Policy,
    Rule,
    Tier,
)
from kubeverdict.model.references import AddressSet, TierDefinition
from kubeverdict.model.selectors import (
    EVERYTHING,
    NOTHING,
    Operator,
    Requirement,
    Selector,
)
from kubeverdict.model.sources import FieldPath, Source

TIER_KIND = "Tier.projectcalico.org"
_DEFAULT = "default"
# Tiers that are there without a document; those of newer versions are called otherwise.
_TIERS = {
    _DEFAULT: NETWORK_POLICY_TIER,
    "adminnetworkpolicy": ADMIN_TIER,
    "kube-admin": ADMIN_TIER,
    "baselineadminnetworkpolicy": BASELINE_TIER,
    "kube-baseline": BASELINE_TIER,
}
# The order of policies that have none: last, but in front of the end of the tier.
_LAST = sys.float_info.max
_LAST_TIER = float("inf")
# The place of what is no rule of the list.
_ENDING = 1 << 16
_DEFAULT_ACTIONS = {"Deny": Action.DENY, "Pass": Action.PASS}
_UNORDERED_TIER = 1_000_000.0
_STORED = "crd.projectcalico.org/"
_METADATA = "projectcalico.org/metadata"

_SPEC = frozenset(
    {
        *("egress", "ingress", "order", "performanceHints", "selector", "serviceAccountSelector"),
        *("tier", "types"),
    }
)
_GLOBAL_SPEC = _SPEC | {"applyOnForward", "doNotTrack", "namespaceSelector", "preDNAT"}
_TYPES = {"Ingress": Direction.INGRESS, "Egress": Direction.EGRESS}


class _StoredMetadata(msgspec.Struct):
    """What the stored form keeps in an annotation."""

    name: str = ""
    labels: dict[str, str] | None = None


def read(reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any) -> Policy:
    """The NetworkPolicy with the spec ``value``; its errors are reported to ``place``."""
    return _policy(reader, place, head, value, _SPEC)


def read_global(reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any) -> Policy:
    """The same of a GlobalNetworkPolicy."""
    return _policy(reader, place, head, value, _GLOBAL_SPEC)


def _policy(
    reader: PolicyReader,
    place: DocumentPlace,
    head: PolicyHead,
    value: Any,
    known: frozenset[str],
) -> Policy:
    path: FieldPath = ("spec",)
    spec = shape_object(place, value, path)
    fields.check(place, spec, path, known)
    tier = shape_string(place, spec.get("tier"), (*path, "tier")) or _DEFAULT
    stored = head.api_version.startswith(_STORED)
    name = _name(head, tier, stored)
    order = _order(place, spec.get("order"), (*path, "order"))
    types = _types(place, spec, stored)
    selected = _selected(place, spec, head.namespace)
    apart = not selected.fits(head.namespace)
    rules = [
        rule
        for direction in Direction
        for rule in read_rules(
            place,
            spec,
            direction,
            head.namespace,
            selected.expression if apart else None,
            UNKNOWN_ACCOUNTS if selected.terms.guessed else "",
        )
        if direction in types
    ]
    subject = SelectorTerm(NOTHING, EVERYTHING)
    isolates = types
    if apart or selected.terms.guessed:
        rules += _endings(place, types, selected.terms)
        isolates = ()
    if selected.terms.terms:
        subject = _widest(selected.terms.terms)
    inside = name if name.startswith(f"{tier}.") else f"{tier}.{name}"
    policy = Policy(
        kind=head.kind,
        namespace=head.namespace,
        name=name,
        tier=_TIERS.get(tier, Tier(_LAST_TIER, tier, Action.DENY)),
        pods=subject.own,
        isolates=isolates,
        rules=tuple(rules),
        source=Source(place.origin),
        namespaces=pods_of(subject).namespaces if head.namespace else subject.namespaces,
        order=_LAST if order is None else order,
        annotations=head.annotations,
        defaulted=not spec.get("types"),
        listed=tuple(one for one in Direction if spec.get(one.word) is not None),
        subject_field=(*path, "selector"),
        tiebreak=f"{head.namespace}/{inside}" if head.namespace else inside,
        tier_kind="" if tier in _TIERS else TIER_KIND,
        refers=True,
    )
    return _for_pods(place, spec, policy)


def _for_pods(place: DocumentPlace, spec: Mapping[str, Any], policy: Policy) -> Policy:
    """The policy as far as it is about pods: what comes before connections are tracked, or before
    addresses are translated, is about host endpoints."""
    flags = {}
    for word in ("doNotTrack", "preDNAT", "applyOnForward"):
        value = spec.get(word)
        if value is not None and not isinstance(value, bool):
            place.error(("spec", word), wrong_type(value, "a boolean"))
        flags[word] = value is True
    early = [word for word in ("doNotTrack", "preDNAT") if flags[word]]
    if len(early) == 2:
        place.error(("spec", "preDNAT"), "Invalid value: cannot be together with doNotTrack")
    if early and not flags["applyOnForward"]:
        message = f"Invalid value: must be true where {early[0]} is"
        place.error(("spec", "applyOnForward"), message)
    types = spec.get("types")
    if flags["preDNAT"] and (spec.get("egress") or "Egress" in (types or ())):
        place.error(("spec", "preDNAT"), "Invalid value: cannot be together with egress")
    if early:
        message = "is about host endpoints, which are not evaluated: no pod is a subject of it"
        place.warn(("spec", early[0]), message)
        return replace(policy, pods=NOTHING, isolates=(), rules=())
    if flags["applyOnForward"]:
        message = "matters at host endpoints, which are not evaluated; pods have the policy anyway"
        place.warn(("spec", "applyOnForward"), message)
    return policy


class _Selected(NamedTuple):
    """The pods that a policy is about."""

    expression: Expression
    terms: SelectorTerms

    def fits(self, namespace: str | None) -> bool:
        """Whether a selector of pods and one of namespaces say it; in a policy of a namespace there
        is none of namespaces."""
        if not self.terms.terms:
            return True
        [*more, term] = self.terms.terms
        return not more and (namespace is None or pods_of(term).namespace == namespace)


def _selected(place: DocumentPlace, spec: Mapping[str, Any], namespace: str | None) -> _Selected:
    path: FieldPath = ("spec",)
    parts: list[Expression | None] = [
        read_selector(place, spec.get("selector"), (*path, "selector")),
        read_selector(
            place,
            spec.get("serviceAccountSelector"),
            (*path, "serviceAccountSelector"),
            OF_ACCOUNTS,
        ),
    ]
    if namespace is not None:
        parts.append(Requirement(NAMESPACE, Operator.IN, (namespace,)))
    else:
        field = (*path, "namespaceSelector")
        parts.append(
            read_selector(place, spec.get("namespaceSelector"), field, OF_NAMESPACES, IN_NAMESPACE)
        )
    whole = Several(tuple(part for part in parts if part is not None))
    try:
        return _Selected(whole, lowered(whole, POD))
    except SelectorError as error:
        place.error((*path, "selector"), f"Invalid value: {error}")
        return _Selected(whole, SelectorTerms(()))


def _widest(terms: Sequence[SelectorTerm]) -> SelectorTerm:
    """Of several terms, one that holds them all."""
    return SelectorTerm(
        Selector.any_of(term.own for term in terms),
        Selector.any_of(term.namespaces for term in terms),
    )


def _endings(
    place: DocumentPlace, types: Sequence[Direction], terms: SelectorTerms
) -> Iterator[Rule]:
    """The end of the tier, for subjects that one selector of pods and one of namespaces cannot
    say, or that are not known: behind the rules of all policies, what is left is denied."""
    condition = UNKNOWN_ACCOUNTS if terms.guessed else ""
    for direction in types:
        for term in terms.terms:
            yield Rule(
                direction=direction,
                index=_ENDING,
                action=Action.DENY,
                peers=None,
                ports=None,
                source=Source(place.origin, ("spec", "selector")),
                subject=pods_of(term),
                precedence=END_OF_TIER,
                condition=condition,
            )


def _name(head: PolicyHead, tier: str, stored: bool) -> str:
    """What its users call a policy: what the tier ``default`` puts in front is left out."""
    name = (_stored_metadata(head).name if stored else "") or head.name
    return name.removeprefix(f"{_DEFAULT}.") if tier == _DEFAULT else name


def _order(place: DocumentPlace, value: Any, path: FieldPath) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        place.error(path, wrong_type(value, "a number"))
        return None
    return float(value)


def _types(place: DocumentPlace, spec: Mapping[str, Any], stored: bool) -> tuple[Direction, ...]:
    path: FieldPath = ("spec", "types")
    words = shape_list(place, spec.get("types"), path)
    if not words:
        if stored:
            return tuple(Direction)
        egress = (Direction.EGRESS,) if spec.get("egress") else ()
        return (Direction.INGRESS, *egress) if spec.get("ingress") or not egress else egress
    found: list[Direction] = []
    for index, word in enumerate(words):
        text = shape_string(place, word, (*path, index))
        direction = _TYPES.get(text or "")
        if direction is None and text is not None:
            place.error((*path, index), unsupported(text, tuple(_TYPES)))
        elif direction in found:
            place.error((*path, index), invalid(text, "is there more than once"))
        elif direction is not None:
            found.append(direction)
    return tuple(sorted(found))


# --- what policies refer to ------------------------------------------------------------------


def read_tier(
    reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any
) -> TierDefinition:
    """The tier that a document describes."""
    path: FieldPath = ("spec",)
    spec = shape_object(place, value, path)
    fields.check(place, spec, path, frozenset({"defaultAction", "order"}))
    for message in dns_label_errors(head.name) if head.name else ():
        place.error(("metadata", "name"), invalid(head.name, message))
    order = _order(place, spec.get("order"), (*path, "order"))
    word = shape_string(place, spec.get("defaultAction"), (*path, "defaultAction"))
    if word and word not in _DEFAULT_ACTIONS:
        place.error((*path, "defaultAction"), unsupported(word, tuple(_DEFAULT_ACTIONS)))
    action = _DEFAULT_ACTIONS.get(word or "", Action.DENY)
    known = _TIERS.get(head.name)
    if known is not None:
        if order != known.order:
            message = f"must be {known.order:.0f} for the tier {head.name}"
            place.error((*path, "order"), invalid(order, message))
        if word and action is not known.default:
            message = "is not what this tier has, and not taken into account"
            place.warn((*path, "defaultAction"), message)
        return TierDefinition(head.kind, head.name, known)
    tier = Tier(_UNORDERED_TIER if order is None else order, head.name, action)
    return TierDefinition(head.kind, head.name, tier)


def read_set(
    reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any
) -> AddressSet:
    """The addresses of a NetworkSet or GlobalNetworkSet."""
    path: FieldPath = ("spec",)
    spec = shape_object(place, value, path)
    fields.check(place, spec, path, frozenset({"nets"}))
    blocks = read_nets(place, spec.get("nets"), (*path, "nets"), addresses=True)
    labels = head.labels
    if head.api_version.startswith(_STORED):
        labels = {**labels, **(_stored_metadata(head).labels or {})}
    if NAMESPACE in labels:
        message = invalid(NAMESPACE, "is a label that Calico gives")
        place.error(("metadata", "labels"), message)
    return AddressSet(head.kind, head.namespace, head.name, labels, blocks)


def _stored_metadata(head: PolicyHead) -> _StoredMetadata:
    try:
        return msgspec.json.decode(head.annotations.get(_METADATA, "{}"), type=_StoredMetadata)
    except msgspec.DecodeError:
        return _StoredMetadata()
