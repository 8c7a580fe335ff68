"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (cilium.io/v2), lowered to model rules.

They are in the tier of NetworkPolicy: what any of them allows adds up. A rule that denies comes
before all that allow. A policy isolates by having rules in a direction, of either kind, unless
``enableDefaultDeny`` says otherwise. One document may hold several policies (``specs``), each with
a subject of its own.

A policy with one rule that agents do not take is none to them, so it is refused here as a whole.

Sources: Cilium 1.20.2, the custom resource definitions, pkg/policy/api/rule_validation.go,
pkg/policy/{rule,repository}.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies import cilium_selectors as selectors
from kubeverdict.manifests.policies.cilium_peers import fields_of, read_ends
from kubeverdict.manifests.policies.cilium_ports import RulePorts, read_ports
from kubeverdict.manifests.policies.cilium_selectors import (
    PodTerms,
    RuleEnds,
    cluster_text,
    read_terms,
)
from kubeverdict.manifests.policies.reading import PolicyHead, PolicyReader
from kubeverdict.manifests.validation import (
    forbidden,
    required,
    shape_list,
    shape_object,
    shape_string,
    unsupported,
    wrong_type,
)
from kubeverdict.model.policy import (
    Action,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    PodPeer,
    Policy,
    ReferringPeer,
    Rule,
    parts_of,
)
from kubeverdict.model.references import both
from kubeverdict.model.selectors import EVERYTHING, NOTHING, Selector
from kubeverdict.model.sources import FieldPath, Origin, Source

_SECTIONS = {
    "ingress": (Direction.INGRESS, Action.ALLOW),
    "ingressDeny": (Direction.INGRESS, Action.DENY),
    "egress": (Direction.EGRESS, Action.ALLOW),
    "egressDeny": (Direction.EGRESS, Action.DENY),
}
_SPEC = frozenset(
    {
        *(*_SECTIONS, "endpointSelector", "nodeSelector", "enableDefaultDeny"),
        *("labels", "description", "log"),
    }
)
# Before everything that allows; and what isolates some of the subjects alone, behind it.
_FIRST, _LAST = -1.0, float("inf")
_AUTHENTICATION = {
    "disabled": "",
    "required": "if both ends prove who they are (mutual authentication)",
    "test-always-fail": "never: its authentication always fails",
}


class _Spec(NamedTuple):
    """One policy of a document, and where it is. ``namespaces`` are asked for by their labels."""

    pods: Selector
    namespaces: Selector
    isolates: tuple[Direction, ...]
    rules: tuple[Rule, ...]
    path: FieldPath

    @property
    def subject(self) -> tuple[Selector, Selector]:
        return self.pods, self.namespaces


def read(reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any) -> Policy:
    """The policy of a document; its errors are reported to ``place``."""
    written = list(_written(place, value, head.specs))
    specs = [_spec(reader, place, head, spec, path) for path, spec in written]
    listed = {
        direction
        for _, spec in written
        if isinstance(spec, dict)
        for name, (direction, _) in _SECTIONS.items()
        if spec.get(name) is not None
    }
    combine = _alike if len({one.subject for one in specs}) < 2 else _apart
    made = combine(specs, head, place.origin)
    return Policy(
        kind=head.kind,
        namespace=head.namespace,
        name=head.name,
        tier=head.tier,
        pods=made.pods,
        isolates=made.isolates,
        rules=tuple(_numbered(made.rules)),
        source=Source(place.origin),
        namespaces=made.namespaces,
        annotations=head.annotations,
        listed=tuple(sorted(listed)),
        subject_field=(*made.path, "endpointSelector"),
        refers=any(map(_refers, made.rules)),
    )


def _written(
    place: DocumentPlace, spec: Any, specs: Any
) -> Iterator[tuple[FieldPath, dict[str, Any]]]:
    if spec is None and specs is None:
        place.error(("spec",), required("spec or specs must be provided"))
    if spec is not None:
        yield ("spec",), spec
    for index, one in enumerate(shape_list(place, specs, ("specs",))):
        yield ("specs", index), one


def _alike(specs: list[_Spec], head: PolicyHead, origin: Origin) -> _Spec:
    """Policies with one subject as one policy."""
    if not specs:
        return _Spec(NOTHING, EVERYTHING, (), (), ("spec",))
    first = specs[0]
    if head.namespace is not None and not first.namespaces.selects_all:
        return _apart(specs, head, origin)
    isolates = {direction for one in specs for direction in one.isolates}
    rules = tuple(rule for one in specs for rule in one.rules)
    return first._replace(isolates=tuple(sorted(isolates)), rules=rules)


def _apart(specs: list[_Spec], head: PolicyHead, origin: Origin) -> _Spec:
    """Policies with subjects of their own as one: each rule names its subject, and so does, where
    not all isolate alike, a rule behind all others that denies the rest."""
    rules: list[Rule] = []
    in_one = head.namespace is not None or len({one.namespaces for one in specs}) == 1
    whole = in_one and all(one.namespaces.selects_all for one in specs)
    alike = whole and len({one.isolates for one in specs}) == 1
    for one in specs:
        subject = PodPeer(one.pods, None, one.namespaces)
        rules += (replace(rule, subject=subject) for rule in one.rules)
        for direction in () if alike else one.isolates:
            rules.append(_isolation(direction, subject, Source(origin, one.path)))
    return _Spec(
        Selector.any_of(one.pods for one in specs),
        EVERYTHING if head.namespace else Selector.any_of(one.namespaces for one in specs),
        specs[0].isolates if alike else (),
        tuple(rules),
        specs[0].path,
    )


