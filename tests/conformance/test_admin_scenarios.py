"""The scenarios of the network policy API's conformance suite, in both versions of the API."""

from __future__ import annotations

import pytest

from kubeverdict.model.ports import Protocol
from tests.clusters.documents import text
from tests.clusters.generated import Probe
from tests.conformance.admin_scenarios import PODS, ROWS, VERSIONS, Step, documents
from tests.conformance.answers import ASK, Ask
from tests.conformance.scenarios import pods_by_name
from tests.manifests.reading import load_text


def test_there_are_as_many_as_in_the_suite() -> None:
    for version in VERSIONS:
        assert sum(one == version for one, _ in ROWS) == 24


@pytest.mark.parametrize("who", ASK)
@pytest.mark.parametrize(("version", "name"), ROWS, ids="-".join)
def test_scenario(version: str, name: str, who: str) -> None:
    for step in ROWS[version, name]():
        answered = _answered(step, version, ASK[who])
        assert answered == dict(step.expected), f"{name}, {step.name}"


def _answered(step: Step, version: str, ask: Ask) -> dict[str, bool]:
    cluster = load_text(text(documents(step, version))).cluster
    assert len(cluster.policies) == len(step.policies) + len(step.usual)
    pods = pods_by_name(cluster)
    probes = []
    for question in step.expected:
        source, _, destination, service = question.split()
        protocol, _, port = service.partition("/")
        first, second = (
            pods["/".join(PODS[one][:2])] if one in PODS else one for one in (source, destination)
        )
        probes.append(Probe(first, second, Protocol[protocol], int(port), 4))
    answers = ask(cluster, probes)
    return {question: one.allowed for question, one in zip(step.expected, answers, strict=True)}
