"""Findings that are known already, so that a cluster can be linted as it is."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kubeverdict.analyses.findings import Check, Finding


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finding of an earlier run. ``fingerprint`` is what it is known by, the rest is for people
    who read the file."""

    fingerprint: str
    id: str
    object: str = ""
    message: str = ""


class Compared(msgspec.Struct, frozen=True):
    """How findings compare with those that were known: how many are ``known``, and which of the
    known ones are ``gone``."""

    known: int
    gone: tuple[Known, ...]


def remembered(findings: Iterable[Finding]) -> list[Known]:
    """What to keep of findings, in an order that does not depend on files and lines."""
    kept = [
        Known(one.fingerprint, one.id, one.objects[0] if one.objects else "", one.message)
        for one in findings
    ]
    return sorted(kept, key=_order)


def _order(known: Known) -> tuple[str, ...]:
    return known.id, known.object, known.message, known.fingerprint


def compare(
    findings: Iterable[Finding], checks: Iterable[Check], baseline: Iterable[Known]
) -> tuple[list[Finding], Compared]:
    """The findings that are new, and how the others compare with ``baseline``.

    As many findings of one fingerprint are known as the baseline has. What is known of a rule
    that was not looked at is neither there nor gone.
    """
    made = {check.id for check in checks if not check.skipped}
    left: dict[str, list[Known]] = {}
    for one in baseline:
        left.setdefault(one.fingerprint, []).append(one)
    new: list[Finding] = []
    known = 0
    for finding in findings:
        if left.get(finding.fingerprint):
            left[finding.fingerprint].pop()
            known += 1
        else:
            new.append(finding)
    gone = [one for several in left.values() for one in several if one.id in made]
    return new, Compared(known, tuple(sorted(gone, key=_order)))
