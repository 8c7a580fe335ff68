"""Many claims about reachability at once: between which identities, on which ports, each fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane
from kubeverdict.compile.sets import offsets
from kubeverdict.evaluate.pairs import (
    DestinationGroups,
    RowReader,
    by_column,
    destination_groups,
    whole_space,
)
from kubeverdict.kernels import checks as kernels
from kubeverdict.kernels import reach
from kubeverdict.kernels.jit import in_threads
from kubeverdict.kernels.reach import BEFORE, Space


class ReachabilityClaim(NamedTuple):
    """A claim: nothing of ``source`` reaches ``destination`` on ``ports`` (``denied``), or all of
    it does. The three are numbers of :class:`Claims`."""

    source: int
    destination: int
    ports: int
    denied: bool


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """Checks, and the ends and ports that they share.

    ``ends`` (ends, plane.size) tells which identities have a part in each end; ``ports``
    (port lists, atoms) which port atoms are in each list.
    """

    ends: NDArray[np.bool_]
    ports: NDArray[np.bool_]
    checks: Sequence[ReachabilityClaim]


@dataclass(frozen=True, slots=True, eq=False)
class Breach:
    """A claim fails from all of ``sources`` to all of ``destinations``, identities of a plane.

    ``atoms`` are bitmaps (atoms,) of the ports on which it does. For any one pair the same rules
    decide on all ports of a bitmap. An identity may be its own source: its other pods are meant.
    """

    check: int
    sources: NDArray[np.int64]
    destinations: NDArray[np.int64]
    atoms: list[NDArray[np.bool_]]


def breaches(
    compiled: CompiledPolicy, plane: Plane, claims: Claims, *, threads: int | None = None
) -> Iterator[Breach]:
    """Where the claims fail, in order of destination. Pairs outside the cluster are left out."""
    if not claims.checks:
        return
    wanted = np.unique([check.destination for check in claims.checks])
    asked = claims.ends[wanted].any(axis=0)
    space = whole_space(plane, compiled.ports)
    reader = RowReader(plane.matrix.into, plane.matrix.out_to, space)
    for part in (slice(0, plane.pods), slice(plane.external, plane.size)):
        identities = np.arange(part.start, part.stop)[asked[part]]
        if not identities.size:
            continue
        # Rows to destinations outside are about pods only, so these are grouped on their own.
        groups = destination_groups(plane.matrix.into, plane.matrix.out_to, identities)
        listed = _listed(claims, groups, plane.size)
        broken = _broken(plane, groups, listed, space, threads)
        group_of_entry = np.repeat(np.arange(groups.first.size), np.diff(listed.start))
        last = -1
        for entry in np.flatnonzero(broken).tolist():
            group = int(group_of_entry[entry])
            if group != last:
                row = reader.read(groups.first[group], BEFORE)
                last = group
            members = groups.member[groups.start[group] : groups.start[group + 1]]
            number = int(listed.check[entry])
            yield from _breaches(claims, number, members, row, reader, plane)


def _broken(
    plane: Plane,
    groups: DestinationGroups,
    listed: kernels.Checks,
    space: Space,
    threads: int | None,
) -> NDArray[np.bool_]:
    """(entries,) the entries of ``listed`` that fail, found in threads."""
    broken = np.zeros(listed.check.size, np.bool_)
    kernel = kernels.check_rows.on(groups.first.size * plane.words * 100)

    def run(first: int, stop: int) -> None:
        views, work = (plane.matrix.into, plane.matrix.out_to), reach.scratch(space)
        kernel(first, stop, groups.first, plane.external >> 6, listed, *views, space, work, broken)

    in_threads(run, groups.first.size, threads if groups.first.size > 64 else 1)
    return broken


def _listed(claims: Claims, groups: DestinationGroups, size: int) -> kernels.Checks:
    """The checks by the groups that their destinations have a part in."""
    group_of = np.full(size, -1, np.int64)
    group_of[groups.member] = np.repeat(np.arange(groups.first.size), np.diff(groups.start))
    of_end: dict[int, NDArray[np.int64]] = {}
    for check in claims.checks:
        if check.destination not in of_end:
            found = group_of[np.flatnonzero(claims.ends[check.destination])]
            of_end[check.destination] = np.unique(found[found >= 0])
    met = [of_end[check.destination] for check in claims.checks]
    group = np.concatenate(met)
    number = np.repeat(np.arange(len(met), dtype=np.int32), [each.size for each in met])
    order = np.argsort(group, kind="stable")
    sources = sorted({check.source for check in claims.checks})
    place = {end: index for index, end in enumerate(sources)}
    padded = np.zeros((len(sources), ((size + 63) >> 6) << 6), np.uint8)
    padded[:, :size] = claims.ends[sources]
    atoms = [np.flatnonzero(each).astype(np.int32) for each in claims.ports]
    return kernels.Checks(
        start=offsets(np.bincount(group, minlength=groups.first.size)),
        check=number[order],
        source=np.array([place[check.source] for check in claims.checks], np.int32),
        ports=np.array([check.ports for check in claims.checks], np.int32),
        denied=np.array([check.denied for check in claims.checks], np.bool_),
        bitmap=np.packbits(padded, axis=1, bitorder="little").view(np.uint64),
        port_start=offsets(np.array([each.size for each in atoms], np.int64)),
        port_atom=np.concatenate(atoms),
    )


def _breaches(
    claims: Claims,
    number: int,
    members: NDArray[np.int64],
    row: NDArray[np.bool_],
    reader: RowReader,
    plane: Plane,
) -> Iterator[Breach]:
    check = claims.checks[number]
    asked = claims.ports[check.ports]
    sources = claims.ends[check.source].copy()
    if members[0] >= plane.external:
        sources[plane.pods :] = False
    held = row[:, : plane.size] == (not check.denied)
    bits = ~held & sources
    atoms = [reader.by_atom(one) & asked for one in np.eye(len(row), dtype=np.bool_)]
    bits[[not one.any() for one in atoms]] = False
    destinations = members[claims.ends[check.destination][members]]
    for identities, patterns in zip(*by_column(bits), strict=True):
        found = [one for one, fails in zip(atoms, patterns, strict=True) if fails]
        yield Breach(number, identities, destinations, found)
