"""The rule language that every policy API is lowered to.

A cluster has *tiers* in order. In a tier, policies select subjects and hold rules. One direction
of a connection is judged tier by tier: the first rule that matches decides; Pass, or no match
under a Pass default, goes on to the next tier; a subject that a policy of a Deny tier isolates
in that direction is denied where nothing matched; past the last tier the connection is allowed.
Tiers stand in *layers*. Network policies of whatever API are one layer, a service mesh or an egress
firewall is another; each has tiers of its own, and a connection is allowed where all layers do.

Kubernetes NetworkPolicy is a Deny tier in which all rules are Allow, so that order inside it
only decides which of several matching rules is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum

import msgspec

from kubeverdict.model.addresses import Address, Block
from kubeverdict.model.ports import NamedPort, PortMatch, PortRange
from kubeverdict.model.selectors import EVERYTHING, Selector
from kubeverdict.model.sources import FieldPath, Source


class Direction(IntEnum):
    INGRESS = 0
    EGRESS = 1

    @property
    def word(self) -> str:
        return self.name.lower()


class Action(IntEnum):
    ALLOW = 0
    DENY = 1
    PASS = 2


class Layer(msgspec.Struct, frozen=True, order=True):
    """A sequence of tiers that decides for itself. Layers are judged in ascending ``order``, ties
    by ``name``: first the network policies, then whatever else a connection has to get through."""

    order: int
    name: str


POLICY_LAYER = Layer(0, "network policy")


class Tier(msgspec.Struct, frozen=True):
    """Tiers of a layer are judged in ascending ``order``, ties by ``name``."""

    order: float
    name: str
    default: Action = Action.DENY
    layer: Layer = POLICY_LAYER

    def __lt__(self, other: Tier) -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[Layer, float, str, Action]:
        return self.layer, self.order, self.name, self.default


NETWORK_POLICY = "NetworkPolicy"
# What other policies of the same tier are before, or behind: those of Calico have an order.
NETWORK_POLICY_ORDER = 1_000.0
NETWORK_POLICY_TIER = Tier(order=1_000_000.0, name="default", default=Action.DENY)


class PodPeer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Pods by labels: those that ``pods`` selects in ``namespace`` (a name), or, where that is
    None, in every namespace that ``namespaces`` selects.

    ``pods`` None means that no pod selector was written: all pods. It is kept apart from the empty
    selector because one CNI distinguishes them (OVN-Kubernetes, hostNetwork pods).
    """

    pods: Selector | None
    namespace: str | None = None
    namespaces: Selector = EVERYTHING


class BlockPeer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Addresses in ``block`` and in none of ``excepts``."""

    block: Block
    excepts: tuple[Block, ...] = ()

    def __contains__(self, address: Address) -> bool:
        return address in self.block and not any(address in part for part in self.excepts)


class NodePeer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The addresses of the nodes that ``nodes`` selects by their labels, and so the hostNetwork
    pods on them."""

    nodes: Selector = EVERYTHING


class EndSet(StrEnum):
    """Ends that an API has a name for."""

    ALL = "all"  # every end there is
    WORLD = "world"  # outside: neither a pod nor a node
    CLUSTER = "cluster"  # every pod and every node
    NODES = "nodes"  # every node
    HOST = "host"  # the node that the subject runs on
    REMOTE_NODE = "remote-node"  # every other node; every node where that of the subject is unknown


class NamedPeer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A named set of ends. A node stands for its addresses."""

    ends: EndSet


class ExceptPeer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """What ``peer`` holds and none of ``excluded`` does. (``peer`` and other are both: ``peer``
    except what is in everything except other.)"""

    peer: Peer
    excluded: tuple[Peer, ...]


class SetPeer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The blocks of address sets of one ``kind``, without ``excepts``: of the one that is called
    ``name``, or, where that is None, of those that ``labels`` selects. They are looked for in
    ``namespace``, or where that is None in every namespace that ``namespaces`` selects; those of a
    kind that is in no namespace are all found.

    Only policies as written have it, see :mod:`kubeverdict.model.references`: what is judged has
    :class:`BlockPeer` in its place."""

    kind: str
    name: str | None = None
    labels: Selector = EVERYTHING
    namespace: str | None = None
    namespaces: Selector = EVERYTHING
    excepts: tuple[Block, ...] = ()


class ServicePeer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """What is behind Services: the one that is called ``name``, or, where that is None, those that
    ``labels`` selects, in ``namespace`` or, where that is None, in any.

    Only policies as written have it, as they have :class:`SetPeer`."""

    name: str | None = None
    namespace: str | None = None
    labels: Selector = EVERYTHING

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{where}{self.name}" if self.name is not None else f"{where}({self.labels})"


class ApiServerPeer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The addresses of the API servers. Only policies as written have it, as they have
    :class:`SetPeer`."""


class BackendPeer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The endpoints of one Service, wherever they are; ``with_ports``: on the ports on which each
    serves it. Only policies as written have it, as they have :class:`SetPeer`."""

    namespace: str
    name: str
    with_ports: bool = False


