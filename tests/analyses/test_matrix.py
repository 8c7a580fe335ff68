from __future__ import annotations

from collections import Counter

from kubeverdict.analyses.connections import Connections
from kubeverdict.analyses.matrix import FEW, Matrix, counted, matrix
from tests.render import reports


def test_connections_are_counted_by_namespace_with_addresses_last() -> None:
    assert matrix(reports.CONNECTIONS) == Matrix(
        ("shop", "external"), ("data", "shop", "external"), {(0, 0): 1, (0, 2): 1, (1, 1): 1}
    )


def test_changes_are_counted_alike() -> None:
    assert matrix(reports.DIFFERENCES).counts == {(0, 0): 1, (0, 2): 1, (1, 1): 1}


def test_nothing() -> None:
    assert matrix(Connections("reference", (), {})) == Matrix((), (), {})


def test_more_than_a_few_namespaces_stand_beside_those_with_the_same_partners() -> None:
    tenants = ["red", "blue"]
    members = [(tenants[n % 2], f"n{n:02}") for n in range(FEW + 2)]
    pairs = Counter(
        {(one, other): 1 for tenant, one in members for whose, other in members if tenant == whose}
    )
    pairs["", "n00"] = 1
    found = counted(pairs)
    red = tuple(name for tenant, name in members if tenant == "red")
    blue = tuple(name for tenant, name in members if tenant == "blue")
    assert found.sources == (*red, *blue, "external")
    assert found.destinations == (*red, *blue)
    assert found.counts[len(members), 0] == 1
