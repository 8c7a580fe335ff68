"""Rules of Calico's policies: which connections each is about.

Source and destination of a rule are *entities*. In an ingress rule the source is the other end and
the destination narrows the subject of the policy; in an egress rule it is the other way round. All
that a rule says has to hold. A rule of action Log decides nothing and is left out; the others keep
their places.

What the first packet of a connection does not show, or its ports do not, is a condition: HTTP
requests, ports of the source, protocols that have only a number.

Sources: api/pkg/apis/projectcalico/v3, libcalico-go/lib/validator/v3 and
libcalico-go/lib/backend/syncersv1/updateprocessors of Calico 3.31.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies.calico_entities import (
    EntityRule,
    peers_of,
    read_entity,
    subjects_of,
)
from kubeverdict.manifests.policies.calico_ports import CoveredPorts, ports_text, read_ports
from kubeverdict.manifests.policies.calico_selectors import Expression, pods_of
from kubeverdict.manifests.validation import (
    invalid,
    required,
    shape_list,
    shape_object,
    shape_string,
    unsupported,
    wrong_type,
)
from kubeverdict.model.addresses import Family
from kubeverdict.model.policy import Action, Direction, ExceptPeer, Peer, Rule, SetPeer
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.sources import FieldPath, Source

_ACTIONS = {"Allow": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS, "Log": None}
_RULE = frozenset(
    {
        *("action", "destination", "http", "icmp", "ipVersion", "metadata"),
        *("notICMP", "notProtocol", "protocol", "source"),
    }
)
_MOST_RULES = 1024

UNKNOWN_ACCOUNTS = "if the labels of service accounts are as asked for"


def read_rules(
    place: DocumentPlace,
    spec: Mapping[str, Any],
    direction: Direction,
    namespace: str | None,
    within: Expression | None = None,
    condition: str = "",
) -> list[Rule]:
    """The rules of a direction; ``namespace`` is that of the policy. ``within`` narrows the subject
    of each, and on ``condition`` each depends."""
    path: FieldPath = ("spec", direction.word)
    values = shape_list(place, spec.get(direction.word), path)
    if len(values) > _MOST_RULES:
        place.error(path, f"Too many: {len(values)}: must have at most {_MOST_RULES} items")
    found: list[Rule] = []
    for index, value in enumerate(values):
        found += _rule(place, value, direction, index, namespace, within, condition)
    return found


def _rule(
    place: DocumentPlace,
    value: Any,
    direction: Direction,
    index: int,
    namespace: str | None,
    within: Expression | None,
    condition: str,
) -> Iterator[Rule]:
    """The rules of the model that one rule is: one for each way to be its subject."""
    path: FieldPath = ("spec", direction.word, index)
    rule = shape_object(place, value, path)
    fields.check(place, rule, path, _RULE)
    action = _action(place, rule.get("action"), (*path, "action"))
    version = _version(place, rule.get("ipVersion"), (*path, "ipVersion"))
    ingress = direction is Direction.INGRESS
    source, destination = (
        read_entity(place, rule.get(word), (*path, word), namespace, services)
        for word, services in (("source", ingress), ("destination", not ingress))
    )
    ports = read_ports(place, rule, path, source, destination)
    http = _http(place, rule, path, direction, action)
    family = _family(place, path, version, ports, (source, destination))
    if action is None or place.failed:
        return
    other, own = (source, destination) if ingress else (destination, source)
    peers = peers_of(other, family)
    conditions = [
        *([http] if http else ()),
        *([ports.condition] if ports.condition else ()),
        *_about_source(source),
        *([UNKNOWN_ACCOUNTS] if _guessed(other, own) else ()),
        *([condition] if condition else ()),
    ]
    for subject in subjects_of(own, within):
        to_named = ports
        if ingress and subject and _is_of_sets(subject):
            to_named = _to_sets(ports)
            if own.pods and to_named.excluded != ports.excluded:
                subject = ExceptPeer(subject, tuple(map(pods_of, own.pods.terms)))
        for some, match in _by_peers(peers, to_named, direction):
            yield Rule(
                direction=direction,
                index=index,
                action=action,
                peers=some,
                ports=match.ports,
                source=Source(place.origin, path),
                excluded_ports=match.excluded,
                subject=subject,
                condition=" and ".join(dict.fromkeys(conditions)),
            )


def _by_peers(
    peers: tuple[Peer, ...] | None, ports: CoveredPorts, direction: Direction
) -> Iterator[tuple[tuple[Peer, ...] | None, CoveredPorts]]:
    """The peers of a rule and its ports; apart, where the name of a port means workloads that are
    selected and not what else has an address of a network set."""
    sets = tuple(peer for peer in peers or () if _is_of_sets(peer))
    names = [one for one in (*(ports.ports or ()), *ports.excluded) if isinstance(one, NamedPort)]
    if direction is Direction.INGRESS or not names or not sets:
        yield peers, ports
        return
    workloads = tuple(peer for peer in peers or () if peer not in sets)
    yield workloads, ports
    # A port of a workload that is left out by its name is, whatever else has the address.
    if workloads and any(isinstance(one, NamedPort) for one in ports.excluded):
        sets = tuple(ExceptPeer(one, workloads) for one in sets)
    yield sets, _to_sets(ports)


def _to_sets(ports: CoveredPorts) -> CoveredPorts:
    """The ports of what is selected by its address alone, none of which has a name."""
    return ports._replace(
        ports=ports.ports
        and tuple(port for port in ports.ports if not isinstance(port, NamedPort)),
        excluded=tuple(port for port in ports.excluded if not isinstance(port, NamedPort)),
    )


def _is_of_sets(peer: Peer) -> bool:
    while isinstance(peer, ExceptPeer):
        peer = peer.peer
    return isinstance(peer, SetPeer)


def _action(place: DocumentPlace, value: Any, path: FieldPath) -> Action | None:
    word = shape_string(place, value, path)
    if word == "":
        place.error(path, required())
    elif word is not None and word not in _ACTIONS:
        place.error(path, unsupported(word, tuple(_ACTIONS)))
    return _ACTIONS.get(word or "")


def _version(place: DocumentPlace, value: Any, path: FieldPath) -> Family | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        place.error(path, wrong_type(value, "an integer"))
        return None
    if value == 4:
        return 4
    if value == 6:
        return 6
    place.error(path, invalid(value, "must be 4 or 6"))
    return None


def _family(
    place: DocumentPlace,
    path: FieldPath,
    version: Family | None,
    ports: CoveredPorts,
    entities: tuple[EntityRule, EntityRule],
) -> Family | None:
    """The only address family that a rule can match, where there is one."""
    if version is not None and ports.version is not None and version != ports.version:
        word = "ICMP" if ports.version == 4 else "ICMPv6"
        message = invalid(version, f"must be {ports.version} where the protocol is {word}")
        place.error((*path, "ipVersion"), message)
    families = {block.family for one in entities for block in (*one.nets, *one.not_nets)}
    if len(families) > 1:
        place.error(path, "Invalid value: has nets of both IPv4 and IPv6")
    elif version is not None and families - {version}:
        place.error((*path, "ipVersion"), invalid(version, "is not the IP version of its nets"))
    known: list[Family] = [*families, *([version] if version is not None else ())]
    return known[0] if known else None


def _http(
    place: DocumentPlace,
    rule: Mapping[str, Any],
    path: FieldPath,
    direction: Direction,
    action: Action | None,
) -> str:
    """Which requests a rule is about; empty where it does not say."""
    if rule.get("http") is None:
        return ""
    field = (*path, "http")
    http = shape_object(place, rule["http"], field)
    fields.check(place, http, field, frozenset({"methods", "paths"}))
    if direction is Direction.EGRESS:
        place.error(field, "Invalid value: is not allowed in an egress rule")
    elif action is not Action.ALLOW:
        place.error(field, "Invalid value: is allowed in Allow rules only")
    methods = [
        shape_string(place, one, (*field, "methods", at)) or "*"
        for at, one in enumerate(shape_list(place, http.get("methods"), (*field, "methods")))
    ]
    paths = []
    for at, value in enumerate(shape_list(place, http.get("paths"), (*field, "paths"))):
        where = (*field, "paths", at)
        entry = shape_object(place, value, where)
        fields.check(place, entry, where, frozenset({"exact", "prefix"}))
        exact, prefix = (
            shape_string(place, entry.get(word), (*where, word)) for word in ("exact", "prefix")
        )
        if bool(exact) == bool(prefix):
            place.error(where, "Invalid value: must have one of exact and prefix")
        paths.append(exact or f"{prefix}*")
    wanted = [part for part in ("|".join(methods), " or ".join(paths)) if part]
    return f"for HTTP {' '.join(wanted)} only" if wanted else "for HTTP only"


def _guessed(other: EntityRule, own: EntityRule) -> bool:
    return any(terms.guessed for one in (other, own) for terms in (one.pods, one.not_pods) if terms)


def _about_source(source: EntityRule) -> Iterator[str]:
    if source.ports:
        yield f"from source port {ports_text(source.ports)} only"
    if source.not_ports:
        yield f"not from source port {ports_text(source.not_ports)}"