ReferringPeer = SetPeer | ServicePeer | ApiServerPeer | BackendPeer
Peer = PodPeer | BlockPeer | NodePeer | NamedPeer | ExceptPeer | ReferringPeer


def parts_of(peer: Peer) -> Iterator[PodPeer | BlockPeer | NodePeer | NamedPeer | ReferringPeer]:
    """What a peer names: itself, or what it is made of."""
    if isinstance(peer, ExceptPeer):
        for part in (peer.peer, *peer.excluded):
            yield from parts_of(part)
    else:
        yield peer


END_OF_TIER = float("inf")
"""The precedence of a rule that denies what no policy of its tier decided. Policies as written have
such rules where ``isolates`` cannot say for which pods that is; in a tier that passes in the end
they mean nothing."""


class Rule(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One rule. ``peers`` None: any other end. ``ports`` None: any protocol and port.

    An empty tuple of either matches nothing (a CNI that drops a part of a rule leaves one).
    ``index`` is the place in the policy's list for its direction.

    What APIs other than NetworkPolicy say: ``excluded_ports`` are not covered, whatever ``ports``
    has (a name excludes the numbers that it stands for on the destination pod); ``subject`` narrows
    the subject of the policy to those of its pods that are in this peer as well; ``precedence`` is
    a place in the tier of its own, instead of the policy's ``order``, so that rules of several
    policies interleave.

    ``condition`` says what it depends on whether the rule counts, where the input does not show it:
    "for GET /api only". Such rules make two bounds of every verdict, see :meth:`counted`.
    """

    direction: Direction
    index: int
    action: Action
    peers: tuple[Peer, ...] | None
    ports: tuple[PortMatch, ...] | None
    source: Source
    excluded_ports: tuple[PortRange | NamedPort, ...] = ()
    subject: Peer | None = None
    precedence: float | None = None
    condition: str = ""

    def counted(self, at_least: bool) -> Action | None:
        """What the rule does where as little as possible is allowed (``at_least``), or as much as
        possible; None where it does not count. What a conditional rule passes on may come out
        either way, so it is taken for what each of the bounds is about."""
        if not self.condition:
            return self.action
        bound = Action.DENY if at_least else Action.ALLOW
        return bound if self.action in (bound, Action.PASS) else None


class Policy(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A policy: its subject is what ``pods`` selects in ``namespace`` (None: every namespace
    that ``namespaces`` selects).

    ``kind`` distinguishes its API from all others: where kinds clash, it has the API group behind
    it (``NetworkPolicy.crd.antrea.io``).

    ``isolates`` holds the directions in which a selected pod gets the tier's default; ``rules``
    holds only rules of directions that are in force. ``unlisted_rules`` are those of directions
    that the ``policyTypes`` of a NetworkPolicy leaves out: by the API they count for nothing, and
    not every CNI follows it. ``order`` is the place inside the tier, ties by ``tiebreak``, kind,
    namespace and name. ``tier_kind`` is the kind of document that defines the tier, where one does:
    see :mod:`kubeverdict.model.references`; ``refers``: it is as written, and has still to take
    from other documents what it refers to.

    What is left changes no verdict and tells what the author meant: ``annotations``, without the
    copy of the manifest that kubectl keeps; whether the directions were left to defaulting; and
    the directions that the manifest has a list for, even where it is empty or not in force; and
    the ``subject_field`` that says the subject.
    """

    kind: str
    namespace: str | None
    name: str
    tier: Tier
    pods: Selector
    isolates: tuple[Direction, ...]
    rules: tuple[Rule, ...]
    source: Source
    namespaces: Selector = EVERYTHING
    order: float = 0.0
    annotations: Mapping[str, str] = {}
    defaulted: bool = False
    listed: tuple[Direction, ...] = ()
    subject_field: FieldPath = ("spec", "podSelector")
    unlisted_rules: tuple[Rule, ...] = ()
    tiebreak: str = ""
    tier_kind: str = ""
    refers: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def sort_key(self) -> SortKey:
        """Evaluation order of policies, and so of the rules that decide."""
        return (self.tier, self.order, self.tiebreak, self.kind, self.namespace or "", self.name)

    def rule_key(self, rule: Rule) -> SortKey:
        """Where a rule of the policy comes among all rules. Those of one policy that are alike
        in it follow its list."""
        order = self.order if rule.precedence is None else rule.precedence
        return (self.tier, order, *self.sort_key[2:])


SortKey = tuple[Tier, float, str, str, str, str]

# What changes no verdict, and the rules, of which each is compared by itself.
_BESIDE = frozenset(
    (
        *("source", "annotations", "defaulted", "listed", "subject_field"),
        *("refers", "tier_kind", "rules", "unlisted_rules"),
    )
)


def says_the_same(one: Policy, other: Policy) -> bool:
    """Whether two policies decide alike, wherever they are written."""
    return one is other or _meaning(one) == _meaning(other)


def _meaning(part: Policy | Rule) -> tuple[object, ...]:
    names = (name for name in part.__struct_fields__ if name not in _BESIDE)
    rules = (*part.rules, *part.unlisted_rules) if isinstance(part, Policy) else ()
    return (*(getattr(part, name) for name in names), *map(_meaning, rules))
