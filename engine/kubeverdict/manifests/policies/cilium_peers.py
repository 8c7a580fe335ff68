"""Who rules of Cilium's policies are about: endpoints, entities, blocks, nodes, Services, names.

A rule may name one kind of peers. A list that is there and empty is nobody, but for Services,
names and groups, where it is as if it were not there.

Sources: Cilium 1.20.2, pkg/policy/api/{entity,cidr,fqdn,rule_validation}.go,
pkg/policy/utils/parserules.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies import cilium_selectors as selectors
from kubeverdict.manifests.policies.cilium_selectors import RuleEnds, outside, read_terms
from kubeverdict.manifests.validation import (
    CIDR,
    forbidden,
    invalid,
    read_cidr,
    required,
    shape_list,
    shape_object,
    shape_string,
    unsupported,
)
from kubeverdict.model.addresses import Block
from kubeverdict.model.policy import (
    ApiServerPeer,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    Peer,
    ServicePeer,
    SetPeer,
)
from kubeverdict.model.selectors import EVERYTHING, Selector
from kubeverdict.model.sources import FieldPath

GROUP_KIND = "CiliumCIDRGroup"
_SIDE = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_MEMBERS = ("Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes", "Groups", "Requires")
_OF_EGRESS = ("Services", "FQDNs")
# An empty list of these is nobody.
_NOBODY = ("Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes")

_NAMED: Mapping[str, tuple[Peer, ...]] = {
    "world": (NamedPeer(EndSet.WORLD),),
    # An API server outside of the cluster has this label too, where it is known.
    "cluster": (NamedPeer(EndSet.CLUSTER), ApiServerPeer()),
    "cluster-mesh": (NamedPeer(EndSet.CLUSTER), ApiServerPeer()),
    "host": (NamedPeer(EndSet.HOST),),
    "remote-node": (NamedPeer(EndSet.REMOTE_NODE),),
    "kube-apiserver": (ApiServerPeer(),),
}
# Ends that Cilium itself makes, which no input shows.
_UNSEEN = ("init", "ingress", "unmanaged", "health")
ENTITIES = ("all", *_NAMED, *_UNSEEN, "none")

_is_group = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*").fullmatch
_is_name = re.compile(r"([-a-zA-Z0-9_]+[.]?)+").fullmatch
_is_pattern = re.compile(r"([-a-zA-Z0-9_*]+[.]?)+").fullmatch
_LONGEST_NAME = 255


def fields_of(direction: Direction, denies: bool) -> frozenset[str]:
    """The fields of a rule that say who it is about."""
    side = _SIDE[direction]
    egress = () if direction is Direction.INGRESS else _OF_EGRESS[: 1 if denies else 2]
    return frozenset(side + name for name in (*_MEMBERS, *egress))


def read_ends(
    place: DocumentPlace,
    rule: Mapping[str, Any],
    path: FieldPath,
    direction: Direction,
    denies: bool,
    namespace: str | None,
) -> list[RuleEnds] | None:
    """Who a rule is about, nobody where its list is empty; None where it does not say."""
    side = _SIDE[direction]
    written = {
        name.removeprefix(side): shape_list(place, rule[name], (*path, name))
        for name in sorted(fields_of(direction, denies))
        if rule.get(name) is not None
    }
    if written.pop("Requires", None):
        place.error((*path, f"{side}Requires"), forbidden("is gone from this version of the API"))
    several = [name for name, values in written.items() if values]
    if len(several) > 1:
        names = " and ".join(side + name for name in several)
        place.error(path, forbidden(f"one rule may not have {names}: make two rules of it"))
    if any(name in _NOBODY and not values for name, values in written.items()):
        return []
    has_ports = bool(rule.get("toPorts") or rule.get("icmps"))
    if has_ports and written and not any(written.values()):
        (name, *_) = written
        message = "an empty list is as if it were not there: the rule is for every end"
        place.warn((*path, side + name), message)
    if denies and written.pop("Services", []) and has_ports:
        # These are not looked up for rules that deny.
        message = "a rule that denies does not look for Services: it is for every end"
        place.warn((*path, f"{side}Services"), message)
    found: list[RuleEnds] = []
    for name, values in written.items():
        read = _READERS[name]
        for index, value in enumerate(values):
            found += read(place, value, (*path, side + name, index), namespace)
    return _together(found) if any(written.values()) else None


def _together(found: list[RuleEnds]) -> list[RuleEnds]:
    """The peers of each condition, and those without one, as one entry. Whoever is the API server
    stays apart: what is not known of it may make a rule conditional."""
    together: dict[tuple[str, bool], list[Peer] | None] = {}
    for one in found:
        alone = one.peers == _NAMED["kube-apiserver"]
        known = together.setdefault((one.condition, alone), [])
        if one.peers is None or known is None:
            together[one.condition, alone] = None
        else:
            known += one.peers
    return [
        RuleEnds(None if peers is None else tuple(dict.fromkeys(peers)), text)
        for (text, _), peers in together.items()
    ]


def _endpoint(
    place: DocumentPlace, value: Any, path: FieldPath, namespace: str | None
) -> list[RuleEnds]:
    return selectors.endpoints(read_terms(place, value, path), namespace)


def _entity(place: DocumentPlace, value: Any, path: FieldPath, _: str | None) -> list[RuleEnds]:
    word = shape_string(place, value, path)
    if word is not None and word not in ENTITIES:
        place.error(path, unsupported(word, ENTITIES))
    if word in _UNSEEN:
        place.warn(path, f"no pod or address of the input is taken for {word}")
    if word == "all":
        return [RuleEnds(None)]
    named = _NAMED.get(word or "")
    return [RuleEnds(named)] if named else []


def _cidr(place: DocumentPlace, value: Any, path: FieldPath, _: str | None) -> list[RuleEnds]:
    block = _block(place, value, path)
    return [] if block is None else [RuleEnds((outside(block),))]


def _cidr_rule(place: DocumentPlace, value: Any, path: FieldPath, _: str | None) -> list[RuleEnds]:
    entry = shape_object(place, value, path)
    known = ("cidr", "cidrGroupRef", "cidrGroupSelector")
    fields.check(place, entry, path, frozenset({*known, "except"}))
    named = [name for name in known if entry.get(name) not in (None, "")]
    found = (*path, "except")
    excepts = [
        _block(place, one, (*found, index))
        for index, one in enumerate(shape_list(place, entry.get("except"), found))
    ]
    apart = tuple(block for block in excepts if block is not None)
    if len(named) != 1:
        place.error(path, required(f"exactly one of {', '.join(known)}"))
        return []
    (one,) = named
    if one == "cidr":
        block = _block(place, entry[one], (*path, one))
        if block is None:
            return []
        for index, part in enumerate(excepts):
            if part is not None and not _is_inside(part, block):
                place.error((*found, index), invalid(str(part), "must be inside of `cidr`"))
        return [RuleEnds((outside(block, apart),))]
    peer: Peer
    if one == "cidrGroupRef":
        name = shape_string(place, entry[one], (*path, one))
        if name is not None and not _is_group(name):
            place.error((*path, one), invalid(name, f"must be the name of a {GROUP_KIND}"))
        peer = SetPeer(GROUP_KIND, name, excepts=apart)
    else:
        terms = read_terms(place, entry[one], (*path, one))
        chosen = Selector.of(term.asks for term in terms)
        peer = SetPeer(GROUP_KIND, None, chosen, excepts=apart)
    return [RuleEnds((ExceptPeer(peer, (NamedPeer(EndSet.CLUSTER),)),))]


def _block(place: DocumentPlace, value: Any, path: FieldPath) -> Block | None:
    """A CIDR, which may have bits behind its prefix, and no spare zeros."""
    text = shape_string(place, value, path)
    if text is None:
        return None
    found = read_cidr(text)
    if found is None:
        place.error(path, invalid(text, CIDR))
        return None
    return found.block


def _is_inside(part: Block, block: Block) -> bool:
    return (
        part.family == block.family
        and part.prefix >= block.prefix
        and block.first <= part.first <= block.last
    )


def _node(place: DocumentPlace, value: Any, path: FieldPath, _: str | None) -> list[RuleEnds]:
    terms = read_terms(place, value, path)
    nodes = NodePeer(Selector.of(term.asks for term in terms))
    text = "if agents run with enable-node-selector-labels, without which they refuse the policy"
    return [RuleEnds((ExceptPeer(nodes, (NamedPeer(EndSet.HOST),)),), text)]


def _group(place: DocumentPlace, value: Any, path: FieldPath, _: str | None) -> list[RuleEnds]:
    shape_object(place, value, path)
    return [RuleEnds((NamedPeer(EndSet.WORLD),), "if the address is one of a group in the cloud")]


def _service(place: DocumentPlace, value: Any, path: FieldPath, _: str | None) -> list[RuleEnds]:
    entry = shape_object(place, value, path)
    fields.check(place, entry, path, frozenset({"k8sService", "k8sServiceSelector"}))
    chosen = entry.get("k8sServiceSelector")
    if chosen is not None:
        path = (*path, "k8sServiceSelector")
        part = shape_object(place, chosen, path)
        fields.check(place, part, path, frozenset({"selector", "namespace"}))
        if part.get("selector") is None:
            place.error((*path, "selector"), required())
        terms = read_terms(place, part.get("selector"), (*path, "selector"))
        where = shape_string(place, part.get("namespace"), (*path, "namespace"))
        # The sources of these keys are not looked at.
        labels = Selector.of(term.asks for term in terms)
        return [RuleEnds((ServicePeer(None, where or None, labels),))]
    if entry.get("k8sService") is None:
        return []
    path = (*path, "k8sService")
    part = shape_object(place, entry["k8sService"], path)
    fields.check(place, part, path, frozenset({"serviceName", "namespace"}))
    name = shape_string(place, part.get("serviceName"), (*path, "serviceName"))
    where = shape_string(place, part.get("namespace"), (*path, "namespace"))
    return [RuleEnds((ServicePeer(name or "", where or None, EVERYTHING),))]


def _domain(place: DocumentPlace, value: Any, path: FieldPath, _: str | None) -> list[RuleEnds]:
    entry = shape_object(place, value, path)
    known = ("matchName", "matchPattern")
    fields.check(place, entry, path, frozenset(known))
    named = [name for name in known if entry.get(name) not in (None, "")]
    if len(named) != 1:
        place.error(path, required(f"exactly one of {' and '.join(known)}"))
        return []
    (one,) = named
    text = shape_string(place, entry[one], (*path, one))
    if text is None:
        return []
    check = _is_name if one == "matchName" else _is_pattern
    if len(text) > _LONGEST_NAME or not check(text):
        place.error((*path, one), invalid(text, "must be a domain name (a pattern may have *)"))
    return [RuleEnds((NamedPeer(EndSet.WORLD),), f"if the address was given for {text.lower()}")]


_Read = Callable[[DocumentPlace, Any, FieldPath, str | None], list[RuleEnds]]
_READERS: Mapping[str, _Read] = {
    "Endpoints": _endpoint,
    "Entities": _entity,
    "CIDR": _cidr,
    "CIDRSet": _cidr_rule,
    "Nodes": _node,
    "Groups": _group,
    "Services": _service,
    "FQDNs": _domain,
}


def each_block(place: DocumentPlace, values: list[Any], path: FieldPath) -> Iterator[Block]:
    """The blocks of a list."""
    for index, value in enumerate(values):
        block = _block(place, value, (*path, index))
        if block is not None:
            yield block
