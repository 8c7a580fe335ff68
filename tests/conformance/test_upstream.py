"""The end-to-end scenarios that Kubernetes tests network plug-ins with, all 48.

Names and expectations are those of the suite (test/e2e/network/netpol in kubernetes/kubernetes);
the manifests are ours. As there, a pod's connections to itself are left out.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from kubeverdict.model.addresses import Family
from tests.clusters.generated import Probe
from tests.conformance.answers import ASK
from tests.conformance.scenarios import E2E, Step, load_cluster, pods_by_name, read_scenario

STEPS = [
    pytest.param(step, id=f"{folder.name}-{number}")
    for folder in E2E
    for number, step in enumerate(read_scenario(folder).steps, start=1)
]
FAMILIES: tuple[Family | None, ...] = (None, 4, 6)


def test_all_scenarios_are_here() -> None:
    assert [read_scenario(folder).number for folder in E2E] == list(range(1, 49))


@pytest.mark.parametrize("folder", E2E, ids=lambda folder: folder.name)
def test_every_file_of_a_scenario_is_used(folder: Path) -> None:
    used = {path for step in read_scenario(folder).steps for path in step.files}
    assert used == set(folder.iterdir()) - {folder / "expected.yaml"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("who", ASK)
@pytest.mark.parametrize("step", STEPS)
def test_scenario(step: Step, who: str, family: Family | None) -> None:
    cluster = load_cluster(*step.files)
    pairs = list(permutations(pods_by_name(cluster).items(), 2))
    for matrix in step.matrices:
        assert matrix.denied <= {(source, destination) for (source, _), (destination, _) in pairs}
        probes = [
            Probe(source, destination, matrix.protocol, matrix.port, family)
            for (_, source), (_, destination) in pairs
        ]
        answers = ASK[who](cluster, probes)
        denied = {
            (str(probe.source), str(probe.destination))
            for probe, answer in zip(probes, answers, strict=True)
            if not answer.allowed
        }
        assert denied == matrix.denied, f"{step.name}: {matrix.protocol.name} {matrix.port}"
