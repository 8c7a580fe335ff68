"""An agent that has nothing but the API server, on real veths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bench.lab import Lab
from tests.agent.running import Agent, agent_on, eventually, why_not
from tests.clusters import documents
from tests.kubernetes.api import Api, Object
from tests.kubernetes.loading import load
from tests.live.front import Front

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

DEPLOY = Path(__file__).parents[2] / "bpf" / "deploy"
ACCOUNT = "system:serviceaccount:kubeverdict:agent"
SPACE, PORT = "live-agent", 8080
POLICIES = f"/apis/networking.k8s.io/v1/namespaces/{SPACE}/networkpolicies"
PODS = f"/api/v1/namespaces/{SPACE}/pods"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Lab() as lab:
        lab.add_pod(SPACE, "web", ipv4="10.1.0.2").serve(PORT)
        lab.add_pod(SPACE, "client", ipv4="10.1.0.3")
        with agent_on(lab, tmp_path) as agent:
            yield agent


def as_agent(kubeconfig: Path) -> Path:
    """The same way to the server, with the rights of the deployed agent alone."""
    config = json.loads(kubeconfig.read_text())
    config["users"][0]["user"]["as"] = ACCOUNT
    kubeconfig.write_text(json.dumps(config))
    return kubeconfig


def from_role(role: str) -> Object:
    peers = [{"podSelector": {"matchLabels": {"role": role}}}]
    return documents.policy(SPACE, "in", "web", ingress=[{"from": peers}])


def test_it_enforces_what_the_server_says(agent: Agent, api_server: Api, tmp_path: Path) -> None:
    web, client = agent.lab.pods
    roles = list(yaml.safe_load_all((DEPLOY / "rbac.yaml").read_text()))
    assert load(api_server, [*roles, *documents.of_lab(agent.lab.pods), from_role("client")]) == []
    # The node of the lab has a network of its own, in which the server does not listen.
    with agent.lab.on_node(lambda: Front(api_server)) as front:
        agent.start(
            *("--mode", "*=enforce", "--adopt", "0", "--confirm-after", "0"),
            kubeconfig=as_agent(front.kubeconfig(tmp_path)),
        )
        agent.wait_until_in_force()
        agent.wait_until_bound(web, client)

        def reaches() -> bool:
            return client.reaches(web.ipv4 or "", PORT, timeout=0.2)

        assert not reaches()
        api_server.merge(f"{PODS}/client", {"metadata": {"labels": {"role": "client"}}})
        eventually(reaches, "a pod that was relabelled gets through")
        api_server.apply(f"{POLICIES}/in", from_role("nobody"))
        eventually(lambda: not reaches(), "a policy that was changed cuts it off")
        front.down()
        eventually(
            lambda: [one for one in agent.status()["alarms"] if one["alarm"] == "stale"], "stale"
        )
        assert not reaches()  # what was in force stays
        api_server.delete(f"{POLICIES}/in")
        front.up()
        eventually(reaches, "it goes on where it was")
        eventually(lambda: not agent.status()["alarms"], "the alarm is over")
        agent.stop()
    for where in (PODS, POLICIES):
        api_server.delete(f"{where}?gracePeriodSeconds=0")
