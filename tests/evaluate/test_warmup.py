"""When kernels are compiled, and that it happens once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubeverdict.compile.compiler import kernels_missing
from kubeverdict.evaluate.warmup import warmup
from kubeverdict.kernels import jit
from tests.clusters.records import pod, xy_cluster

MANY = xy_cluster(tuple(pod(f"x/p-{i}", phase="Running") for i in range(2_000)))
FEW = xy_cluster((pod("x/p", phase="Running"),))


def test_a_large_input_waits_for_kernels_that_are_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels_missing(MANY)
    assert not kernels_missing(FEW)
    jit.cache_directory().mkdir(parents=True)
    assert not kernels_missing(MANY)


def test_progress_is_reported_from_none_to_all() -> None:
    steps: list[tuple[str, int, int]] = []
    warmup(lambda what, done, total: steps.append((what, done, total)))
    assert [done for _, done, _ in steps] == list(range(len(steps)))
    assert {total for _, _, total in steps} == {len(steps) - 1}


NOTHING_IS_LEFT = """
import sys
import numpy as np
from kubeverdict.compile.compiler import compilation, compile_cluster
from kubeverdict.compile.incremental.editable import Editable
from kubeverdict.model.profile import REFERENCE
from kubeverdict.evaluate import checks, delta, flows, pairs, warmup
from kubeverdict.evaluate.scenarios import workbench as bulk
from kubeverdict.kernels import (
    adding, addresses, bits, checks as c, collect, flows as f, jit, partition, pod_scenarios,
    policy_scenarios, ports, reach, rows, scenario_results, selectors, sets,
)
from kubeverdict.model.edit import Edit, policy_key
from tests.clusters.generated import random_cluster

def specialised():
    modules = (
        adding, addresses, bits, c, collect, f, partition, pod_scenarios, policy_scenarios, ports,
        reach, rows, scenario_results, selectors, sets,
    )
    kernels = {v for m in modules for v in vars(m).values() if isinstance(v, jit.Kernel)}
    used = [kernel for kernel in kernels if "compiled" in vars(kernel)]
    return {kernel.plain.__qualname__: set(kernel.compiled.signatures) for kernel in used}

warmup.warmup(lambda *step: None)
before = specialised()
versions = [random_cluster(seed, pods=40, policies=30) for seed in (1, 2)]
with jit.compiled_only():
    old, new = map(compile_cluster, versions)
    flows.judge(old, [0, 1], [1, old.first_atom], [0, 0], [80, 80])
    pairs.count_pairs(old)
    [list(pairs.rows(old, plane)) for plane in old.planes]
    for plane in old.planes:
        ends = np.ones((2, plane.size), np.bool_)
        atoms = np.ones((1, old.ports.weight.size), np.bool_)
        asked = [checks.ReachabilityClaim(0, 1, 0, denied) for denied in (True, False)]
        list(checks.breaches(old, plane, checks.Claims(ends, atoms, asked)))
    editable = Editable(compilation(versions[0], REFERENCE))
    for policy in versions[1].policies:
        editable.apply(Edit("", policies_in=(policy,)))
    editable.apply(Edit("", policies_out=(policy_key(policy),)))
    bench = bulk.workbench(old)
    bulk.evaluate(bench, [
        Edit("out", policies_out=(policy_key(old.policies[0]),)),
        Edit("in", policies_in=new.policies[:2]),
        Edit("pods", pods_in=new.pods[:3], pods_out=((old.pods[0].namespace, old.pods[0].name),)),
    ])
    change = delta.delta(old, new)
    [list(change.rows(plane)) for plane in change.planes]
after = specialised()
print(sorted(name for name in after if after[name] != before.get(name)))
"""


def test_nothing_is_left_to_compile_after_a_warmup() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", NOTHING_IS_LEFT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    assert done.stdout.strip() == "[]"
