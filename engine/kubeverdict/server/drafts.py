"""A draft: some policies as they are edited, judged against the cluster as it is.

It is judged in stages, so that what is quick to know is told first, and so that a draft which is
not wanted any more, because the next key was pressed, is left where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from kubeverdict.analyses.changed_cells import CellChange, changed_cells
from kubeverdict.analyses.reach_map import MapPlaces
from kubeverdict.analyses.selected import PodKinds, PolicySelects, selects
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import InputError, KubeverdictError, Problem, UsageError
from kubeverdict.manifests.editing import read_policies
from kubeverdict.model.edit import Edit
from kubeverdict.model.policy import Policy
from kubeverdict.render.json import connection_verdict, ports_of
from kubeverdict.session.session import Session
from kubeverdict.session.version import Version

Json = dict[str, Any]

MOST_ENTRIES = 100
MOST_TEXT = 256 << 10  # bytes, of all entries together
MOST_TOLD = 200  # changes that are told with the rules that decide


class DraftEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One policy that is edited. ``name`` is what messages call its text. ``replaces`` is the key
    of the policy that it takes the place of, see :func:`key_of`; empty for a new one. ``text``
    None takes it away."""

    name: str
    replaces: str = ""
    text: str | None = None


Draft = tuple[DraftEntry, ...]


def key_of(kind: str, name: str) -> str:
    """How the page calls a policy: ``NetworkPolicy/shop/web``, as references have it."""
    return f"{kind}/{name}"


def check(draft: Draft) -> None:
    """Raise UsageError for more than a person types."""
    if len(draft) > MOST_ENTRIES:
        raise UsageError(f"a draft has at most {MOST_ENTRIES} policies")
    size = sum(
        len(part.encode("utf-8", "replace"))
        for one in draft
        for part in (one.text or "", one.name, one.replaces)
    )
    if size > MOST_TEXT:
        raise UsageError(f"a draft has at most {MOST_TEXT >> 10} KiB of text")
    if len({one.name for one in draft}) < len(draft):
        raise UsageError("two texts of a draft have one name")


def edit_of(version: Version, draft: Draft) -> tuple[Edit, tuple[Problem, ...]]:
    """What a draft changes, and warnings about it. Raises InputError with everything that is
    wrong in its texts, UsageError where it takes away what is not there."""
    check(draft)
    texts = {one.name: one.text for one in draft if one.text is not None}
    loaded = read_policies(texts) if texts else None
    gone = [one.replaces for one in draft if one.replaces]
    edit = version.resolver.change(loaded, gone)
    return edit, loaded.warnings if loaded is not None else ()


def judged(session: Session, draft: Draft) -> CompiledPolicy:
    """The cluster with a draft; as it is, where the draft is empty. Raises as :func:`edit_of`."""
    version = session.now
    return session.judge(edit_of(version, draft)[0]).compiled if draft else version.compiled


class Judging:
    """Judges drafts against one version of a cluster."""

    def __init__(self, session: Session, version: Version, places: MapPlaces) -> None:
        self._session = session
        self._version = version
        self._places = places
        self._kinds = PodKinds(version.compiled.pods)

    def selected(self, policy: Policy) -> tuple[PolicySelects, ...]:
        """How many pods a policy of the cluster selects, and its rules."""
        return selects(self._version.compiled, self._kinds, {(policy.kind, str(policy))})

    def stages(self, draft: Draft) -> Iterator[Json]:
        """What is known of a draft, one answer after the other: ``read`` with the problems of its
        texts, ``selected`` with the pods that its rules select, ``changed`` with what it opens
        and closes. What is wrong ends it."""
        try:
            edit, warnings = edit_of(self._version, draft)
        except InputError as error:
            yield _read([_problem(one, "error") for one in error.problems], error.warnings)
            return
        except KubeverdictError as error:
            yield _read([_problem(Problem("", 0, "", str(error)), "error")], ())
            return
        yield _read([], warnings)
        try:
            after = self._session.judge(edit).compiled
        except KubeverdictError as error:
            yield _read([_problem(Problem("", 0, "", str(error)), "error")], warnings)
            return
        own = {(policy.kind, str(policy)) for policy in edit.policies_in}
        yield {
            "stage": "selected",
            "policies": msgspec.to_builtins(selects(after, self._kinds, own)),
        }
        before = self._version.compiled
        report = changed_cells(before, after, self._places, MOST_TOLD)
        yield {
            "stage": "changed",
            "totals": msgspec.to_builtins(report.totals),
            "number": report.number,
            "changes": [_change(one) for one in report.changes],
            "cells": report.cells,
        }


def _read(problems: list[Json], warnings: Sequence[Problem]) -> Json:
    found = [*problems, *(_problem(one, "warning") for one in warnings)]
    return {"stage": "read", "valid": not problems, "problems": found}


def _problem(problem: Problem, severity: str) -> Json:
    """``entry`` is the name of the text; empty where it is about the whole draft."""
    return {
        "entry": problem.file,
        "line": problem.line,
        "field": problem.field,
        "message": problem.message,
        "severity": severity,
    }


def _change(change: CellChange) -> Json:
    return {
        "opens": change.opens,
        "sources": change.sources,
        "destinations": change.destinations,
        "outside": change.outside,
        "ports": ports_of(change.ports),
        "pairs": change.pairs,
        "before": connection_verdict(change.before),
        "after": connection_verdict(change.after),
        **({"family": change.family} if change.family else {}),
        **({"bound": change.bound} if change.bound else {}),
    }
