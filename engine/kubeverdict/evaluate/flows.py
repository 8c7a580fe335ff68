"""Judging flows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kubeverdict.compile.compiled import BEFORE_TIERS, CompiledPolicy, Plane, Reason
from kubeverdict.compile.ports import place, unknown_type
from kubeverdict.compile.tiers import tier_numbers, tiers_of
from kubeverdict.errors import UsageError
from kubeverdict.kernels import flows as kernels
from kubeverdict.kernels.actions import LAYER_BITS
from kubeverdict.kernels.flows import IPV4, IPV6
from kubeverdict.kernels.jit import in_threads
from kubeverdict.model.addresses import Family
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol, icmp_port

_THREAD_WORTH = 200_000
_ICMP_PORTS = icmp_port(6, 255, 255) + 1
_BIT: dict[Family, int] = {4: IPV4, 6: IPV6}
_Out = tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What was decided, and by what; all (n,).

    ``egress`` and ``ingress`` hold a rule id (an index into ``CompiledPolicy.rules``) or a
    negative :class:`~kubeverdict.compile.compiled.Reason`. Both directions are judged even where
    the first denies.
    """

    allowed: NDArray[np.bool_]
    egress: NDArray[np.int32]
    ingress: NDArray[np.int32]


def judge(
    compiled: CompiledPolicy,
    sources: ArrayLike,
    destinations: ArrayLike,
    protocols: ArrayLike,
    ports: ArrayLike,
    *,
    family: Family | None = None,
    through_service: bool = False,
    threads: int | None = None,
) -> Verdicts:
    """Judge flows: equally long arrays of endpoint ids, ``Protocol`` numbers and ports.

    ``ports`` are 0 to 65535 and ignored for other protocols than TCP, UDP and SCTP, but for ICMP
    whose type is given (:func:`~kubeverdict.model.ports.icmp_port`). ``family`` asks about one
    address family; without it each flow takes the first (IPv4, then IPv6) that both ends have.
    ``through_service`` says that the flows reach their destinations through a Service, where a pod
    that reaches itself is subject to policy. Raises UsageError for arrays of different lengths and
    values out of range.
    """
    source = _column(sources, "source", len(compiled.pods) + _others(compiled))
    destination = _column(destinations, "destination", len(compiled.pods) + _others(compiled))
    protocol = _column(protocols, "protocol", 5)
    port = _column(ports, "port", _ICMP_PORTS)
    if not source.size == destination.size == protocol.size == port.size:
        raise UsageError("sources, destinations, protocols and ports must be equally long")
    if not (port[protocol != Protocol.ICMP] < 65536).all():
        raise UsageError("ports must be from 0 to 65535")
    atom = port_atoms(compiled, source, destination, protocol, port, family)
    out = (
        np.zeros(source.size, np.uint8),
        np.full(source.size, Reason.NO_ADDRESS, np.int32),
        np.full(source.size, Reason.NO_ADDRESS, np.int32),
    )
    asked = _BIT[family] if family is not None else IPV4 | IPV6
    for number, plane in enumerate(compiled.planes):
        families = asked & sum(_BIT[own] for own in plane.families)
        if number == 0:
            _judge_plane(
                compiled,
                plane,
                (source, destination, atom),
                families,
                out,
                through_service,
                threads,
            )
            continue
        # What no plane has judged yet are flows whose ends share no family so far.
        left = np.flatnonzero(out[1] == Reason.NO_ADDRESS)
        part: _Out = (out[0][left], out[1][left], out[2][left])
        flows = (source[left], destination[left], atom[left])
        _judge_plane(compiled, plane, flows, families, part, through_service, threads)
        out[0][left], out[1][left], out[2][left] = part
    _judge_outside(compiled, source, destination, asked, out)
    return Verdicts(out[0].astype(np.bool_), out[1], out[2])


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """How one layer decides one direction of a flow, whatever the layers before it say.

    ``passed`` are the rules that passed it on to a later tier, in order. ``tier`` is the number
    of the one that decides (:func:`~kubeverdict.compile.tiers.tiers_of`); None where none does.
    ``decided`` is a rule id or a :class:`~kubeverdict.compile.compiled.Reason`.
    """

    passed: tuple[int, ...]
    tier: int | None
    decided: int


