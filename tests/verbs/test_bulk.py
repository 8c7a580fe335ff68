"""Why nothing changes without a policy, against who decides without it by the oracle."""

from __future__ import annotations

import pytest

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.scenarios.combine import covers
from kubeverdict.evaluate.scenarios.workbench import evaluate, workbench
from kubeverdict.model.edit import Edit, policy_key
from tests.verbs.plain import Plain, concerned, small_cluster


@pytest.mark.parametrize("seed", range(60))
def test_a_policy_without_which_nothing_changes_is_covered_by_who_decides_then(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    bench = workbench(compile_cluster(plain.oracle.cluster))
    policies, pods = plain.oracle.policies, plain.oracle.managed
    edits = [Edit(str(one), policies_out=(policy_key(one),)) for one in policies]
    outcomes = evaluate(bench, edits)
    idle = [one for one, found in zip(policies, outcomes, strict=True) if not found.changes]
    for policy, cover in zip(idle, covers(bench, list(map(policy_key, idle))), strict=True):
        without = plain.without([policy])
        about = concerned(plain, policy)
        same = [asked for asked in about if plain.lets(asked) is without.lets(asked)]
        deciding = {str(one) for asked in same if (one := without.decider(asked)) is not None}
        named = {str(one): one for one in cover.covered_by}
        assert deciding <= named.keys()
        assert cover.selects_nothing is not any(plain.selects(policy, pod) for pod in pods)
        # Those named beside them decide as well, or about a pod and itself.
        for one in named.values():
            both = (plain.selects(policy, pod) and plain.selects(one, pod) for pod in pods)
            assert any(both), (str(policy), str(one))
