"""The source and the destination of a rule of Calico's policies: ends by labels, accounts and
addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies.calico_ports import RulePort, read_port_list
from kubeverdict.manifests.policies.calico_selectors import (
    ACCOUNT,
    ALL,
    GLOBAL,
    GLOBAL_SET,
    IN_NAMESPACE,
    LOCAL_SET,
    LONGEST,
    NAMESPACE,
    OF_ACCOUNTS,
    OF_NAMESPACES,
    POD,
    Expression,
    Negation,
    SelectorError,
    SelectorTerms,
    Several,
    lowered,
    parse,
    pods_of,
    sets_of,
)
from kubeverdict.manifests.validation import (
    CIDR,
    invalid,
    required,
    shape_list,
    shape_object,
    shape_string,
)
from kubeverdict.model.addresses import BITS, Block, Family, parse_address, parse_block
from kubeverdict.model.policy import (
    BackendPeer,
    BlockPeer,
    EndSet,
    ExceptPeer,
    NamedPeer,
    Peer,
)
from kubeverdict.model.selectors import Operator, Requirement
from kubeverdict.model.sources import FieldPath

LOCAL, GLOBAL_KIND = "NetworkSet", "GlobalNetworkSet"
"""What policies call network sets of a namespace and of none."""

_ENTITY = frozenset(
    {
        *("namespaceSelector", "nets", "notNets", "notPorts", "notSelector"),
        *("ports", "selector", "serviceAccounts", "services"),
    }
)
_EVERY: dict[Family, Block] = {4: Block(4, 0, 0), 6: Block(6, 0, 0)}
_ALL = NamedPeer(EndSet.ALL)


class EntityRule(NamedTuple):
    """One end of a rule. ``pods`` and ``sets`` are the workloads and network sets that it selects,
    ``pods`` None where it does not ask for labels; ``not_…`` are those that it leaves out where it
    asks for nothing else. (What it selects and leaves out at once, it does not select.)
    ``expression`` is what it asks for."""

    pods: SelectorTerms | None = None
    sets: tuple[Peer, ...] = ()
    not_pods: SelectorTerms | None = None
    not_sets: tuple[Peer, ...] = ()
    nets: tuple[Block, ...] = ()
    not_nets: tuple[Block, ...] = ()
    ports: tuple[RulePort, ...] = ()
    not_ports: tuple[RulePort, ...] = ()
    service: BackendPeer | None = None
    expression: Expression | None = None


def read_entity(
    place: DocumentPlace,
    value: Any,
    path: FieldPath,
    namespace: str | None,
    services: bool,
) -> EntityRule:
    """The entity at ``path``. ``services``: it may name a Service."""
    entity = shape_object(place, value, path)
    if not entity:
        return EntityRule()
    fields.check(place, entity, path, _ENTITY)
    own = read_selector(place, entity.get("selector"), (*path, "selector"))
    spaces = read_selector(
        place,
        entity.get("namespaceSelector"),
        (*path, "namespaceSelector"),
        OF_NAMESPACES,
        IN_NAMESPACE,
    )
    without = read_selector(place, entity.get("notSelector"), (*path, "notSelector"))
    account = _accounts(place, entity.get("serviceAccounts"), (*path, "serviceAccounts"))
    wanted = [one for one in (account, own) if one is not None]
    if spaces is None and namespace is not None and (wanted or without is not None):
        spaces = Requirement(NAMESPACE, Operator.IN, (namespace,))
    wanted = [*([spaces] if spaces is not None else ()), *wanted]
    if wanted and without is not None:
        wanted, without = [*wanted, Negation(without)], None
    expression = Several(tuple(wanted)) if wanted else None
    found = EntityRule(
        nets=read_nets(place, entity.get("nets"), (*path, "nets")),
        not_nets=read_nets(place, entity.get("notNets"), (*path, "notNets")),
        ports=read_port_list(place, entity.get("ports"), (*path, "ports")),
        not_ports=read_port_list(place, entity.get("notPorts"), (*path, "notPorts")),
        service=_service(place, entity, path, namespace, services),
        expression=expression,
    )
    try:
        if expression is not None:
            found = found._replace(pods=lowered(expression, POD), sets=tuple(_sets(expression)))
        if without is not None:
            found = found._replace(not_pods=lowered(without, POD), not_sets=tuple(_sets(without)))
    except SelectorError as error:
        place.error(path, f"Invalid value: the selector {error}")
    return found


def read_selector(
    place: DocumentPlace,
    value: Any,
    path: FieldPath,
    prefix: str = "",
    everyone: Expression = ALL,
) -> Expression | None:
    """A selector; None where there is none, or an error, which is reported."""
    text = shape_string(place, value, path)
    if not text:
        return None
    if len(text) > LONGEST:
        place.error(path, f"Too long: may not be more than {LONGEST} bytes")
        return None
    try:
        found = parse(text, prefix, everyone)
    except SelectorError as error:
        place.error(path, invalid(text, str(error)))
        return None
    if found is not GLOBAL and _has_global(found):
        message = "global() stands alone, and only in the namespaceSelector of a rule"
        place.error(path, invalid(text, message))
    elif found is GLOBAL and (prefix != OF_NAMESPACES or path[-2] == "spec"):
        message = "global() may only be the namespaceSelector of a rule"
        place.error(path, invalid(text, message))
    return found


def _has_global(expression: Expression) -> bool:
    if expression is GLOBAL:
        return True
    if isinstance(expression, Negation):
        return _has_global(expression.part)
    return isinstance(expression, Several) and any(map(_has_global, expression.parts))


def _accounts(place: DocumentPlace, value: Any, path: FieldPath) -> Expression | None:
    accounts = shape_object(place, value, path)
    fields.check(place, accounts, path, frozenset({"names", "selector"}))
    names = [
        shape_string(place, one, (*path, "names", at)) or ""
        for at, one in enumerate(shape_list(place, accounts.get("names"), (*path, "names")))
    ]
    wanted = [read_selector(place, accounts.get("selector"), (*path, "selector"), OF_ACCOUNTS)]
    if names:
        wanted.append(Requirement(ACCOUNT, Operator.IN, tuple(sorted(set(names)))))
    found = tuple(one for one in wanted if one is not None)
    return Several(found) if found else None


def read_nets(
    place: DocumentPlace, value: Any, path: FieldPath, addresses: bool = False
) -> tuple[Block, ...]:
    """The blocks of a list, in which ``addresses`` may be alone."""
    found = []
    for at, one in enumerate(shape_list(place, value, path)):
        text = shape_string(place, one, (*path, at))
        if text is None:
            continue
        block = parse_block(text)
        alone = parse_address(text) if addresses else None
        if alone is not None:
            block = Block(alone.family, alone.value, BITS[alone.family])
        if block is None:
            place.error((*path, at), invalid(text, CIDR))
        else:
            found.append(block)
    return tuple(found)


_BESIDE_SERVICES = (
    *("namespaceSelector", "selector", "notSelector", "serviceAccounts"),
    *("nets", "notNets"),
)


def _service(
    place: DocumentPlace,
    entity: dict[str, Any],
    path: FieldPath,
    namespace: str | None,
    allowed: bool,
) -> BackendPeer | None:
    if entity.get("services") is None:
        return None
    field = (*path, "services")
    service = shape_object(place, entity["services"], field)
    fields.check(place, service, field, frozenset({"name", "namespace"}))
    name, space = (
        shape_string(place, service.get(word), (*field, word)) for word in ("name", "namespace")
    )
    egress = path[-1] == "destination"
    if not allowed:
        side = "destination of an ingress" if egress else "source of an egress"
        place.error(field, f"Invalid value: is not allowed in the {side} rule")
    if name == "":
        place.error((*field, "name"), required())
    if space == "" and namespace is None:
        place.error((*field, "namespace"), required("the policy is in no namespace"))
    beside = (*_BESIDE_SERVICES, "ports", "notPorts") if egress else _BESIDE_SERVICES
    for word in beside:
        if entity.get(word):
            place.error(field, f"Invalid value: cannot be together with {word}")
    return BackendPeer(space or namespace or "", name or "", egress)


def _sets(expression: Expression) -> Iterator[Peer]:
    for kind, name in ((LOCAL_SET, LOCAL), (GLOBAL_SET, GLOBAL_KIND)):
        for term in lowered(expression, kind).terms:
            yield sets_of(term, name)


# --- entities as peers and subjects ----------------------------------------------------------


def peers_of(entity: EntityRule, family: Family | None) -> tuple[Peer, ...] | None:
    """The other ends that an entity means, on addresses of a family where one is given."""
    if entity.service is not None:
        return _on_family((entity.service,), family)
    excluded: list[Peer] = [BlockPeer(block) for block in entity.not_nets]
    if entity.not_pods is not None:
        excluded += [*map(pods_of, entity.not_pods.terms), *entity.not_sets]
    if entity.pods is None:
        if entity.nets and len(excluded) == len(entity.not_nets):
            return tuple(_blocks(entity.nets, entity.not_nets))
        if not entity.nets and not excluded and family is None:
            return None
        peers: tuple[Peer, ...] = tuple(map(BlockPeer, entity.nets)) or (_ALL,)
    else:
        peers = (*map(pods_of, entity.pods.terms), *entity.sets)
        if entity.nets:
            outside = ExceptPeer(_ALL, tuple(map(BlockPeer, entity.nets)))
            excluded.insert(0, outside)
    if not entity.nets and family is not None:
        excluded.append(BlockPeer(_EVERY[6 if family == 4 else 4]))
    without = tuple(excluded)
    return tuple(ExceptPeer(peer, without) for peer in peers) if without else peers


def _on_family(peers: tuple[Peer, ...], family: Family | None) -> tuple[Peer, ...]:
    if family is None:
        return peers
    other = (BlockPeer(_EVERY[6 if family == 4 else 4]),)
    return tuple(ExceptPeer(peer, other) for peer in peers)


def _blocks(nets: Sequence[Block], without: Sequence[Block]) -> Iterator[BlockPeer]:
    """Blocks without others, as far as something of them is left."""
    for block in nets:
        if not any(_is_inside(block, part) for part in without):
            yield BlockPeer(block, tuple(part for part in without if _is_inside(part, block)))


def _is_inside(part: Block, block: Block) -> bool:
    return (
        part.family == block.family
        and part.prefix >= block.prefix
        and block.first <= part.first <= block.last
    )


def subjects_of(entity: EntityRule, within: Expression | None) -> list[Peer | None]:
    """The pods that an entity, and what ``within`` says, narrow the subject of a policy to: None
    leaves it as it is."""
    if within is None:
        own = peers_of(entity, None)
        if own is None or _holds_every_pod(entity):
            return [None]
        return list(own)
    wanted = [one for one in (within, entity.expression) if one is not None]
    pods = [pods_of(term) for term in lowered(Several(tuple(wanted)), POD).terms]
    own = peers_of(entity._replace(pods=None, sets=(), expression=None), None)
    found: list[Peer | None] = list(pods if own is None else (_both(one, own) for one in pods))
    if entity.sets:
        policy = tuple(map(pods_of, lowered(within, POD).terms))
        by_set = peers_of(entity._replace(pods=SelectorTerms(())), None) or ()
        found += [_both(one, policy) for one in by_set]
    return found


def _holds_every_pod(entity: EntityRule) -> bool:
    bare = not (entity.nets or entity.not_nets)
    terms = entity.pods.terms if entity.pods is not None else ()
    return bare and any(one.own.selects_all and one.namespaces.selects_all for one in terms)


def _both(peer: Peer, others: tuple[Peer, ...]) -> Peer:
    """What is in a peer and in any of some others."""
    return ExceptPeer(peer, (ExceptPeer(_ALL, others),))