@dataclass(frozen=True, slots=True)
class Trace(LayerTrace):
    """How one direction of a flow is decided: by the first layer that denies it, or else by the
    first in which a rule allows it. ``layers`` are all layers of the cluster."""

    layers: tuple[LayerTrace, ...] = ()


def trace(
    compiled: CompiledPolicy,
    direction: Direction,
    source: int,
    destination: int,
    protocol: Protocol,
    port: int,
    family: Family | None = None,
) -> Trace | None:
    """The way of a flow, as :func:`judge` takes one, through the tiers in one direction.

    Only tiers are looked at, not what a profile lets through before them. None where the ends
    share no address family that the pods use.
    """
    flow = np.array([[source], [destination], [protocol], [port]], np.int64)
    atom = int(port_atoms(compiled, flow[0], flow[1], flow[2], flow[3], family)[0])
    asked = _BIT[family] if family is not None else IPV4 | IPV6
    for plane in compiled.planes:
        ends = plane.ends
        shared = asked & sum(_BIT[own] for own in plane.families)
        identities = int(ends.identity[source]), int(ends.identity[destination])
        if min(identities) < 0 or not int(ends.about[source] & ends.about[destination]) & shared:
            continue
        subject, other = identities if direction is Direction.EGRESS else identities[::-1]
        entries = plane.egress if direction is Direction.EGRESS else plane.ingress
        numbers = tiers_of(compiled.policies)
        count = (max(numbers) >> LAYER_BITS) + 1
        passed = np.zeros(len(numbers), np.int64)
        tiers, rules = np.full(count, -1, np.int64), np.full(count, Reason.NOT_ISOLATED, np.int64)
        passing = kernels.trace.on(entries.word.shape[0])(
            entries, subject, other, atom, plane.sets, compiled.ports.sets, passed, tiers, rules
        )
        return _traced(compiled, passed[:passing].tolist(), tiers.tolist(), rules.tolist())
    return None


def _traced(
    compiled: CompiledPolicy, passed: list[int], tiers: list[int], rules: list[int]
) -> Trace:
    numbers = tier_numbers(compiled.policies)
    by_layer: list[list[int]] = [[] for _ in tiers]
    for rule in passed:
        by_layer[numbers[compiled.rules[rule].policy.tier] >> LAYER_BITS].append(rule)
    layers = [
        LayerTrace(tuple(passing), tier if tier >= 0 else None, rule)
        for passing, tier, rule in zip(by_layer, tiers, rules, strict=True)
    ]
    if len(layers) == 1:
        (only,) = layers
        return Trace(only.passed, only.tier, only.decided, (only,))
    denying = [one for one in layers if denies(compiled, one.decided)]
    deciding = next(iter(denying or [one for one in layers if one.tier is not None]), layers[-1])
    asked = layers[: layers.index(deciding) + 1] if denying else layers
    way = tuple(rule for one in asked for rule in one.passed)
    return Trace(way, deciding.tier, deciding.decided, tuple(layers))


def mark_used(
    compiled: CompiledPolicy,
    sources: NDArray[np.int32],
    destinations: NDArray[np.int32],
    atoms: NDArray[np.int32],
    verdicts: Verdicts,
    matched: NDArray[np.bool_],
    used: NDArray[np.bool_],
) -> None:
    """Make ``matched`` (rules,) true for the rules that match one of some flows, (n,) endpoint ids
    and port atoms, and ``used`` (rules,) for those behind their verdicts: that pass a flow on or
    deny it, or allow one that is allowed in the end."""
    for plane, here in each_plane(compiled, sources, destinations):
        identity = plane.ends.identity
        source, destination = identity[sources[here]], identity[destinations[here]]
        atom, allowed = atoms[here], verdicts.allowed[here]
        for entries, subject, other, decided in (
            (plane.egress, source, destination, verdicts.egress[here]),
            (plane.ingress, destination, source, verdicts.ingress[here]),
        ):
            kernels.mark_used.on(subject.size * 200)(
                *(entries, subject, other, atom, (~np.isin(decided, BEFORE_TIERS), allowed)),
                *(plane.sets, compiled.ports.sets),
                *(np.zeros(entries.start.size - 1, np.bool_), matched, used),
            )


