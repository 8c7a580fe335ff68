"""Killed, started again, half-removed: nothing leaks, nothing is lost, nothing is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import Lab, LabPod
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from tests.agent.bytecode import PASS, program
from tests.agent.running import PATIENCE, Agent, agent_on, eventually, why_not
from tests.clusters import documents

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

ALLOWED, DENIED = 8080, 8081
_BUFFER = 64 << 20
_SO_RCVBUFFORCE = 33


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Lab() as lab, agent_on(lab, tmp_path) as agent:
        lab.add_pod("shop", "web", ipv4="10.1.0.2")
        lab.add_pod("shop", "client", ipv4="10.1.0.3")
        yield agent


def texts(agent: Agent, variant: int = 0) -> dict[str, str]:
    """Policies that say the same about the two ports, whatever the variant."""
    rule = {
        "from": documents.from_app("client"),
        "ports": [{"port": ALLOWED, "protocol": "UDP"}, {"port": 9000 + variant}],
    }
    return {
        "pods.yaml": documents.text(documents.of_lab(agent.lab.pods)),
        "policy.yaml": documents.text(documents.policy("shop", "web", "web", ingress=[rule])),
        "more.yaml": documents.text(
            [documents.policy("shop", f"p{n}", "client", ingress=[]) for n in range(variant + 1)]
        ),
    }


class Traffic:
    """Datagrams from the client to both ports of the server, each with a number, until ended;
    ``pause`` seconds between two."""

    def __init__(self, agent: Agent, pause: float = 0.001) -> None:
        web, client = agent.lab.pods
        self._pause = pause
        self.sent = 0
        self.received: set[int] = set()
        self.leaked = 0
        self._done = threading.Event()
        self._sockets = [_receiver(web, port) for port in (ALLOWED, DENIED)]
        self._sender = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._threads = [
            threading.Thread(target=self._send),
            threading.Thread(target=self._receive),
            threading.Thread(target=self._receive_denied),
        ]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._done.wait(self._pause):
            number = self.sent.to_bytes(8, "big")
            # To the denied port first: what leaks is seen before what must arrive.
            self._sender.sendto(number, ("10.1.0.2", DENIED))
            self._sender.sendto(number, ("10.1.0.2", ALLOWED))
            self.sent += 1

    def _receive(self) -> None:
        while not (self._done.is_set() and len(self.received) >= self.sent):
            try:
                self.received.add(int.from_bytes(self._sockets[0].recv(64), "big"))
            except TimeoutError:
                if self._done.is_set():
                    return

    def _receive_denied(self) -> None:
        while not self._done.is_set():
            try:
                self._sockets[1].recv(64)
                self.leaked += 1
            except TimeoutError:
                pass

    def end(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
        for each in (*self._sockets, self._sender):
            each.close()

    def check(self) -> None:
        """End it, and hold it to 0 leaked and 0 lost."""
        self.end()
        assert self.sent > 100
        assert self.leaked == 0
        assert self.sent - len(self.received) == 0


def _receiver(pod: LabPod, port: int) -> socket.socket:
    receiver = pod.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    receiver.bind(("", port))
    receiver.settimeout(0.5)
    return receiver


def running(agent: Agent) -> subprocess.Popen[str]:
    assert agent.process is not None
    return agent.process


def start(agent: Agent) -> None:
    agent.start("--mode", "*=enforce", "--adopt", "0")
    agent.wait_until_in_force()
    agent.wait_until_bound(*agent.lab.pods)


def test_killed_at_any_moment_of_an_update(agent: Agent) -> None:
    """0 leaked and 0 lost, over kills while policy changes, restarts, and an end in between."""
    chance = random.Random(7)
    agent.put(texts=texts(agent))
    start(agent)
    bound = {one["pod"]: one["endpoint"] for one in agent.ask("endpoints")}
    traffic = Traffic(agent)
    try:
        for kill in range(5):
            for variant in range(chance.randrange(1, 6)):
                agent.put(texts=texts(agent, variant))
                time.sleep(chance.random() * 0.2)
            if kill == 2:
                agent.stop()
            else:
                agent.kill()
            agent.put(texts=texts(agent, kill))
            # Some are killed again before they are ready.
            agent.start("--mode", "*=enforce", "--adopt", "0")
            if kill % 2:
                time.sleep(chance.random() * 2.0)
                agent.kill()
                agent.start("--mode", "*=enforce", "--adopt", "0")
            agent.wait_until_in_force()
    except BaseException:
        traffic.end()
        raise
    traffic.check()
    # The same pods have the same numbers, so their connections went on.
    assert {one["pod"]: one["endpoint"] for one in agent.ask("endpoints")} == bound
    assert not agent.status()["alarms"]
    agent.stop()


def test_programs_stay_on_the_links_when_the_agent_ends(agent: Agent) -> None:
    agent.put(texts=texts(agent))
    start(agent)
    agent.stop()
    for pod in agent.lab.pods:
        assert list(map(len, agent.hooked(pod).values())) == [1, 1]
    start(agent)
    for pod in agent.lab.pods:
        assert list(map(len, agent.hooked(pod).values())) == [1, 1], "replaced, not added"
    agent.stop()


def test_pins_that_are_half_there_are_completed(agent: Agent) -> None:
    agent.put(texts=texts(agent))
    start(agent)
    agent.kill()
    names = sorted(pin.name for pin in agent.pins.iterdir())
    for name in names[::2]:
        (agent.pins / name).unlink()
    start(agent)
    assert sorted(pin.name for pin in agent.pins.iterdir()) == names
    assert not agent.status()["alarms"]
    agent.stop()


def test_detach_removes_what_a_crashed_agent_left(agent: Agent) -> None:
    web, client = agent.lab.pods
    web.serve(DENIED)
    agent.put(texts=texts(agent))
    start(agent)
    assert not client.reaches("10.1.0.2", DENIED, timeout=0.3)
    agent.kill()
    output = agent.command("detach")
    assert "programs removed from 2 links" in output
    assert not agent.pins.exists() and not agent.state.exists()
    for pod in agent.lab.pods:
        assert agent.hooked(pod) == {"INGRESS": [], "EGRESS": []}
        qdiscs = agent.lab.run(["tc", "qdisc", "show", "dev", pod.host_ifname]).stdout
        assert "clsact" not in qdiscs
    assert client.reaches("10.1.0.2", DENIED, timeout=PATIENCE)
    assert "programs removed from 0 links, maps were not there" in agent.command("detach")


def test_detach_leaves_programs_of_others(agent: Agent) -> None:
    web, _ = agent.lab.pods

    def put_other() -> None:
        from pyroute2 import IPRoute

        fd = program(PASS)
        try:
            with IPRoute() as netlink:
                index = netlink.link_lookup(ifname=web.host_ifname)[0]
                netlink.tc("add", "clsact", index)
                netlink.tc(
                    "add-filter",
                    "bpf",
                    index,
                    parent="ffff:fff2",
                    fd=fd,
                    name="somebody",
                    direct_action=True,
                    prio=50,
                    handle=1,
                    protocol=3,
                )
        finally:
            os.close(fd)

    agent.lab.on_node(put_other)
    agent.put(texts=texts(agent))
    start(agent)
    assert all(agent.hooked(web).values()) and "somebody" in agent.filters(web)
    agent.stop()
    agent.command("detach")
    assert not any(agent.hooked(web).values()) and "somebody" in agent.filters(web)


def test_two_agents_do_not_run_on_one_state(agent: Agent) -> None:
    agent.put(texts=texts(agent))
    start(agent)
    complaint = f"an agent (process {running(agent).pid}) is using"
    agent.command("detach", status=2)
    first, agent.process = agent.process, None
    agent.start()
    second = running(agent)
    assert second.wait(PATIENCE) == 2
    assert complaint in agent.log_text()
    agent.process = first
    assert agent.status()["alarms"] == []
    agent.stop()


def test_a_first_policy_that_fails_drops_nothing(agent: Agent) -> None:
    """There is nothing to go by yet: open lets all pass, and says what is wrong."""
    web, client = agent.lab.pods
    web.serve(ALLOWED)
    broken = {"policy.yaml": "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nspec: 5\n"}
    agent.put(texts=broken)
    agent.start("--mode", "*=enforce")
    agent.wait_until_answering()
    eventually(lambda: [one for one in agent.status()["alarms"] if one["alarm"] == "source"])
    assert client.reaches("10.1.0.2", ALLOWED, timeout=PATIENCE)
    assert "policy.yaml:" in agent.command("status", status=1)
    agent.put(texts=texts(agent))
    agent.wait_until_bound(*agent.lab.pods)
    eventually(lambda: not agent.status()["alarms"])
    agent.stop()


def test_a_policy_that_is_wrong_leaves_the_old_one_in_force(agent: Agent) -> None:
    web, client = agent.lab.pods
    web.serve(DENIED)
    agent.put(texts=texts(agent))
    start(agent)
    generation = agent.status()["generation"]
    wrong = {**texts(agent), "new.yaml": "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\n"}
    agent.put(texts=wrong)
    alarm = eventually(lambda: agent.status()["alarms"])[0]
    assert alarm["alarm"] == "source" and "new.yaml:1" in alarm["text"]
    assert agent.status()["generation"] == generation
    assert not client.reaches("10.1.0.2", DENIED, timeout=0.3)
    # What was set while the agent ran is kept for the next one, a killed one's too.
    agent.set_mode("shop=off")
    assert client.reaches("10.1.0.2", DENIED, timeout=PATIENCE)
    agent.put(texts=texts(agent))
    eventually(lambda: not agent.status()["alarms"])
    agent.kill()
    start(agent)
    assert agent.status()["modes"] == ["*=enforce", "shop=off"]
    assert client.reaches("10.1.0.2", DENIED, timeout=PATIENCE)
    agent.stop()


def test_modes_are_read_from_a_file_and_when_it_changes(agent: Agent) -> None:
    web, client = agent.lab.pods
    web.serve(DENIED)
    path = agent.folder / "modes"
    path.write_text("shop=audit\n")
    agent.put(texts=texts(agent))
    agent.start("--modes", str(path), "--mode", "*=off", "--adopt", "0")
    agent.wait_until_in_force()
    agent.wait_until_bound(web, client)
    assert client.reaches("10.1.0.2", DENIED, timeout=PATIENCE)
    path.write_text("shop=enforce\n")
    eventually(lambda: agent.status()["modes"] == ["*=off", "shop=enforce"])
    eventually(lambda: not client.reaches("10.1.0.2", DENIED, timeout=0.3))
    path.write_text("shop=enforced\n")
    alarm = eventually(lambda: agent.status()["alarms"])[0]
    assert alarm["alarm"] == "modes" and f"{path}:1" in alarm["text"]
    assert not client.reaches("10.1.0.2", DENIED, timeout=0.3), "the old settings stand"
    path.write_text("shop/web=off\n")
    eventually(lambda: client.reaches("10.1.0.2", DENIED, timeout=0.3))
    eventually(lambda: not agent.status()["alarms"])
    agent.stop()


def test_closed_means_that_nobody_unknown_gets_through(agent: Agent) -> None:
    web, client = agent.lab.pods
    web.serve(ALLOWED)
    agent.put(texts={"other.yaml": documents.text(documents.pod("x", "y", "10.1.0.99"))})
    agent.start("--fail", "closed")
    agent.wait_until_in_force()
    assert not client.reaches("10.1.0.2", ALLOWED, timeout=0.3)
    assert agent.status()["endpoints"]["unknown"] == 2
    agent.apply(texts=texts(agent))
    agent.wait_until_bound(web, client)
    assert client.reaches("10.1.0.2", ALLOWED, timeout=PATIENCE), "audited"
    agent.stop()


@pytest.mark.parametrize("swaps", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_policy_is_swapped_again_and_again_under_traffic(agent: Agent, swaps: int) -> None:
    """Straight into the tables, as fast as they take it: 0 leaked and 0 lost."""
    from kubeverdict.compile.compiler import compile_cluster
    from kubeverdict.manifests import load
    from kubeverdict_agent.datapath.arena import LayingOut
    from kubeverdict_agent.datapath.layout import Mode
    from kubeverdict_agent.lowering.tables import Local, lower

    agent.put(texts=texts(agent))
    start(agent)
    slots = [(one["slot"], *one["pod"].split("/")) for one in agent.ask("endpoints")]
    agent.stop()  # one writer at a time
    locals_ = [Local(slot, namespace, name, Mode.ENFORCE) for slot, namespace, name in slots]
    tables = []
    for variant in range(4):
        agent.put(texts=texts(agent, variant))
        compiled = compile_cluster(load([str(agent.source)]).cluster)
        tables.append(LayingOut().lay_out(lower(compiled, agent.node, locals_)))
    datapath = NodeDatapath.open(agent.pins, compile_programs=False)
    traffic = Traffic(agent, pause=0.004)
    try:
        first = datapath.generation
        for swap in range(swaps):
            # Most of it is waiting for the packets before, as every publication does.
            datapath.swap(tables[swap % len(tables)])
        assert datapath.generation == first + swaps
    finally:
        datapath.close()
        traffic.end()
    traffic.check()


def test_what_is_denied_while_no_agent_runs_is_reported_with_names(agent: Agent) -> None:
    _, client = agent.lab.pods
    agent.put(texts=texts(agent))
    start(agent)
    agent.kill()
    assert not client.reaches("10.1.0.2", DENIED, "udp", timeout=0.3)
    # While there are no names, nothing is taken from the kernel's counts.
    agent.put(texts={**texts(agent), "wrong.yaml": "kind: NetworkPolicy\nspec: 5\n"})
    agent.start("--mode", "*=enforce", "--adopt", "0")
    agent.wait_until_answering()
    eventually(lambda: agent.status()["alarms"])
    assert agent.ask("report")["namespaces"] == []
    agent.put(texts=texts(agent))
    agent.wait_until_in_force()
    ((part,),) = (agent.ask("report")["namespaces"],)
    (line,) = part["lines"]
    assert part["namespace"] == "shop" and line["packets"] >= 1
    found = (line["source"], line["destination"], line["protocol"], line["port"])
    assert found == ("shop/client", "shop/web", "UDP", DENIED)
    agent.stop()


def test_a_table_of_connections_that_is_full_is_an_alarm(agent: Agent) -> None:
    """And those of a pod that is gone make room."""
    web, client = agent.lab.pods
    # Nothing is denied: so many denials would be an alarm of their own.
    agent.put(texts={"pods.yaml": documents.text(documents.of_lab(agent.lab.pods))})
    agent.start("--connections", "8192", "--adopt", "0")
    agent.wait_until_in_force()
    agent.wait_until_bound(web, client)
    with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in range(1, 20_001):
            with contextlib.suppress(ConnectionError):
                sender.sendto(b"x", ("10.1.0.2", port))
    (alarm,) = eventually(lambda: agent.status()["alarms"])
    assert alarm["alarm"] == "conntrack" and "of 8192 IPv4 connections" in alarm["text"]
    for pod in (web, client):
        agent.lab.delete_pod(pod)
    eventually(lambda: "conntrack" not in [one["alarm"] for one in agent.status()["alarms"]])
    assert agent.status()["connections"] == {"ipv4": 0, "ipv6": 0}
    agent.stop()


def test_signals_end_it_without_a_word(agent: Agent) -> None:
    agent.put(texts=texts(agent))
    start(agent)
    os.kill(running(agent).pid, signal.SIGINT)
    assert running(agent).wait(PATIENCE) == 0
    agent.process = None
    assert "Traceback" not in agent.log_text()
