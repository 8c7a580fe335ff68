from __future__ import annotations

from kubeverdict.analyses.matrix import Matrix, matrix
from tests.render import reports


def test_connections_are_counted_by_namespace_with_addresses_last() -> None:
    assert matrix(reports.CONNECTIONS.connections) == Matrix(
        ("data", "shop", "external"), {(1, 0): 1, (1, 2): 1, (2, 1): 1}
    )


def test_changes_are_counted_alike() -> None:
    assert matrix(reports.DIFFERENCES.changes).counts == {(1, 0): 1, (1, 2): 1, (2, 1): 1}


def test_nothing() -> None:
    assert matrix(()) == Matrix((), {})
