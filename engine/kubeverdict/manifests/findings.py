"""What was found wrong while reading: errors and warnings, each with its place.

One :class:`Findings` belongs to one load. Nothing is raised when a document is wrong, so that a
single run names every error of every document.
"""

from __future__ import annotations

import os

from kubeverdict.errors import Problem, located
from kubeverdict.model.sources import FieldPath, Origin, field_text


class Findings:
    """Problems in the order in which they were met.

    ``fatal`` are those that no option can leave out: a path that is missing or unreadable.
    ``passed_over`` are files and folders that were not read, by the reason.
    """

    def __init__(self) -> None:
        self.fatal: list[Problem] = []
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.passed_over: dict[str, list[str]] = {}

    def are_in(self, folder: str) -> bool:
        """Whether there are errors of something below a folder."""
        inside = os.path.join(folder, "")
        return any(problem.file.startswith(inside) for problem in self.errors)


class DocumentPlace:
    """One document, as somewhere to report problems of.

    ``failed`` says whether an error was reported, that is whether the document must be left
    out.
    """

    __slots__ = ("failed", "findings", "origin", "subject")

    def __init__(self, findings: Findings, origin: Origin, subject: str = "") -> None:
        self.findings = findings
        self.origin = origin
        self.subject = subject
        self.failed = False

    @property
    def text(self) -> str:
        """File and line."""
        return located(self.origin.file, self.origin.line_of(()))

    def error(self, path: FieldPath, message: str, *, at: FieldPath | None = None) -> None:
        """Report an error of the field at ``path``. ``at`` is the field whose line is shown,
        where the API server's path is less exact than what is known here."""
        self.failed = True
        self.findings.errors.append(self._problem(path, message, at))

    def warn(self, path: FieldPath, message: str, *, at: FieldPath | None = None) -> None:
        self.findings.warnings.append(self._problem(path, message, at))

    def _problem(self, path: FieldPath, message: str, at: FieldPath | None) -> Problem:
        line = self.origin.line_of(path if at is None else at)
        return Problem(self.origin.file, line, field_text(path), message, self.subject)
