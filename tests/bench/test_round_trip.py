"""The two ways to a generated cluster agree: model values, and a dump that is read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

import kubeverdict.manifests as manifests
from bench.dump import Format
from bench.shapes import SHAPES
from bench.workloads import cluster, dump_file
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import Policy


def values(cluster: Cluster) -> dict[str, Any]:
    """All that a verdict depends on, as plain values that compare."""
    return {
        "namespaces": sorted(
            (space.name, dict(space.labels), space.implied) for space in cluster.namespaces
        ),
        "nodes": sorted((node.name, node.addresses) for node in cluster.nodes),
        "pods": {str(pod): pod_values(pod) for pod in cluster.pods},
        "policies": {str(policy): policy_values(policy) for policy in cluster.policies},
        "services": cluster.services,
    }


def pod_values(pod: Pod) -> dict[str, Any]:
    """A pod without the time since when it is there, which decides no verdict."""
    fields = msgspec.structs.asdict(pod)
    del fields["started"]
    return fields


def policy_values(policy: Policy) -> dict[str, Any]:
    """A policy without its sources, which say where it was written and not what it says."""
    fields = msgspec.structs.asdict(policy)
    del fields["source"]
    fields["rules"] = [
        {key: value for key, value in msgspec.structs.asdict(rule).items() if key != "source"}
        for rule in policy.rules
    ]
    return fields


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_dump_reads_back_as_the_model(shape: str, form: Format, tmp_path: Path) -> None:
    made = cluster(shape, 600)
    path = dump_file(tmp_path, shape, 600, form=form)
    loaded = manifests.load([str(path)])
    assert loaded.warnings == ()
    assert not loaded.ignored
    expected, found = values(made), values(loaded.cluster)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == value, key
