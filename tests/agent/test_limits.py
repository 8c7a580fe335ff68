"""What grows, is filled or is flooded: bounded, counted, and over when it is over."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import Lab, LabPod
from kubeverdict.errors import KubeverdictError
from kubeverdict_agent.control import control_socket
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from tests.agent.running import PATIENCE, Agent, agent_on, eventually, why_not
from tests.clusters import documents

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

METRICS = 19966
ENFORCED = ("--mode", "*=enforce", "--adopt", "0")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """Nobody may reach ``b``."""
    with Lab() as lab, agent_on(lab, tmp_path) as agent:
        lab.add_pod("shop", "a", ipv4="10.1.0.2")
        lab.add_pod("shop", "b", ipv4="10.1.0.3").serve(80)
        put(agent)
        yield agent


def put(agent: Agent, *more: documents.Object) -> None:
    agent.put(
        texts={
            "pods.yaml": documents.text(documents.of_lab(agent.lab.pods), list(more)),
            "policy.yaml": documents.text(
                documents.policy("shop", "b", "b", policyTypes=["Ingress"])
            ),
        }
    )


def start(agent: Agent, *options: str, metrics: str = "") -> None:
    agent.start(*ENFORCED, *options, metrics=metrics)
    agent.wait_until_in_force()
    agent.wait_until_bound(*agent.lab.pods)


def alarms(agent: Agent) -> set[str]:
    return {one["alarm"] for one in agent.status()["alarms"]}


def send(pod: LabPod, ports: range) -> None:
    with pod.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in ports:
            sender.sendto(b"x", ("10.1.0.3", port))


def test_denials_that_were_not_counted_are_an_alarm_while_it_lasts(agent: Agent) -> None:
    a, _ = agent.lab.pods
    start(agent)
    agent.kill()
    send(a, range(1, 40_001))  # more kinds than the kernel's table has room for
    # What was lost before this agent is told, and is no alarm of it.
    start(agent)
    assert agent.status()["totals_lost"] > 0 and "totals" not in alarms(agent)
    report = agent.command("report", status=1)
    assert "packets were not counted" in report
    time.sleep(11)
    assert "totals" not in alarms(agent)
    agent.stop()


def test_events_without_events_are_none(agent: Agent) -> None:
    start(agent)
    assert agent.command("events", "--no-follow") == ""
    agent.stop()


def test_room_for_connections_is_what_was_asked_for(agent: Agent) -> None:
    start(agent, "--connections", "4096")
    assert agent.status()["connections_limit"] == 4096
    agent.stop()
    start(agent)  # as the agent before
    assert agent.status()["connections_limit"] == 4096
    agent.stop()
    agent.start(*ENFORCED, "--connections", "8192")
    assert agent.process is not None and agent.process.wait(PATIENCE) == 2
    agent.process = None
    assert "room for 4096 connections, not for 8192" in agent.log_text()
    assert "kubeverdict-agent detach" in agent.log_text()
    agent.command("detach")
    start(agent, "--connections", "8192")
    assert agent.status()["connections_limit"] == 8192
    agent.stop()


def test_idle_connections_to_the_metrics_keep_no_link_waiting(agent: Agent) -> None:
    a, _ = agent.lab.pods
    start(agent, metrics=f"127.0.0.1:{METRICS}")
    assert agent.process is not None
    descriptors = Path(f"/proc/{agent.process.pid}/fd")
    threads = Path(f"/proc/{agent.process.pid}/task")
    before = len(os.listdir(descriptors)), len(os.listdir(threads))

    def connect() -> socket.socket:
        connection = socket.socket()
        connection.settimeout(2)
        connection.connect(("127.0.0.1", METRICS))
        return connection

    idle = [agent.lab.on_node(connect) for _ in range(400)]
    try:
        for connection in idle[::2]:
            connection.send(b"GET /metr")
        after = len(os.listdir(descriptors)), len(os.listdir(threads))
        assert after[0] - before[0] < 20 and after[1] - before[1] < 30
        new = agent.lab.add_pod("shop", "new", ipv4="10.1.0.9")
        new.serve(80)
        shut = documents.policy("shop", "new", "new", policyTypes=["Ingress"])
        put(agent, shut)
        agent.wait_until_bound(new)
        assert not a.reaches("10.1.0.9", 80, timeout=0.3)

        def trickle() -> bool:
            """Until all that are served were cut, however often they say a little."""
            for connection in idle:
                try:
                    connection.send(b"x")
                except OSError:
                    continue
            return b"kubeverdict_alarm" in scrape(agent)

        eventually(trickle, "metrics are served again")
    finally:
        for connection in idle:
            connection.close()
    assert not alarms(agent)
    agent.stop()


def scrape(agent: Agent) -> bytes:
    def get() -> bytes:
        try:
            url = f"http://127.0.0.1:{METRICS}/metrics"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    return agent.lab.on_node(get)


def test_nonsense_on_the_sockets_takes_nothing_down(agent: Agent) -> None:
    start(agent, metrics=f"127.0.0.1:{METRICS}")
    assert agent.process is not None
    descriptors = Path(f"/proc/{agent.process.pid}/fd")
    before = len(os.listdir(descriptors))
    chance = random.Random(13)
    verbs = ["status", "endpoints", "policy", "flows", "report", "events", "mode", "confirm", "x"]
    fields = ["pod", "limit", "last", "follow", "set", "namespace", "verb", ""]
    values: list[object] = [None, True, -1, 1 << 70, 1.5, "", "x/y", "\x00", [], [1], {}, {"a": []}]
    for _ in range(100):
        verb, asked = chance.choice(verbs), chance.sample(fields[:-2], 2)
        request = {name: chance.choice(values) for name in asked if name != "follow"}
        with contextlib.suppress(KubeverdictError):
            control_socket.ask(agent.state, verb, **request)
        raw = chance.randbytes(chance.randrange(200)) + chance.choice([b"", b"\n"])
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(agent.state / control_socket.SOCKET))
            connection.sendall(raw)
    starts = [b"GET ", b"POST /metrics HTTP/1.1\r\n", b"GET /metrics HTTP/9.9\r\n\r\n", b"\x16\x03"]

    def disturb() -> None:
        for _ in range(100):
            with socket.socket() as connection:
                connection.settimeout(2)
                connection.connect(("127.0.0.1", METRICS))
                try:
                    connection.sendall(
                        chance.choice(starts) + chance.randbytes(chance.randrange(90))
                    )
                except OSError:
                    continue

    agent.lab.on_node(disturb)
    assert b"kubeverdict_alarm" in eventually(lambda: scrape(agent))
    assert agent.status()["modes"] == ["*=enforce"] and not alarms(agent)
    eventually(lambda: len(os.listdir(descriptors)) <= before + 2, "descriptors are closed")
    assert "Traceback" not in agent.log_text()
    agent.stop()


def test_thousands_of_addresses_on_the_node_keep_no_link_waiting(agent: Agent) -> None:
    """As kube-proxy has them with IPVS."""
    lab = agent.lab
    start(agent)

    def attaching() -> list[float]:
        """Milliseconds from a link being there to both programs being on it."""
        found = []
        for number in range(20):
            pod = lab.add_pod("shop", f"new{number}", ipv4=f"10.1.7.{number}")
            began = time.perf_counter()
            while not all(agent.hooked(pod).values()):
                assert time.perf_counter() - began < PATIENCE
            found.append((time.perf_counter() - began) * 1e3)
            lab.delete_pod(pod)
        return sorted(found)

    without = attaching()
    lab.run(["ip", "link", "add", "ipvs0", "type", "bridge"])
    batch = "".join(
        f"addr add 10.{96 + n // 65536}.{n // 256 % 256}.{n % 256}/32 dev ipvs0\n"
        for n in range(1, 5_001)
    )
    began = time.monotonic()
    lab.run(["ip", "-batch", "-"], input=batch)
    first = lab.add_pod("shop", "first", ipv4="10.1.8.1")
    eventually(lambda: all(agent.hooked(first).values()))
    print(f"first link after 5,000 addresses: {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 20
    eventually(lambda: agent.status()["publications"] > 1)
    time.sleep(3)
    with_them = attaching()
    print(f"p95 {without[18]:.1f} ms without, {with_them[18]:.1f} ms with 5,000 addresses")
    assert with_them[18] < 3 * without[18] + 20
    assert "coverage" not in alarms(agent)
    agent.stop()


def test_the_ledger_is_bounded_and_says_what_it_left_out(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With small bounds: pods times protocols are as many as somebody likes to send."""
    from kubeverdict_agent.observe import collecting
    from kubeverdict_agent.observe.naming import NamedEnd, Naming

    start(agent)
    agent.stop()
    monkeypatch.setattr(collecting, "_ENTRIES", 20)
    monkeypatch.setattr(collecting, "_MOST_ENTRIES", 40)
    datapath = NodeDatapath.open(agent.pins, compile_programs=False)
    try:
        collector = collecting.Collector(datapath, Naming(), lambda number: None)
        decider = Naming().decider(0, 0, ("", ""), 0)
        for number in range(500):
            end = NamedEnd(f"10.9.{number}.1", "big", f"p{number}", f"p{number}", "Pod")
            key = collecting.Key("shop/a", end.text, str(number), number % 3, "egress", "enforce")
            collector._count(key, end, 2, 100, 1.0, 2.0, "denied", decider)
        assert len(collector.ledger()) == 40
        listed = sum(entry.packets for _, entry in collector.ledger())
        assert listed + collector.unlisted == 1000
    finally:
        datapath.close()
