"""Lint of a large cluster: all rules, from a compiled cluster to lines in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.workloads import dump_file
from kubeverdict.analyses.lint import LintReport, lint
from kubeverdict.analyses.lint.finding import NAME, ObjectKey
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.manifests import Loaded, load
from kubeverdict.model.profile import PROFILES, Profile


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder: Path = tmp_path_factory.mktemp("lint")
    return load([str(dump_file(folder, "mixed", 50_000, 5_000))])


@pytest.mark.parametrize("others", [(), ("calico", "cilium")], ids=["one", "three"])
def bench_lint_mixed(
    measure: Measure, record: Record, loaded: Loaded, others: tuple[str, ...]
) -> None:
    def place(key: ObjectKey) -> tuple[str, int]:
        origin = loaded.origins.get(key)
        return (origin.file, origin.line_of(NAME)) if origin else ("", 0)

    run: Callable[[], LintReport] = lambda: compiled_and_linted(  # noqa: E731
        loaded, place, [PROFILES[name] for name in others]
    )
    report, median = measure(run, rounds=3)
    assert report.findings
    name = f"lint, mixed 50k/5k, compiling it included, {len(report.findings):,} findings"
    cnis = f", {1 + len(others)} CNIs" if others else ""
    record(Figure(f"{name}{cnis}", median, "s", 5.0))


def compiled_and_linted(
    loaded: Loaded, place: Callable[[ObjectKey], tuple[str, int]], others: list[Profile]
) -> LintReport:
    """What a user waits for after the load."""
    compiled: CompiledPolicy = compile_cluster(loaded.cluster)
    return lint(compiled, place, others=others)
