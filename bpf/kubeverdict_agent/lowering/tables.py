"""From the compiled policy to what one node keeps in the kernel; pure.

A node judges few subjects (its own pods) against all other ends. What their policies distinguish is
cut out of the compiled arrays (:mod:`kubeverdict.evaluate.local_classes`): classes of subjects, of
peers and of ports, and for each (subject, peer) a *row* of decisions by port atom. Pods of the
cluster are found by their address in a table, everything else in a list of intervals.

Three things are added to what the engine says, because the hook sees packets and not connections:

* The node itself reaches its pods (where the CNI profile says so), under every address it has.
* A packet to a Service carries the cluster IP, which is translated later: it passes where policy
  allows every backend on its target port.
* A later fragment has no ports: for each protocol there is a column for "some port".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane
from kubeverdict.evaluate.local_classes import joined, local_classes
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import Direction
from kubeverdict.model.profile import Profile
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.errors import DoesNotFit
from kubeverdict_agent.lowering.known_ends import KnownEnds
from kubeverdict_agent.lowering.peers import PeerMaker
from kubeverdict_agent.lowering.port_cut import PortCutter
from kubeverdict_agent.lowering.rows import PROTOCOLS, DecisionRows, PlaneView
from kubeverdict_agent.lowering.services import NO_SERVICES


def as_enforced(profile: Profile) -> Profile:
    """What an agent enforces of a profile: whatever rules deny, the node reaches its own pods, for
    the probes of the kubelet come from it."""
    return msgspec.structs.replace(profile, own_node_deniable=False)


@dataclass(frozen=True, slots=True)
class Local:
    """A pod of this node. ``slot`` is below ``layout.SLOTS``."""

    slot: int
    namespace: str
    name: str
    mode: Mode


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """What the kernel needs to judge the packets of one node.

    ``cells[direction]`` (subjects, peers) uint16 is a row of ``rows`` (rows, atoms + 3) uint16,
    whose columns are the port atoms and then "some port" of TCP, UDP and SCTP. A decision is a
    number of ``rules``, with ``layout.DECISION_ALLOWS`` where it allows. ``rules[n]`` is a rule
    id of the compiled policy or, below zero, a Reason; ``tiers[n]`` is the number of the tier
    that denies because none of its rules matches, otherwise -1. Decisions from number
    ``conditional`` on allow under the condition of their rule only.

    Addresses are in host order: ``ipv4`` (n,) uint32 and ``ipv6`` (m, 2) uint64 are single ones,
    ``starts4`` and ``starts6`` the first addresses of intervals; each with its class of peers, and
    single ones with flags (``layout.PEER_OWN`` and others). ``own_node`` is the decision on what
    the node's own sockets send.
    """

    locals: NDArray[np.void]  # (SLOTS,) layout.LOCAL
    ports: NDArray[np.uint16]  # (places,) atom, as PortSpace.table
    cells: tuple[NDArray[np.uint16], NDArray[np.uint16]]
    rows: NDArray[np.uint16]
    rules: NDArray[np.int32]
    tiers: NDArray[np.int32]
    conditional: int
    own_node: int
    ipv4: NDArray[np.uint32]
    class4: NDArray[np.uint16]
    flags4: NDArray[np.uint32]
    ipv6: NDArray[np.uint64]
    class6: NDArray[np.uint16]
    flags6: NDArray[np.uint32]
    starts4: NDArray[np.uint32]
    starts_class4: NDArray[np.uint16]
    starts6: NDArray[np.uint64]
    starts_class6: NDArray[np.uint16]

    @property
    def atoms(self) -> int:
        return int(self.rows.shape[1]) - PROTOCOLS


def lower(
    compiled: CompiledPolicy,
    node: str,
    locals: Sequence[Local],
    own_addresses: Sequence[str] = (),
    enforced: NDArray[np.bool_] | None = None,
) -> Tables:
    """The tables of ``node``, see :meth:`Lowering.lower`."""
    return Lowering(node).lower(compiled, locals, own_addresses, enforced)


class Lowering:
    """Makes the tables of one node again and again. What depends on pods, nodes and Services alone
    is found once for as long as the compiled policies have the same of them; the tables are equal
    to those that a new one makes."""

    def __init__(self, node: str) -> None:
        self._known = KnownEnds(node)
        self._ports = PortCutter()

    def lower(
        self,
        compiled: CompiledPolicy,
        locals: Sequence[Local],
        own_addresses: Sequence[str] = (),
        enforced: NDArray[np.bool_] | None = None,
    ) -> Tables:
        """The tables of the pods ``locals``.

        ``own_addresses`` are further addresses of the node, such as that of its bridge: its Node
        object lists only some. ``enforced`` (pods of the cluster,) are those, on any node, that
        nobody may reach with the address of another; none where it is not given. Pods that the
        compiled policy does not have are left out. Raises DoesNotFit where there are more rows,
        rules or classes than their numbers have room for.
        """
        return _lower(compiled, locals, own_addresses, enforced, self._known, self._ports)


def _lower(
    compiled: CompiledPolicy,
    locals: Sequence[Local],
    own_addresses: Sequence[str],
    enforced: NDArray[np.bool_] | None,
    ends: KnownEnds,
    cutter: PortCutter,
) -> Tables:
    known = [
        (compiled.pod_ids[local.namespace, local.name], local)
        for local in locals
        if (local.namespace, local.name) in compiled.pod_ids
    ]
    pods = np.fromiter((pod for pod, _ in known), np.int64, len(known))
    least = compiled.least[0].planes if compiled.least else (None,) * len(compiled.planes)
    views = [_view(*both, pods) for both in zip(compiled.planes, least, strict=True)]
    isolated = any(
        view.isolates(Direction.EGRESS, view.subject[Direction.EGRESS]).any() for view in views
    )
    guarded = np.zeros(len(compiled.pods), np.bool_) if enforced is None else enforced
    services = ends.services(compiled) if isolated or guarded.any() else NO_SERVICES
    ports = cutter.cut(compiled, views, services)
    _check_size(views)
    rows = DecisionRows(ports.of_protocol, compiled, views, ports.atoms)
    subjects, of_pod = _subjects(views, pods.size)
    peers = PeerMaker(compiled, views, rows, subjects, guarded, ends)
    peers.add_own_node(own_addresses)
    peers.add_other_nodes()
    peers.add_services(services, ports.of_place)

    table = np.zeros(layout.SLOTS, layout.LOCAL)
    for number, (_, local) in enumerate(known):
        own = _own_addresses(compiled, compiled.pods[pods[number]])
        table[local.slot] = (tuple(of_pod[:, number]), local.mode, 1, 0, *own)
    addresses = peers.addresses()  # first: it may add a class
    cells = peers.cells()
    made, decided, numbers = rows.finish()
    for name, most, limit in (
        ("classes of peers", cells[0].shape[1], 1 << 16),
        ("rows of decisions", made.shape[0], 1 << 16),
        ("deciding rules", decided.rules.size, layout.DECISION_RULE + 1),
    ):
        if most > limit:
            raise DoesNotFit(f"the policies of this node need {most:,} {name}; {limit:,} fit")
    return Tables(
        locals=table,
        ports=ports.of_place,
        cells=(numbers[cells[0]].astype(np.uint16), numbers[cells[1]].astype(np.uint16)),
        rows=made,
        rules=decided.rules,
        tiers=decided.tiers,
        conditional=decided.conditional,
        own_node=int(made[numbers[rows.own_node], 0]),
        **addresses,
    )


def _own_addresses(compiled: CompiledPolicy, pod: Pod) -> tuple[int, list[int]]:
    """The addresses of a pod as ``layout.LOCAL`` has them, in network order."""
    ipv4, ipv6 = 0, [0, 0, 0, 0]
    for text in pod.addresses[: None if compiled.profile.dual_stack else 1]:
        address = parse_address(text)
        if address is not None and address.family == 4:
            ipv4 = int(np.array(address.value, ">u4").view("<u4"))
        elif address is not None:
            ipv6 = np.frombuffer(address.value.to_bytes(16, "big"), "<u4").tolist()
    return ipv4, ipv6


def _check_size(views: Sequence[PlaneView]) -> None:
    """Refuse what cannot fit before the work is done: two bytes a subject, peer and direction."""
    cells = sum(each.subject.size * each.peer.size for view in views for each in view.near)
    if 2 * cells > layout.HALF_BYTES:
        raise DoesNotFit(
            f"the policies of this node tell {cells:,} pairs of subjects and peers apart; "
            f"{layout.HALF_BYTES // 2:,} fit"
        )


def _view(plane: Plane, least: Plane | None, pods: NDArray[np.int64]) -> PlaneView:
    identity = plane.ends.identity[pods]
    there = identity[identity >= 0]
    classes = [local_classes(plane, direction, there) for direction in Direction]
    if least is not None:
        classes = [
            joined(known, local_classes(least, direction, there))
            for known, direction in zip(classes, Direction, strict=True)
        ]
    subject = np.full((2, pods.size), -1, np.int32)
    for direction in Direction:
        subject[direction, identity >= 0] = classes[direction].subject_of[identity[identity >= 0]]
    return PlaneView(plane, (classes[0], classes[1]), subject, least)


def _subjects(
    views: Sequence[PlaneView], pods: int
) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32]], NDArray[np.int64]]:
    """For each direction the classes of subjects (subjects, planes), -1 where a subject has no
    address in a plane; and the subject of each pod (2, pods)."""
    found, of_pod = [], np.zeros((2, pods), np.int64)
    for direction in Direction:
        each = np.stack([view.subject[direction] for view in views], axis=1)
        # One subject more than needed keeps tables of a node without pods from being empty.
        each = np.concatenate((each, np.full((1, len(views)), -1, np.int32)))
        distinct, inverse = np.unique(each, axis=0, return_inverse=True)
        found.append(distinct.astype(np.int32))
        of_pod[direction] = inverse.ravel()[:pods]
    return (found[0], found[1]), of_pod


def with_modes(tables: Tables, modes: Mapping[int, Mode]) -> Tables:
    """The same tables with another mode for some slots."""
    table = tables.locals.copy()
    for slot, mode in modes.items():
        table["mode"][slot] = mode
    values = {name: getattr(tables, name) for name in Tables.__slots__}
    return Tables(**{**values, "locals": table})
