"""Who is behind a link: pods that change their own addresses, and addresses that change hands."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import Lab, LabPod
from tests.agent.running import PATIENCE, Agent, agent_on, environment, eventually, why_not
from tests.clusters import documents

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PORT = 8080
ENFORCED = ("--mode", "*=enforce", "--adopt", "0")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """Nobody may reach ``evil`` nor be reached by it; ``web`` and ``client`` are free."""
    with Lab() as lab, agent_on(lab, tmp_path) as agent:
        for number, name in enumerate(("evil", "web", "client"), start=2):
            lab.add_pod("shop", name, ipv4=f"10.1.0.{number}").serve(PORT)
        put(agent, *lab.pods)
        yield agent


def put(agent: Agent, *pods: LabPod) -> None:
    shut = documents.policy("shop", "evil", "evil", policyTypes=["Ingress", "Egress"])
    # Policies first: what is written last is the newest.
    agent.put(texts={"a.yaml": documents.text(shut), "pods.yaml": documents.text(objects(*pods))})


def objects(*pods: LabPod) -> list[documents.Object]:
    return documents.of_lab(pods)


def start(agent: Agent, *options: str) -> None:
    agent.start(*ENFORCED, *options)
    agent.wait_until_in_force()
    agent.wait_until_bound(*agent.lab.pods)


def is_shut(agent: Agent, evil: LabPod) -> bool:
    client = agent.lab.pods[-1]
    out = evil.reaches(client.ipv4 or "", PORT, timeout=0.3)
    return not out and not client.reaches(evil.ipv4 or "", PORT, timeout=0.3)


def test_a_pod_that_moves_its_address_stays_who_it_is(agent: Agent) -> None:
    evil, web, client = agent.lab.pods
    start(agent)
    assert client.reaches(web.ipv4 or "", PORT, timeout=PATIENCE) and is_shut(agent, evil)
    before = endpoint(agent, "shop/evil")
    evil.run(["ip", "link", "set", "lo", "up"])
    evil.run(["ip", "addr", "add", "10.1.0.2/32", "dev", "lo"])
    evil.run(["ip", "addr", "del", "10.1.0.2/32", "dev", "eth0"])
    time.sleep(0.5)
    assert is_shut(agent, evil) and endpoint(agent, "shop/evil") == before
    # Another pod's address makes it nobody else, not even when the source is read again.
    evil.run(["ip", "addr", "add", "10.1.0.3/32", "dev", "eth0"])
    put(agent, *agent.lab.pods)
    eventually(lambda: agent.status()["readings"] > 1)
    assert is_shut(agent, evil) and endpoint(agent, "shop/evil") == before
    # Nor does the next agent forget it.
    agent.kill()
    start(agent)
    assert is_shut(agent, evil) and endpoint(agent, "shop/evil") == before
    assert agent.status()["alarms"] == []
    # Until the pod is gone.
    agent.apply(texts={"pods.yaml": documents.text(objects(web, client))})
    eventually(lambda: agent.status()["endpoints"]["bound"] == 2)
    agent.stop()


def endpoint(agent: Agent, pod: str) -> int:
    (found,) = [one for one in agent.ask("endpoints") if one["pod"] == pod]
    assert found["state"] == "bound"
    return int(found["endpoint"])


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_a_pod_that_takes_the_place_of_another_is_unknown_until_it_is_named(
    agent: Agent, fail: str
) -> None:
    """The address of ``web``, which may be reached; the new pod may not."""
    _, web, client = agent.lab.pods
    start(agent, "--fail", fail)
    assert client.reaches("10.1.0.3", PORT, timeout=PATIENCE)
    agent.lab.delete_pod(web)
    new = agent.lab.add_pod("shop", "new", ipv4="10.1.0.3")
    new.serve(PORT)
    (alarm,) = eventually(lambda: agent.status()["alarms"])
    assert alarm["alarm"] == "identity" and "perhaps shop/web" in alarm["text"]
    assert agent.status()["endpoints"]["unknown"] == 1
    assert client.reaches("10.1.0.3", PORT, timeout=0.5) is (fail == "open")
    said = agent.ask("report")["uncovered"]
    assert len(said) == 1 and new.host_ifname in said[0]
    evil = agent.lab.pods[0]
    put(agent, evil, client, new)
    eventually(lambda: agent.status()["endpoints"]["bound"] == 3)
    eventually(lambda: not agent.status()["alarms"])
    assert client.reaches("10.1.0.3", PORT, timeout=PATIENCE)
    agent.stop()


def test_a_pod_made_anew_is_believed_once_the_source_was_written(agent: Agent) -> None:
    """With its name and its address, as a StatefulSet may do it."""
    _, web, client = agent.lab.pods
    start(agent, "--fail", "closed")
    numbers = {endpoint(agent, "shop/web")}
    agent.lab.delete_pod(web)
    again = agent.lab.add_pod("shop", "web", ipv4="10.1.0.3")
    again.serve(PORT)
    eventually(lambda: agent.status()["alarms"])
    assert not client.reaches("10.1.0.3", PORT, timeout=0.3)
    put(agent, *agent.lab.pods)
    agent.wait_until_bound(again)
    assert client.reaches("10.1.0.3", PORT, timeout=PATIENCE)
    assert endpoint(agent, "shop/web") not in numbers
    agent.stop()


def test_pods_without_a_veth_are_named(agent: Agent) -> None:
    """``ghost`` is on another kind of link: here, behind a macvlan on the end in a pod."""
    evil = agent.lab.pods[0]
    evil.run(["ip", "link", "add", "mac0", "link", "eth0", "type", "macvlan", "mode", "bridge"])
    evil.run(["ip", "addr", "add", "10.1.0.77/32", "dev", "mac0"])
    ghost = documents.pod("shop", "ghost", "10.1.0.77")
    finished = documents.pod("shop", "done", "10.1.0.78")
    finished["status"]["phase"] = "Succeeded"
    host = documents.pod("shop", "host", "10.1.0.1")
    host["spec"]["hostNetwork"] = True
    elsewhere = documents.pod("shop", "far", "10.9.0.1", node="other")
    known = documents.text(objects(*agent.lab.pods), finished, host, elsewhere)
    agent.put(texts={"pods.yaml": known, "ghost.yaml": documents.text(ghost)})
    start(agent)
    (alarm,) = eventually(lambda: agent.status()["alarms"])
    assert (
        alarm["alarm"] == "coverage" and "1 pods" in alarm["text"] and "shop/ghost" in alarm["text"]
    )
    uncovered = ["pod shop/ghost has no veth or netkit and is not covered"]
    assert agent.status()["uncovered"] == uncovered
    assert "pod shop/ghost has no veth" in agent.command("report")
    assert "coverage" in agent.command("status", status=1)
    agent.apply(texts={"pods.yaml": known})
    eventually(lambda: not agent.status()["alarms"])
    agent.stop()


def test_two_agents_do_not_share_maps(agent: Agent) -> None:
    start(agent)
    command = [
        *(sys.executable, "-m", "kubeverdict_agent", "run", "--node", "node", "--metrics", ""),
        *("-f", str(agent.source), "--bpffs", str(agent.pins)),
        *("--state", str(agent.folder / "other")),
    ]
    second = agent.lab.on_node(
        lambda: subprocess.run(
            command, capture_output=True, text=True, env=environment(), timeout=PATIENCE
        )
    )
    assert second.returncode == 2
    assert f"an agent with another --state is using {agent.pins}" in second.stderr
    done = agent.lab.on_node(
        lambda: subprocess.run(
            [
                *(sys.executable, "-m", "kubeverdict_agent", "detach"),
                *("--bpffs", str(agent.pins), "--state", str(agent.folder / "other")),
            ],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=PATIENCE,
        )
    )
    assert done.returncode == 2 and "is using" in done.stderr
    assert agent.status()["alarms"] == [] and is_shut(agent, agent.lab.pods[0])
    agent.stop()


@pytest.mark.parametrize("mode", [0o1777, 0o755, 0o700])
def test_a_file_system_that_others_may_write_is_refused(agent: Agent, mode: int) -> None:
    mount = agent.pins.parent
    mount.chmod(mode)
    try:
        found = agent.command("check", status=0 if mode == 0o700 else 1)
        agent.start(*ENFORCED)
        if mode == 0o700:
            agent.wait_until_in_force()
            agent.stop()
            return
        assert "MISSING  BPF file system" in found and "mode=0700" in found
        assert agent.process is not None and agent.process.wait(PATIENCE) == 2
        agent.process = None
        assert "is open to others than its owner" in agent.log_text()
    finally:
        mount.chmod(0o700)
