"""Pods and namespaces that come, go and change among the files of an agent that runs: what is in
force follows, for pods of this node and of others, and nothing is compiled anew for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.lab import Lab
from tests.agent.running import Agent, agent_on, eventually, why_not
from tests.clusters import documents

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PORT = 8080


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Lab() as lab:
        lab.add_pod("shop", "web", ipv4="10.1.0.2").serve(PORT)
        lab.add_pod("shop", "client", ipv4="10.1.0.3")
        lab.add_pod("other", "far", ipv4="10.1.0.4")
        with agent_on(lab, tmp_path) as agent:
            yield agent


def namespace(name: str, **labels: str) -> documents.Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }


def test_pods_and_namespaces_follow_their_files(agent: Agent) -> None:
    web, client, far = agent.lab.pods
    allow = documents.policy(
        "shop",
        "in",
        ingress=[
            {"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]},
            {"from": [{"namespaceSelector": {"matchLabels": {"team": "near"}}}]},
        ],
    )
    files = {
        "policies.yaml": documents.text(allow),
        **{f"{pod.name}.yaml": documents.text(documents.of_lab([pod])) for pod in agent.lab.pods},
        "space.yaml": documents.text(namespace("other")),
        "shop.yaml": documents.text(namespace("shop")),
    }
    agent.put(texts=files)
    agent.start("--mode", "*=enforce", "--adopt", "0", "--confirm-after", "0")
    agent.wait_until_in_force()
    agent.wait_until_bound(web, client, far)

    def reached() -> list[str]:
        found = [
            (pod.name, pod.reaches(web.ipv4 or "", PORT, timeout=0.2)) for pod in (client, far)
        ]
        return [name for name, reaches in found if reaches]

    def change(**texts: str) -> None:
        files.update({f"{name}.yaml": text for name, text in texts.items()})
        readings = agent.status()["readings"]
        for name in texts:
            new = agent.source / f".{name}.new"
            new.write_text(files[f"{name}.yaml"])
            new.rename(agent.source / f"{name}.yaml")
        eventually(lambda: agent.status()["readings"] >= readings + len(texts))

    assert reached() == []
    as_client = documents.text(
        documents.pod("shop", "client", "10.1.0.3", labels={"role": "client"}, node="node")
    )
    other = documents.text(
        documents.pod("shop", "client", "10.1.0.9", labels={"role": "client"}, node="node")
    )
    steps: list[tuple[Callable[[], None], list[str]]] = [
        (lambda: change(client=as_client), ["client"]),
        (lambda: change(space=documents.text(namespace("other", team="near"))), ["client", "far"]),
        (lambda: change(space=documents.text(namespace("other", team="no"))), ["client"]),
        # Its address is nobody's then; one that is known has it.
        (lambda: change(client=other), []),
        (lambda: change(client=as_client), ["client"]),
        (lambda: change(space=documents.text(namespace("other", team="near"))), ["client", "far"]),
    ]
    for number, (step, expected) in enumerate(steps):
        step()
        assert reached() == expected, number
    assert '"compilations": 1}' in agent.log_text() and '"compilations": 2' not in agent.log_text()
    agent.stop()
