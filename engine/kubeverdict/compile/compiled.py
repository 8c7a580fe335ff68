"""The compiled form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.indexing import matrix_views
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.flows import Ends, Entries, Rows
from kubeverdict.kernels.ports import TYPES, Runs
from kubeverdict.kernels.reach import View
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Pod, Service
from kubeverdict.model.policy import Action, Policy, Rule
from kubeverdict.model.profile import Profile
from kubeverdict.model.sources import field_text
from kubeverdict.model.unevaluated import Gap, Unevaluated


class Reason(IntEnum):
    """What decided a direction where no rule of a policy did."""

    NOT_ISOLATED = -1  # allowed: no policy selects this end, or none can
    NO_RULE_MATCHES = -2  # denied: a policy isolates this end and no rule matches
    SELF = -3  # allowed: a pod reaches itself
    OWN_NODE = -4  # allowed: a pod and the node it runs on
    NO_ADDRESS = -5  # not possible: the ends share no address family
    ALWAYS_ICMP = -6  # allowed: this CNI lets ICMP through
    HAIRPIN = -7  # allowed: a pod reaches itself through a Service


# The reasons that deny; the others allow.
DENYING = (Reason.NO_RULE_MATCHES, Reason.NO_ADDRESS)
# What decides before any tier is asked.
BEFORE_TIERS = (Reason.SELF, Reason.OWN_NODE, Reason.NO_ADDRESS, Reason.HAIRPIN)


def freeze(value: object) -> None:
    """Make every array inside tuples and dataclasses read-only.

    Arrays are values here; and a kernel is compiled apart for arrays that may be written.
    """
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
    elif isinstance(value, tuple):
        for part in value:
            freeze(part)
    elif is_dataclass(value):
        for field in fields(value):
            freeze(getattr(value, field.name))


class RuleRef(msgspec.Struct, frozen=True, gc=False):
    """A rule and the policy it belongs to. Its rule id is its index in ``CompiledPolicy.rules``."""

    policy: Policy
    rule: Rule


@dataclass(frozen=True, eq=False)
class AddressSpace:
    """External address space, cut into intervals (*atoms*) by the prefixes that rules name.

    IPv4 atoms come first: atom ``a`` starts at ``ipv4[a]``, or at ``ipv6[a - len(ipv4)]``.
    """

    ipv4: NDArray[np.uint32]  # (IPv4 atoms,) first address of each, ascending from 0
    ipv4_index: NDArray[np.int32]  # (65537,) first level of the trie over ipv4
    ipv6: NDArray[np.uint64]  # (IPv6 atoms, 2) upper and lower half

    @property
    def atoms(self) -> int:
        return int(self.ipv4.size) + int(self.ipv6.shape[0])

    @cached_property
    def intervals(self) -> tuple[tuple[Family, int, int], ...]:
        """Family, first and last address of all atoms."""
        return tuple(map(self.interval, range(self.atoms)))

    def interval(self, atom: int) -> tuple[Family, int, int]:
        """Family, first and last address of an atom."""
        if atom < self.ipv4.size:
            last = atom + 1 == self.ipv4.size
            return 4, int(self.ipv4[atom]), 2**32 - 1 if last else int(self.ipv4[atom + 1]) - 1
        row = atom - self.ipv4.size
        last = row + 1 == self.ipv6.shape[0]
        return 6, _wide(self.ipv6[row]), 2**128 - 1 if last else _wide(self.ipv6[row + 1]) - 1


def _wide(halves: NDArray[np.uint64]) -> int:
    return int(halves[0]) << 64 | int(halves[1])


@dataclass(frozen=True, slots=True, eq=False)
class PortSpace:
    """Ports cut into *atoms* that no rule distinguishes, over all protocols."""

    # (places,) atom of protocol * 65536 + port; ICMP; OTHER; where rules name types of ICMP, those
    table: NDArray[np.int32]
    first: NDArray[np.int64]  # (atoms + 1,) index into table where each atom starts
    weight: NDArray[np.int64]  # (atoms,) ports 1 to 65535 of TCP, UDP and SCTP inside it
    sets: Sets  # port lists as sets of atoms; set 0 is every atom

    @property
    def has_types(self) -> bool:
        """Whether some rule distinguishes types of ICMP."""
        return self.table.size > TYPES


class MatrixRules(NamedTuple):
    """Rules as rows of the reachability matrix take them, where which rule decides is not asked:
    those with the same effect are one. ``sets`` are those of the plane, with unions behind."""

    into: View  # ingress rules by destination
    out_to: View  # egress rules by destination
    sets: Sets


@dataclass(frozen=True, eq=False)
class Plane:
    """The rules of one address family, or of both where nothing distinguishes them.

    Identities 0 to ``pods - 1`` are groups of pods, those from ``external`` on (a multiple of 64)
    groups of address atoms and of hosts; the numbers between are not used.
    """

    families: tuple[Family, ...]
    pods: int
    external: int
    size: int  # one past the last identity
    weight: NDArray[np.int64]  # (size,) pods in each identity; 0 outside pods
    slices: NDArray[np.uint64]  # (bits, words of pods) weights, bit by bit
    sets: Sets  # of identities; 0 is ALL, 1 is EMPTY
    rows: Rows  # ingress rows first
    ingress_rows: int
    ends: Ends
    ingress: Entries  # by subject, for flows
    egress: Entries

    @property
    def words(self) -> int:
        """Words of a bitmap over all identities."""
        return (self.size + 63) >> 6

    @cached_property
    def matrix(self) -> MatrixRules:
        """Made when it is first asked for: single flows do without."""
        made = matrix_views(self.rows, self.ingress_rows, self.sets, self.pods, self.size)
        rules = MatrixRules(*made)
        freeze(rules)
        return rules


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CompiledPolicy:
    """Everything that a verdict needs, frozen. Made by ``compile_cluster``.

    *Endpoint ids* number flow ends: pods in the order of ``pods``, then ``hosts`` (addresses of
    nodes and hostNetwork pods), then ``services`` (only under a profile that judges egress on
    cluster IPs), then the atoms of ``addresses``. ``uncertain`` are selectors of policies that
    test label values which pods made from templates get when they run.
    """

    cluster: Cluster
    profile: Profile
    static: bool
    pods: Sequence[Pod]
    excluded: Sequence[tuple[Pod, str]]
    hosts: tuple[str, ...]
    services: Sequence[Service]
    policies: Sequence[Policy]  # as this CNI has them, in evaluation order
    rules: Sequence[RuleRef]
    notes: tuple[str, ...]
    addresses: AddressSpace
    ports: PortSpace
    port_runs: Runs  # the port lists of ``ports.sets`` as ranges
    planes: tuple[Plane, ...]
    pod_ids: Mapping[tuple[str, str], int]
    uncertain: tuple[Unevaluated, ...] = ()
    # Where rules are conditional, this is what is allowed at most, and the only one of ``least``
    # what is allowed at least (``at_least`` says so there), over the same ends and rules.
    at_least: bool = False
    least: tuple[CompiledPolicy, ...] = ()

    @property
    def unevaluated(self) -> tuple[Unevaluated, ...]:
        """What verdicts do not take into account; every report names it."""
        return (*self.cluster.unevaluated, *self.uncertain, *self._conditional)

    @property
    def _conditional(self) -> Iterator[Unevaluated]:
        for ref in self.rules if self.least else ():
            if ref.rule.condition:
                kind, source = ref.policy.kind, ref.rule.source
                detail = (
                    f"{kind} {ref.policy} {field_text(source.path)} has a condition "
                    f"({ref.rule.condition}): where a report does not say so, connections that "
                    "depend on it count as allowed"
                )
                names = (str(ref.policy),)
                yield Unevaluated(
                    kind, "", Gap.CONDITION, 1, source.file, source.line, names, detail=detail
                )

    def bound(self, at_least: bool) -> CompiledPolicy:
        """One of the two bounds: itself where no rule is conditional."""
        return self.least[0] if at_least and self.least else self

    def allows(self, rule: int) -> bool:
        """Whether a rule, by its id, allows what it decides."""
        return self.rules[rule].rule.counted(self.at_least) is Action.ALLOW

    @property
    def first_host(self) -> int:
        return len(self.pods)

    @property
    def first_service(self) -> int:
        return len(self.pods) + len(self.hosts)

    @property
    def first_atom(self) -> int:
        return len(self.pods) + len(self.hosts) + len(self.services)

    def plane(self, family: Family) -> Plane | None:
        """The plane that judges a family; None where no pod can have such an address."""
        return next((plane for plane in self.planes if family in plane.families), None)
