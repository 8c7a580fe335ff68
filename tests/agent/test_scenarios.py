"""The 48 scenarios that Kubernetes tests network plug-ins with, on real veths.

An agent in audit lets everything through and reports exactly the denials; enforcing, it lets
through exactly what is allowed. All scenarios have the same pods, so one node serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from bench.lab import Lab, LabPod
from tests.agent.probing import Try, reached
from tests.agent.running import Agent, agent_on, why_not
from tests.conformance.scenarios import E2E, Matrix, load_cluster, read_scenario

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

Connection = tuple[str, str, str, int]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    scenarios = [read_scenario(folder) for folder in E2E]
    clusters = [load_cluster(*step.files) for one in scenarios for step in one.steps]
    addresses = {str(pod): pod.addresses for cluster in clusters for pod in cluster.pods}
    ports = {matrix.port for one in scenarios for step in one.steps for matrix in step.matrices}
    with (
        Lab(layout="routed") as lab,
        agent_on(lab, tmp_path_factory.mktemp("scenarios")) as agent,
    ):
        for name, (ipv4, ipv6) in addresses.items():
            pod = lab.add_pod(*name.split("/"), ipv4=ipv4, ipv6=ipv6)
            for port in ports:
                pod.serve(port)
        agent.put(*scenarios[0].steps[0].files)
        agent.start("--adopt", "0")
        agent.wait_until_in_force()
        yield agent
        agent.stop()


def tries(agent: Agent, names: set[str], matrix: Matrix, family: int) -> dict[tuple[str, str], Try]:
    """A try for each pair of pods, over one address family."""
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in agent.lab.pods}

    def address(pod: LabPod) -> str:
        found = pod.ipv4 if family == 4 else pod.ipv6
        assert found is not None
        return found

    return {
        (source, destination): Try(
            pods[source],
            pods[destination],
            address(pods[destination]),
            matrix.port,
            matrix.protocol.name.lower(),
        )
        for source, destination in permutations(sorted(names), 2)
    }


def counts(agent: Agent, mode: str) -> dict[Connection, int]:
    """Packets that the agent reported so far, by connection."""
    found: dict[Connection, int] = {}
    for part in agent.ask("report")["namespaces"]:
        for line in part["lines"]:
            if line["mode"] == mode:
                key = (line["source"], line["destination"], line["protocol"], line["port"])
                found[key] = found.get(key, 0) + line["packets"]
    return found


@pytest.mark.parametrize("folder", E2E, ids=lambda folder: folder.name)
def test_scenario(agent: Agent, folder: Path) -> None:
    for number, step in enumerate(read_scenario(folder).steps):
        agent.apply(*step.files)
        names = {str(pod) for pod in load_cluster(*step.files).pods}
        pods = [pod for pod in agent.lab.pods if f"{pod.namespace}/{pod.name}" in names]
        agent.wait_until_bound(*pods)
        for turn, matrix in enumerate(step.matrices):
            # Both families, in turns: what decides does not depend on them.
            family = (4, 6)[(number + turn) % 2]
            every = tries(agent, names, matrix, family)
            assert matrix.denied <= every.keys()

            agent.set_mode("*=audit")
            before = counts(agent, "audit")
            assert reached(every.values(), every.values()) == set(every.values())
            after = counts(agent, "audit")
            reported = {key for key in after if after[key] > before.get(key, 0)}
            service = (matrix.protocol.name, matrix.port)
            assert reported == {(*pair, *service) for pair in matrix.denied}, step.name

            agent.set_mode("*=enforce")
            allowed = {one for pair, one in every.items() if pair not in matrix.denied}
            found = reached(every.values(), allowed)
            passed = {pair for pair, one in every.items() if one in found}
            assert passed == every.keys() - matrix.denied, step.name
