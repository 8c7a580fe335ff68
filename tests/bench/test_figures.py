"""A figure is told to be reached when it is, and only then."""

from __future__ import annotations

from bench.figures import Figure, table


def test_at_most() -> None:
    assert Figure("compile", 0.6, "s", 0.6).reached is True
    assert Figure("compile", 0.61, "s", 0.6).reached is False


def test_at_least() -> None:
    assert Figure("flows", 5.0, "M/s", 5.0, "at least").reached is True
    assert Figure("flows", 4.9, "M/s", 5.0, "at least").reached is False


def test_without_target() -> None:
    figure = Figure("size", 3.0, "MB")
    assert figure.reached is None
    assert (figure.target_text, figure.verdict) == ("", "")


def test_table() -> None:
    assert table(
        [
            Figure("compile", 0.4321, "s", 0.6),
            Figure("flows", 4.9, "M/s", 5.0, "at least"),
            Figure("compiled arrays", 3.7, "MB"),
        ]
    ) == [
        "figure           measured   target",
        "compile           0.432 s  ≤ 0.6 s  reached",
        "flows             4.9 M/s  ≥ 5 M/s  NOT reached",
        "compiled arrays    3.7 MB",
    ]