def each_plane(
    compiled: CompiledPolicy, sources: NDArray[np.int32], destinations: NDArray[np.int32]
) -> Iterator[tuple[Plane, NDArray[np.int64]]]:
    """The planes, each with the places of the flows that it judges: a flow is of the first family
    that both its ends have."""
    left = np.arange(sources.size)
    for plane in compiled.planes:
        identity = plane.ends.identity
        here = (identity[sources[left]] >= 0) & (identity[destinations[left]] >= 0)
        yield plane, left[here]
        left = left[~here]


def denies(compiled: CompiledPolicy, decided: int) -> bool:
    """Whether a rule, by its id, or a reason denies the direction that it decides."""
    if decided >= 0:
        return not compiled.allows(decided)
    return decided in (Reason.NO_RULE_MATCHES, Reason.NO_ADDRESS)


def port_atoms(
    compiled: CompiledPolicy,
    source: NDArray[np.integer],
    destination: NDArray[np.integer],
    protocol: NDArray[np.int64],
    port: NDArray[np.int64],
    family: Family | None = None,
) -> NDArray[np.int32]:
    """The port atoms of flows, as :func:`judge` takes them. Where rules name types of ICMP, a flow
    without one is of the version of the family that it takes."""
    index = np.where(protocol < 3, protocol * 65536 + port, 3 * 65536 + protocol - 3)
    if not compiled.ports.has_types:
        return compiled.ports.table[index]
    icmp = np.flatnonzero(protocol == Protocol.ICMP)
    about = compiled.planes[0].ends.about
    four = (about[source[icmp]] & about[destination[icmp]] & IPV4 != 0) & (family != 6)
    unknown = np.where(four, unknown_type(4), unknown_type(6))
    index[icmp] = np.where(port[icmp] > 0, place(Protocol.ICMP, 1) + port[icmp] - 1, unknown)
    return compiled.ports.table[index]


def _others(compiled: CompiledPolicy) -> int:
    return compiled.first_atom - len(compiled.pods) + compiled.addresses.atoms


def _column(values: ArrayLike, what: str, limit: int) -> NDArray[np.int64]:
    column = np.asarray(values)
    if column.ndim != 1 or (column.size and column.dtype.kind not in "iu"):
        raise UsageError(f"{what}s must be a one-dimensional array of integers")
    column = column.astype(np.int64, copy=False)
    if column.size and (column.min() < 0 or column.max() >= limit):
        raise UsageError(f"{what}s must be from 0 to {limit - 1}")
    return column


def _judge_outside(
    compiled: CompiledPolicy,
    source: NDArray[np.int64],
    destination: NDArray[np.int64],
    asked: int,
    out: _Out,
) -> None:
    """Between two addresses nothing is enforced, whether or not pods use their family."""
    left = np.flatnonzero(out[1] == Reason.NO_ADDRESS)
    s, d = source[left], destination[left]
    about = compiled.planes[0].ends.about
    both = (np.minimum(s, d) >= len(compiled.pods)) & (about[s] & about[d] & asked != 0)
    out[0][left[both]] = 1
    out[1][left[both]] = out[2][left[both]] = Reason.NOT_ISOLATED


def _judge_plane(
    compiled: CompiledPolicy,
    plane: Plane,
    flows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]],
    families: int,
    out: _Out,
    through_service: bool,
    threads: int | None,
) -> None:
    profile = compiled.profile
    free = (
        not through_service,
        profile.enforces and profile.own_node_to_pod,
        profile.enforces and profile.pod_to_own_node,
        profile.own_node_deniable,
    )
    count = flows[0].size
    kernel = kernels.judge.on(count * 200)

    def run(first: int, stop: int) -> None:
        part = slice(first, stop)
        kernel(
            *(column[part] for column in flows),
            families,
            plane.ends,
            free,
            plane.egress,
            plane.ingress,
            plane.sets,
            compiled.ports.sets,
            (out[0][part], out[1][part], out[2][part]),
        )

    in_threads(run, count, threads if count >= _THREAD_WORTH else 1)
