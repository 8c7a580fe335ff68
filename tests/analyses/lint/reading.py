"""Linting texts and files in tests."""

from __future__ import annotations

import io
from collections.abc import Sequence

from kubeverdict.analyses.lint import LintReport, LintSettings, lint
from kubeverdict.analyses.lint.finding import NAME, ObjectKey
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.manifests import Loaded, load
from kubeverdict.model.profile import PROFILES


def lint_files(
    paths: Sequence[str],
    settings: LintSettings = LintSettings(),  # noqa: B008 - frozen
    cnis: Sequence[str] = ("reference",),
) -> LintReport:
    return lint_loaded(load(paths), settings, cnis)


def lint_text(
    text: str,
    settings: LintSettings = LintSettings(),  # noqa: B008 - frozen
    cnis: Sequence[str] = ("reference",),
) -> LintReport:
    return lint_loaded(load(["-"], stdin=io.BytesIO(text.encode())), settings, cnis)


def lint_loaded(loaded: Loaded, settings: LintSettings, cnis: Sequence[str]) -> LintReport:
    def place(key: ObjectKey) -> tuple[str, int]:
        origin = loaded.origins.get(key)
        return (origin.file, origin.line_of(NAME)) if origin else ("", 0)

    profile, *others = (PROFILES[name] for name in cnis)
    return lint(compile_cluster(loaded.cluster, profile), place, settings, others)


def ids(report: LintReport) -> list[str]:
    return [one.id for one in report.findings]
