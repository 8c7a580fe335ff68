"""Errors and warnings that reach a user: each says where, in the words of the input.

In: nothing. Out: the exception types that every other package raises. The base of the import
order, so it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class KubeverdictError(Exception):
    """Base of all errors meant for a user. ``str(error)`` is the complete message."""


class UsageError(KubeverdictError):
    """A question that cannot be asked: an unknown pod, a port out of range, a bad option."""


def located(file: str, line: int) -> str:
    """``db.yaml:9``, or the file alone where there are no lines: 0."""
    return f"{file}:{line}" if line else file


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one place of the input.

    ``file`` is as the user named it, ``line`` counts from 1 (0 where no line can be given),
    ``field`` is the path inside the document (``spec.ingress[0].ports[1].port``; empty for the
    document as a whole), ``subject`` names the object (``NetworkPolicy shop/web``; empty where
    none is known).
    """

    file: str
    line: int
    field: str
    message: str
    subject: str = ""

    def __str__(self) -> str:
        where = located(self.file, self.line)
        return ": ".join(part for part in (where, self.subject, self.field, self.message) if part)


class InputError(KubeverdictError):
    """Input that cannot be used. Carries every problem that was found, not the first, and the
    warnings with them: a misspelt field is often why another one is missing.

    ``skippable``: ``--skip-invalid`` goes on without it, where every problem has its line."""

    def __init__(
        self,
        problems: Sequence[Problem],
        warnings: Sequence[Problem] = (),
        *,
        skippable: bool = True,
    ) -> None:
        self.skippable = skippable
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        super().__init__("\n".join(str(problem) for problem in self.problems))