def _isolation(direction: Direction, subject: PodPeer, source: Source) -> Rule:
    """What denies by default; the own node comes in all the same."""
    but_host = ExceptPeer(NamedPeer(EndSet.ALL), (NamedPeer(EndSet.HOST),))
    peers = (but_host,) if direction is Direction.INGRESS else None
    return Rule(direction, 0, Action.DENY, peers, None, source, subject=subject, precedence=_LAST)


def _numbered(rules: Iterable[Rule]) -> Iterator[Rule]:
    """Each rule with its place among those of its direction."""
    count = dict.fromkeys(Direction, 0)
    for rule in rules:
        yield replace(rule, index=count[rule.direction])
        count[rule.direction] += 1


def _refers(rule: Rule) -> bool:
    """Whether a rule takes something from other documents."""
    return any(
        isinstance(part, ReferringPeer) for peer in rule.peers or () for part in parts_of(peer)
    )


# -- one policy ---------------------------------------------------------------------------------


def _spec(
    reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any, path: FieldPath
) -> _Spec:
    spec = shape_object(place, value, path)
    fields.check(place, spec, path, _SPEC)
    asked = _subject(reader, place, head, spec, path)
    rules: list[Rule] = []
    ruled: set[Direction] = set()
    for name, (direction, action) in _SECTIONS.items():
        found = (*path, name)
        for index, entry in enumerate(shape_list(place, spec.get(name), found)):
            ruled.add(direction)
            rules += _rules(place, entry, (*found, index), direction, action, head.namespace)
    if isinstance(value, dict) and not ruled and not place.failed:
        place.error(path, required(f"at least one rule in {', '.join(_SECTIONS)}"))
    isolates = ruled - _without_default_deny(place, spec, (*path, "enableDefaultDeny"))
    if asked is None:
        return _Spec(NOTHING, EVERYTHING, (), (), path)
    return _Spec(asked.pods, asked.namespaces, tuple(sorted(isolates)), tuple(rules), path)


def _subject(
    reader: PolicyReader,
    place: DocumentPlace,
    head: PolicyHead,
    spec: Mapping[str, Any],
    path: FieldPath,
) -> PodTerms | None:
    """What a policy selects; None where that is no pod."""
    of_pods, of_nodes = spec.get("endpointSelector"), spec.get("nodeSelector")
    if (of_pods is None) == (of_nodes is None):
        place.error(path, required("exactly one of endpointSelector and nodeSelector"))
        return None
    if of_nodes is not None:
        found = (*path, "nodeSelector")
        read_terms(place, of_nodes, found)
        if head.namespace is not None:
            place.error(found, forbidden(f"a {head.kind} may not select nodes"))
        elif not place.failed:
            detail = (
                "it is a policy for nodes (nodeSelector), which is in force where the host "
                "firewall is on, and no verdict takes it into account"
            )
            reader.leave_out(place, head, detail)
        return None
    found = (*path, "endpointSelector")
    asked, able = selectors.subject(read_terms(place, of_pods, found), head.namespace)
    if not able:
        place.warn(found, f"a policy selects in its own namespace, {head.namespace}: this one none")
        return asked._replace(pods=NOTHING)
    if asked.clusters and not place.failed:
        texts = " and ".join(map(cluster_text, asked.clusters))
        reader.leave_out(place, head, f"it is taken to select here, which holds {texts}")
    return asked


def _without_default_deny(
    place: DocumentPlace, spec: Mapping[str, Any], path: FieldPath
) -> set[Direction]:
    """The directions in which a policy does not isolate."""
    entry = shape_object(place, spec.get("enableDefaultDeny"), path)
    fields.check(place, entry, path, frozenset(one.word for one in Direction))
    found = set()
    for direction in Direction:
        value = entry.get(direction.word)
        if value is False:
            found.add(direction)
        elif value is not None and value is not True:
            place.error((*path, direction.word), wrong_type(value, "a boolean"))
    return found


# -- one rule -----------------------------------------------------------------------------------


def _rules(
    place: DocumentPlace,
    value: Any,
    path: FieldPath,
    direction: Direction,
    action: Action,
    namespace: str | None,
) -> Iterator[Rule]:
    """A rule, which becomes one for each condition in it: none where it matches nothing."""
    rule = shape_object(place, value, path)
    denies = action is Action.DENY
    beside = ("toPorts", "icmps", *(() if denies else ("authentication",)))
    fields.check(place, rule, path, fields_of(direction, denies) | frozenset(beside))
    ends = read_ends(place, rule, path, direction, denies, namespace)
    ports = read_ports(place, rule, path, direction is Direction.INGRESS, denies)
    proof = "" if denies else _authentication(place, rule, (*path, "authentication"))
    if ends is None:
        # A rule that says neither who nor which ports matches nothing.
        ends = [] if ports is None else [RuleEnds(None)]
    for one in ends:
        for some in [RulePorts(None)] if ports is None else ports:
            yield Rule(
                direction=direction,
                index=0,
                action=action,
                peers=one.peers,
                ports=some.ports,
                source=Source(place.origin, path),
                precedence=_FIRST if denies else None,
                condition=both(one.condition, some.condition, proof),
            )


def _authentication(place: DocumentPlace, rule: Mapping[str, Any], path: FieldPath) -> str:
    """What has to be proved besides; empty where nothing has."""
    if rule.get("authentication") is None:
        return ""
    entry = shape_object(place, rule["authentication"], path)
    fields.check(place, entry, path, frozenset({"mode"}))
    mode = shape_string(place, entry.get("mode"), (*path, "mode"))
    if mode is not None and mode not in _AUTHENTICATION:
        place.error((*path, "mode"), unsupported(mode, tuple(_AUTHENTICATION)))
    return _AUTHENTICATION.get(mode or "", "")
