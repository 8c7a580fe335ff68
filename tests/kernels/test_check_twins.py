"""Claims about rows against asking pair by pair, as plain Python and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.kernels import checks, reach
from kubeverdict.kernels.jit import Kernel
from kubeverdict.kernels.reach import BEFORE
from tests.kernels.test_rule_twins import ATOMS, SIZE, Matrix, Rule, bitmap, identities, rules

Form = Callable[[Kernel], Callable[..., Any]]


@pytest.fixture(params=["plain", "compiled"], scope="module")
def form(request: pytest.FixtureRequest) -> Form:
    return lambda kernel: getattr(kernel, request.param)


class Claim(NamedTuple):
    sources: frozenset[int]
    ports: frozenset[int]
    denied: bool


claims = st.lists(
    st.builds(
        Claim,
        st.frozensets(identities),
        st.frozensets(st.integers(0, ATOMS - 1)),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@given(
    rules, rules, claims, st.lists(identities, min_size=1, max_size=3, unique=True), st.booleans()
)
def test_claims_about_rows(
    form: Form,
    ingress: list[Rule],
    egress: list[Rule],
    made: list[Claim],
    targets: list[int],
    outside: bool,
) -> None:
    matrix = Matrix(ingress, egress, set())
    # Of every target in turn each claim, or each but the first: no two groups list the same.
    listed = [list(range(index % 2, len(made))) for index in range(len(targets))]
    ports = [sorted(claim.ports) for claim in made]
    # With `outside` every identity from the second word on is outside the cluster.
    inside = 64 if outside else SIZE
    arrays = checks.Checks(
        start=np.cumsum([0, *map(len, listed)]).astype(np.int64),
        check=np.array([one for each in listed for one in each], np.int32),
        source=np.arange(len(made), dtype=np.int32),
        ports=np.arange(len(made), dtype=np.int32),
        denied=np.array([claim.denied for claim in made], np.bool_),
        bitmap=np.stack([bitmap(claim.sources) for claim in made]),
        port_start=np.cumsum([0, *map(len, ports)]).astype(np.int64),
        port_atom=np.array([atom for each in ports for atom in each], np.int32),
    )
    broken = np.zeros(arrays.check.size, np.bool_)
    form(checks.check_rows)(
        0,
        len(targets),
        np.array(targets, np.int64),
        (inside + 63) >> 6,
        arrays,
        matrix.into,
        matrix.out_to,
        matrix.space,
        reach.scratch(matrix.space),
        broken,
    )
    expected = []
    for target, numbers in zip(targets, listed, strict=True):
        for number in numbers:
            claim = made[number]
            sources = [
                source for source in claim.sources if not (source >= inside and target >= inside)
            ]
            expected.append(
                any(
                    matrix.allows(BEFORE, source, target, atom) == claim.denied
                    for source in sources
                    for atom in claim.ports
                )
            )
    assert broken.tolist() == expected
