"""What the agent tells: events in Hubble's format, metrics, status, and complaints."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.lab import Lab, LabPod
from kubeverdict_agent.cli import CONTRACTS
from kubeverdict_agent.datapath import bpf_links
from tests.agent.running import PATIENCE, Agent, agent_on, environment, eventually, why_not
from tests.clusters import documents
from tests.docs.contracts import check_example

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PORT = 8080
METRICS = 19964  # of the lab's own loopback


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with Lab() as lab, agent_on(lab, tmp_path_factory.mktemp("commands")) as agent:
        web = lab.add_pod("shop", "web", ipv4="10.1.0.2", ipv6="fd00:1::2")
        lab.add_pod("shop", "client", ipv4="10.1.0.3", ipv6="fd00:1::3")
        stranger = lab.add_pod("none", "stranger", ipv4="10.1.0.9")
        web.serve(PORT)
        known = [pod for pod in lab.pods if pod is not stranger]
        allowed = [{"from": documents.from_app("client"), "ports": [{"port": 9}]}]
        agent.put(
            texts={
                "pods.yaml": documents.text(documents.of_lab(known)),
                "policy.yaml": documents.text(
                    documents.policy("shop", "web", "web", ingress=allowed)
                ),
            }
        )
        agent.start("--adopt", "0", metrics=f"127.0.0.1:{METRICS}")
        agent.wait_until_in_force()
        agent.wait_until_bound(*known)
        yield agent
        agent.stop()


def pods_of(agent: Agent) -> tuple[LabPod, LabPod, LabPod]:
    web, client, stranger = agent.lab.pods
    return web, client, stranger


def newest(agent: Agent, **wanted: object) -> dict[str, Any]:
    """The newest event whose flow has these fields."""

    def find() -> dict[str, Any]:
        lines = agent.command("events", "--no-follow", "--last", "100").splitlines()
        for line in reversed(lines):
            answer: dict[str, Any] = json.loads(line)
            flow = answer.get("flow", {})
            if all(flow.get(name) == value for name, value in wanted.items()):
                return answer
        return {}

    return eventually(find, f"an event with {wanted}")


def test_events_are_flows_of_hubble(agent: Agent) -> None:
    _, client, _ = pods_of(agent)
    assert client.reaches("10.1.0.2", PORT, timeout=PATIENCE), "audited"
    told = newest(agent, verdict="AUDIT", Summary="TCP Flags: SYN")
    flow, ours = told["flow"], told["kubeverdict"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", flow["time"])
    assert flow["IP"] == {"source": "10.1.0.3", "destination": "10.1.0.2", "ipVersion": "IPv4"}
    assert flow["l4"]["TCP"]["destination_port"] == PORT
    assert flow["l4"]["TCP"]["flags"] == {"SYN": True}
    assert flow["traffic_direction"] == "INGRESS" and flow["Type"] == "L3_L4"
    assert flow["source"]["pod_name"] == "client" and flow["source"]["namespace"] == "shop"
    assert flow["destination"]["workloads"] == [{"name": "web", "kind": "Pod"}]
    assert "k8s:app=web" in flow["destination"]["labels"]
    assert told["node_name"] == flow["node_name"] == "node"
    assert ours["mode"] == "audit" and ours["decided_by"] == "no-rule-matches"
    assert ours["policies"] == ["NetworkPolicy shop/web"]
    assert ours["file"].endswith("policy.yaml") and ours["line"] > 0


def test_drops_are_told_as_drops(agent: Agent) -> None:
    _, client, stranger = pods_of(agent)
    agent.set_mode("shop/web=enforce")
    try:
        assert not client.reaches("fd00:1::2", PORT, "udp", timeout=0.3)
        told = newest(agent, verdict="DROPPED")
        flow = told["flow"]
        assert (
            flow["drop_reason_desc"] == "POLICY_DENIED" and told["kubeverdict"]["mode"] == "enforce"
        )
        assert flow["IP"]["ipVersion"] == "IPv6" and flow["l4"]["UDP"]["destination_port"] == PORT
        # An end that no pod of the cluster has is an address.
        assert not stranger.reaches("10.1.0.2", PORT, timeout=0.3)
        told = newest(agent, source={"labels": ["reserved:world"]})
        assert told["flow"]["IP"]["source"] == "10.1.0.9"
        report = agent.command("report", status=1)
        assert "10.1.0.9 -> shop/web TCP 8080" in report
        assert "namespace shop: these 2 connections are dropped" in report
        only = json.loads(agent.command("report", "-n", "other", "-o", "json"))
        assert only["namespaces"] == [] and only["version"] == 1
    finally:
        agent.set_mode("shop/web=unset")


def test_events_are_followed_as_they_happen(agent: Agent) -> None:
    _, client, _ = pods_of(agent)
    command = [sys.executable, "-m", "kubeverdict_agent", "events", "--last", "0", "--state"]
    follower = subprocess.Popen(
        [*command, str(agent.state)], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert follower.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(follower.stdout or ()))
    reader.start()
    try:
        # It may not listen yet, and an event is told once a second at most.
        eventually(lambda: client.reaches("10.1.0.2", PORT, timeout=PATIENCE) and lines)
    finally:
        follower.kill()
        follower.wait()
        reader.join()
        follower.stdout.close()
    assert json.loads(lines[0])["flow"]["verdict"] == "AUDIT"


def test_metrics_on_loopback(agent: Agent) -> None:
    _, client, _ = pods_of(agent)
    assert client.reaches("10.1.0.2", PORT, timeout=PATIENCE)

    def scrape(path: str = "metrics") -> str:
        url = f"http://127.0.0.1:{METRICS}/{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    text = agent.lab.on_node(scrape)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    def value(name: str, **labels: str) -> float:
        return samples[(f"kubeverdict_{name}", *sorted(labels.items()))]

    assert value("forwarded_packets_total", direction="ingress", reason="denied") > 0
    assert value("forwarded_bytes_total", direction="egress", reason="policy") > 0
    assert value("policy_generation") == agent.status()["generation"]
    assert value("endpoints", state="bound") == 2 and value("endpoints", state="unknown") == 1
    assert value("alarm", alarm="source") == 0
    assert value("events_lost_total") == 0
    assert value("conntrack_limit", family="ipv6") >= 131_072
    assert value("conntrack_entries", family="ipv4") > 0
    assert 0 < value("map_pressure", map="policy") < 1
    assert value("policy_apply_seconds_count") >= 1
    assert agent.lab.on_node(lambda: scrape("ready")) == "ready\n"


def test_status_endpoints_policy_and_flows(agent: Agent) -> None:
    _, client, stranger = pods_of(agent)
    assert client.reaches("10.1.0.2", PORT, timeout=PATIENCE)
    status = json.loads(agent.command("status", "-o", "json"))
    assert status["unknown_links"] == [stranger.host_ifname] and status["policies"] == 1
    shown = json.loads(agent.command("endpoints", "-o", "json"))["endpoints"]
    assert {one["pod"]: one["state"] for one in shown} == {
        "": "unknown",
        "shop/client": "bound",
        "shop/web": "bound",
    }
    words = json.loads(agent.command("policy", "shop/web", "-o", "json"))["pods"][0]
    assert any("spec.ingress[0] of NetworkPolicy shop/web" in one for one in words["ingress"])
    assert any(one.startswith("deny: no-rule-matches") for one in words["ingress"])
    assert words["egress"] == ["allow: not-isolated"]
    flows = json.loads(agent.command("flows", "-o", "json"))["flows"]
    mine = [one for one in flows if one["pod"] == "shop/client" and one["remote"] == "10.1.0.2"]
    assert any(one["remote_port"] == PORT and one["origin"] == "egress" for one in mine)
    for verb in ("status", "endpoints", "policy", "flows"):
        assert agent.command(verb)


def test_json_has_the_fields_of_its_contract(agent: Agent) -> None:
    """Those that docs/json.md shows. Alarms may stand, and pods be denied, or not."""
    _, client, _ = pods_of(agent)
    assert client.reaches("10.1.0.2", PORT, timeout=PATIENCE)
    may_be = {"status": (".alarms[]", ".refused.")}
    for verb, version in CONTRACTS.items():
        printed = json.loads(agent.command(verb, "-o", "json", status=int(verb == "report")))
        check_example(f"kubeverdict-agent/{verb}/v{version}", [printed], may_be.get(verb, ()))


def test_modes_are_shown_and_set(agent: Agent) -> None:
    assert agent.command("mode").strip() == "*=audit"
    assert agent.command("mode", "shop=off", "x=enforce").split() == ["shop=off", "x=enforce"]
    assert json.loads(agent.command("status", "-o", "json"))["modes_of_nothing"] == ["x"]
    assert agent.command("mode", "shop=unset", "x=unset").strip() == "*=audit"
    agent.command("mode", "shop=sometimes", status=2)


def test_what_the_machine_offers_is_checked(agent: Agent) -> None:
    before = set(agent.pins.parent.iterdir())
    found = agent.command("check")
    assert "MISSING" not in found and "accepted by the verifier" in found
    hooks = "hooks: TCX" if bpf_links.supported() else "hooks: clsact"
    for feature in (hooks, "links: veth", "older connections: the kernel's connection tracking"):
        assert f"ok       {feature}" in found
    assert set(agent.pins.parent.iterdir()) == before, "what was tried is gone"
    elsewhere = subprocess.run(
        [sys.executable, "-m", "kubeverdict_agent", "check", "--bpffs", str(agent.folder)],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert elsewhere.returncode == 1 and "MISSING  BPF file system" in elsewhere.stdout


def test_a_capability_that_is_missing_is_told_in_a_sentence(agent: Agent, tmp_path: Path) -> None:
    without = (
        "import ctypes, os, sys;"
        "assert ctypes.CDLL(None).prctl(24, 11, 0, 0, 0) == 0;"  # CAP_NET_BROADCAST
        "os.execv(sys.executable, [sys.executable, '-m', 'kubeverdict_agent', *sys.argv[1:]])"
    )
    run = ["run", "--node", "n", "-f", "x", "--metrics", "", "--connections", "1024"]
    pins = agent.pins.with_name("without")
    done = agent.lab.on_node(
        lambda: subprocess.run(
            [
                *(sys.executable, "-c", without, *run),
                *("--state", str(tmp_path), "--bpffs", str(pins)),
            ],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=2 * PATIENCE,
        )
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert f"error: kubeverdict-agent run: {os.strerror(errno.EPERM)}" in done.stderr
    assert "kubeverdict-agent check" in done.stderr


def test_most_capabilities_are_given_up(agent: Agent) -> None:
    assert agent.process is not None
    for task in Path(f"/proc/{agent.process.pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        kept = 1 << 12 | 1 << 39  # NET_ADMIN and BPF
        assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == kept
        assert int(fields["CapBnd"], 16) & ~kept == 0 and fields["NoNewPrivs"] == "1"


def test_logs_are_json_lines(agent: Agent) -> None:
    records = [json.loads(line) for line in agent.log_text().splitlines()]
    assert {"time", "level", "event", "node"} <= set.intersection(*map(set, records))
    events = [record["event"] for record in records]
    assert {"started", "attached", "bound", "policy in force"} <= set(events)


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["run", "--node", "n", "-f", "-"], "standard input cannot be watched"),
        (["run", "--node", "n", "-f", "x", "--mode", "shop"], "is not a setting"),
        (["run", "--node", "n", "-f", "x", "--bpffs", "/proc/kv"], "/proc/kv: "),
        (["status"], "no agent answers"),
        (["report", "-o", "xml"], "'xml' is not one of"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    with Lab() as lab:
        done = lab.on_node(
            lambda: subprocess.run(
                [sys.executable, "-m", "kubeverdict_agent", *arguments, "--state", str(tmp_path)],
                capture_output=True,
                text=True,
                env=environment(),
                timeout=2 * PATIENCE,
            )
        )
    assert done.returncode == 2 and complaint in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
