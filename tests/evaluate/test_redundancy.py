"""What can be removed together changes nothing together, and what has to stay then does."""

from __future__ import annotations

import pytest

from kubeverdict.analyses.redundancy import Removable, judged
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.covers import is_default_deny
from kubeverdict.evaluate.redundancy import removable
from kubeverdict.evaluate.scenarios.workbench import Workbench, evaluate, workbench
from kubeverdict.manifests.loading import load_text
from kubeverdict.model.edit import Edit, policy_key
from tests.clusters.generated import random_cluster


def idle(bench: Workbench) -> list[int]:
    """The policies without which nothing changes, each by itself."""
    keys = [policy_key(one) for one in bench.compiled.policies]
    outcomes = evaluate(bench, [Edit(str(key), (key,)) for key in keys])
    return [number for number, outcome in enumerate(outcomes) if not outcome.changes]


def without(bench: Workbench, *numbers: int) -> bool:
    """Whether anything changes without all of some policies."""
    keys = tuple(policy_key(bench.compiled.policies[number]) for number in numbers)
    (outcome,) = evaluate(bench, [Edit("all", keys)])
    return outcome.changes


@pytest.mark.parametrize("tiers", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_on_generated_clusters(seed: int, tiers: bool) -> None:
    bench = workbench(compile_cluster(random_cluster(seed, pods=40, policies=40, tiers=tiers)))
    candidates = idle(bench)
    together, refused, _ = removable(bench, candidates)
    assert sorted([*together, *(one.policy for one in refused)]) == candidates
    assert together
    assert not without(bench, *together)
    policies = bench.compiled.policies
    assert {one.policy for one in refused if one.outcome is None} == {
        one for one in candidates if one not in together and is_default_deny(policies[one])
    }
    for one in refused:
        assert one.outcome is None or without(bench, *together, one.policy)


PODS = """
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: s, labels: {app: a}}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: s, labels: {app: b}}
status: {podIP: 10.0.0.2}
"""


def found(**specs: str) -> Removable:
    """What comes of policies, each of which changes nothing by itself."""
    policies = "".join(
        f"---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: {name}, namespace: s}}\nspec: {{{spec}}}\n"
        for name, spec in specs.items()
    )
    bench = workbench(compile_cluster(load_text("a.yaml", (PODS + policies).encode()).cluster))
    assert len(idle(bench)) == len(specs)
    return judged(bench, [policy_key(one) for one in bench.compiled.policies])


A, B = "podSelector: {matchLabels: {app: a}}", "podSelector: {matchLabels: {app: b}}"
FROM_B = f"ingress: [{{from: [{{{B}}}]}}]"


def test_of_policies_that_do_the_same_one_stays() -> None:
    one = found(p1=f"{A}, {FROM_B}", p2=f"{A}, {FROM_B}", p3=f"{A}, {FROM_B}")
    assert one.together == ("s/p2", "s/p3")
    assert [(stay.policy, stay.reason) for stay in one.stay] == [
        ("s/p1", "covered by s/p2, which goes")
    ]


def test_what_the_rules_do_not_tell_the_engine_does() -> None:
    """Policy `allow` opens what the other end denies; one that selects no pod does nothing."""
    egress = f"{A}, policyTypes: [Egress], egress: [{{to: [{{%s}}]}}]"
    none = "podSelector: {matchLabels: {app: none}}"
    one = found(allow=egress % B, isolate=egress % none, b1=B, b2=B, idle=none)
    assert {"s/b2", "s/idle"} <= set(one.together)
    assert len({"s/allow", "s/isolate"}.intersection(one.together)) == 1
    (left,) = (stay for stay in one.stay if stay.policy in ("s/allow", "s/isolate"))
    assert left.reason.startswith("without it too, s/a to ")
    assert left.reason.endswith(" opens")


def test_a_default_deny_stays_for_pods_to_come() -> None:
    one = found(deny="podSelector: {}", a=A, b=B)
    assert (one.together, one.stay) == (("s/a", "s/b"), ())
    assert one.default_denies == ("s/deny",)
