"""Findings: what a check of the input came upon, in the form that CI systems take.

Neutral between the verbs that check: a *check* is a rule of ``lint`` or an assertion of
``verify``; a *finding* is one place where it does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from kubeverdict.model.unevaluated import Unevaluated


class Severity(StrEnum):
    """In order; the words are those of SARIF."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Check(msgspec.Struct, frozen=True):
    """What was looked at. ``id`` is stable and unique in a report; findings name it.

    ``file`` and ``line`` are where the check itself is written (an assertion; a rule has none).
    ``skipped`` says why it was not made; empty where it was.
    """

    id: str
    title: str
    severity: Severity = Severity.ERROR
    why: str = ""
    fix: str = ""
    file: str = ""
    line: int = 0
    skipped: str = ""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it should be.

    ``id`` is that of the check. ``message`` is what was found, in one or several lines; ``why``
    it matters and the smallest ``fix`` are sentences, and empty where there is nothing to say.
    ``objects`` are those concerned, the first the one to change: ``NetworkPolicy shop/web``.
    ``line`` counts from 1; 0 where no line can be given, and ``file`` is empty where there is none.
    ``about`` is the object that the message is about, where it does not name it; ``fingerprint``
    identifies the finding and stays the same when lines and files move, empty where nobody
    keeps findings.
    """

    id: str
    severity: Severity
    message: str
    file: str = ""
    line: int = 0
    objects: tuple[str, ...] = ()
    why: str = ""
    fix: str = ""
    about: str = ""
    fingerprint: str = ""

    @property
    def text(self) -> str:
        """The message, behind the object that it is about: where the place does not show it."""
        return f"{self.about}: {self.message}" if self.about else self.message


class Checked(Protocol):
    """A report that the formats of CI systems can show. Implemented by the reports of verbs."""

    @property
    def verb(self) -> str: ...

    @property
    def checks(self) -> Sequence[Check]:
        """Everything that was looked at, in the order to show it."""
        ...

    @property
    def findings(self) -> Sequence[Finding]: ...

    @property
    def unevaluated(self) -> tuple[Unevaluated, ...]:
        """What was not taken into account."""
        ...


def is_failure(finding: Finding) -> bool:
    """Whether a finding is one that a CI job should fail on."""
    return finding.severity is not Severity.NOTE
