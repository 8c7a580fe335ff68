"""What others put on a pod's link: it neither keeps our programs from running nor is harmed by
them, and where it does keep them, that is said.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import Lab, LabPod, bpffs
from kubeverdict_agent.datapath import bpf_links
from kubeverdict_agent.datapath.bpf_links import Hook
from kubeverdict_agent.errors import DatapathError
from kubeverdict_agent.node.attaching import Attacher
from tests.agent.bytecode import PASS, program
from tests.agent.running import Agent, agent_on, eventually, why_not
from tests.clusters import documents

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
needs_tcx = pytest.mark.skipif(
    why_not() is None and not bpf_links.supported(), reason="TCX needs Linux 6.6"
)

PORT, METRICS = 8080, 19965
OK = 0  # the action that ends the judging of a packet
ENFORCED = ("--mode", "*=enforce", "--adopt", "0")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """``a`` may reach ``c`` alone, nobody may reach ``a``, and ``e`` may reach nobody."""
    with Lab() as lab, agent_on(lab, tmp_path) as agent:
        for number, name in enumerate("abce", start=2):
            lab.add_pod("shop", name, ipv4=f"10.1.0.{number}").serve(PORT)
        rules = [
            documents.policy(
                "shop",
                "a",
                "a",
                policyTypes=["Ingress", "Egress"],
                egress=[{"to": documents.from_app("c")}],
            ),
            documents.policy("shop", "e", "e", policyTypes=["Egress"]),
        ]
        agent.put(texts={"all.yaml": documents.text(documents.of_lab(lab.pods), rules)})
        yield agent


def start(agent: Agent, metrics: str = "") -> None:
    agent.start(*ENFORCED, metrics=metrics)
    agent.wait_until_in_force()
    agent.wait_until_bound(*agent.lab.pods)


def limit_bandwidth(lab: Lab, pod: LabPod) -> None:
    """As the CNI's bandwidth plug-in does it, in both directions."""
    link, ifb = pod.host_ifname, f"bwp{pod.host_ifname[4:12]}"
    shape = ["tbf", "rate", "100mbit", "burst", "256kb", "latency", "25ms"]
    for command in (
        ["tc", "qdisc", "add", "dev", link, "root", *shape],
        ["ip", "link", "add", ifb, "type", "ifb"],
        ["ip", "link", "set", ifb, "up"],
        ["tc", "qdisc", "add", "dev", link, "handle", "ffff:", "ingress"],
        [
            *("tc", "filter", "add", "dev", link, "parent", "ffff:", "protocol", "all"),
            *("prio", "1", "u32", "match", "u32", "0", "0", "flowid", "1:1"),
            *("action", "mirred", "egress", "redirect", "dev", ifb),
        ],
        ["tc", "qdisc", "add", "dev", ifb, "root", *shape],
    ):
        lab.run(command)


def check_policy(lab: Lab) -> None:
    a, b, c, e = lab.pods
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("", 9000))
        receiver.settimeout(0.3)
        with b.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(5):
                sender.sendto(b"x", ("10.1.0.2", 9000))
        with pytest.raises(TimeoutError):
            receiver.recv(9)
    for source, target, allowed in ((a, c, True), (b, c, True), (e, b, False), (b, a, False)):
        reached = source.reaches(target.ipv4 or "", PORT, timeout=3.0 if allowed else 0.3)
        assert reached is allowed, (source.name, target.name)


@needs_tcx
@pytest.mark.parametrize("plugin_first", [True, False])
def test_the_bandwidth_plugin_and_the_agent_in_either_order(
    agent: Agent, plugin_first: bool
) -> None:
    lab = agent.lab
    limited = [pod for pod in lab.pods if pod.name in "ae"]
    if plugin_first:
        for pod in limited:
            limit_bandwidth(lab, pod)
    start(agent)
    if not plugin_first:
        for pod in limited:
            limit_bandwidth(lab, pod)
    check_policy(lab)
    assert agent.status()["alarms"] == []
    assert all(one["attached"] for one in agent.ask("endpoints"))
    agent.stop()
    qdiscs = {pod.name: qdiscs_of(lab, pod) for pod in lab.pods}
    assert "programs removed from 4 links" in agent.command("detach")
    for pod in lab.pods:
        assert agent.hooked(pod) == {"INGRESS": [], "EGRESS": []}
        assert "kubeverdict" not in agent.filters(pod)
        assert qdiscs_of(lab, pod) == qdiscs[pod.name]
        assert ("ingress" in qdiscs_of(lab, pod)) is (pod in limited)
        assert ("mirred" in agent.filters(pod)) is (pod in limited)


def qdiscs_of(lab: Lab, pod: LabPod) -> str:
    return lab.run(["tc", "qdisc", "show", "dev", pod.host_ifname]).stdout


@contextlib.contextmanager
def in_front(lab: Lab, pod: LabPod) -> Iterator[None]:
    """Another's programs before ours, which end the judging: as those of some plug-ins do."""
    index, other = lab.host_ifindex(pod), program(OK)
    links = lab.on_node(lambda: [bpf_links.create_link(other, index, hook) for hook in Hook])
    try:
        yield
    finally:
        for fd in (*links, other):
            os.close(fd)


@needs_tcx
def test_a_program_before_ours_is_told_and_the_first_place_taken_back(agent: Agent) -> None:
    a, b, _, _ = agent.lab.pods
    with in_front(agent.lab, a):
        start(agent, f"127.0.0.1:{METRICS}")
        assert not b.reaches("10.1.0.2", PORT, timeout=0.3), "ours is first"
        assert agent.status()["alarms"] == []
        assert alarm_metric(agent) == 0
        with in_front(agent.lab, a):
            began = time.monotonic()
            (alarm,) = eventually(lambda: agent.status()["alarms"])
            assert time.monotonic() - began < 10
            assert alarm["alarm"].startswith("hooks ") and a.host_ifname in alarm["text"]
            assert "runs before ours" in alarm["text"] and "ingress and egress" in alarm["text"]
            assert alarm_metric(agent) == 1
            faults = {one["pod"]: one["faults"] for one in agent.ask("endpoints")}
            assert faults.pop("shop/a") and not any(faults.values())
            assert "runs before ours" in agent.command("status", status=1)
            # The next agent has programs of its own and can take the first place.
            agent.stop()
            start(agent)
            assert not b.reaches("10.1.0.2", PORT, timeout=0.3)
            assert agent.status()["alarms"] == []
    agent.stop()


@needs_tcx
def test_an_alarm_about_a_program_before_ours_ends_with_it(agent: Agent) -> None:
    start(agent)
    with in_front(agent.lab, agent.lab.pods[0]):
        eventually(lambda: agent.status()["alarms"])
    eventually(lambda: not agent.status()["alarms"])
    check_policy(agent.lab)
    agent.stop()


def alarm_metric(agent: Agent) -> int:
    def scrape() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    text = agent.lab.on_node(scrape)
    (line,) = [one for one in text.splitlines() if 'alarm{alarm="hooks"}' in one]
    return int(float(line.split()[-1]))


@needs_tcx
def test_programs_that_are_taken_off_come_back(agent: Agent) -> None:
    a, b, _, _ = agent.lab.pods
    start(agent)
    before = agent.hooked(a)
    index = agent.lab.host_ifindex(a)
    (agent.pins / f"link-{index}-egress").unlink()
    eventually(lambda: agent.hooked(a)["EGRESS"] == [])
    began = time.monotonic()
    eventually(lambda: agent.hooked(a) == before)
    assert time.monotonic() - began < 10
    assert not b.reaches("10.1.0.2", PORT, timeout=0.3)
    assert agent.status()["hooks_restored"] == 1
    agent.stop()


# --- the hooks of older kernels ------------------------------------------------------------------


@contextlib.contextmanager
def attachers() -> Iterator[tuple[Attacher, Attacher, list[int]]]:
    """One that uses clsact, one that uses TCX, and three programs that pass."""
    with contextlib.ExitStack() as stack:
        pins = stack.enter_context(bpffs())
        old, new = Attacher(pins, tcx=False), Attacher(pins, tcx=True)
        programs = [program(PASS) for _ in range(3)]
        for one in (old, new):
            stack.callback(one.close)
        for fd in programs:
            stack.callback(os.close, fd)
        yield old, new, programs


def test_filters_are_read_back() -> None:
    with Lab() as lab:
        pod = lab.add_pod("shop", "web", ipv4="10.1.0.2")

        def on_node() -> None:
            with attachers() as (old, _, (one, two, three)):
                index = socket.if_nametoindex(pod.host_ifname)
                assert old.faults(index, one, two).missing == tuple(Hook)
                assert old.attach(index, one, two)
                assert str(old.faults(index, one, two)) == ""
                assert old.faults(index, two, one).missing == tuple(Hook), "of the other direction"
                add_filter(index, three, "kubeverdict_from_pod", handle=0x6B76)
                assert old.faults(index, one, two).missing == (Hook.INGRESS,), "at its handle"
                assert old.attach(index, one, two)
                add_filter(index, three, "other", handle=1)
                assert old.faults(index, one, two).behind == (Hook.INGRESS,)
                assert old.detach(index)
                show = ["tc", "filter", "show", "dev", pod.host_ifname, "ingress"]
                assert "other" in lab.run(show).stdout

        lab.on_node(on_node)


def add_filter(index: int, fd: int, name: str, handle: int) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.tc(
            "replace-filter",
            "bpf",
            index,
            parent=0xFFFFFFF2,
            fd=fd,
            name=name,
            direct_action=True,
            classid=1,
            prio=1,
            handle=handle,
            protocol=3,
        )


def test_clsact_finds_no_room_beside_an_ingress_qdisc_and_says_so() -> None:
    with Lab() as lab:
        pod = lab.add_pod("shop", "web", ipv4="10.1.0.2")
        limit_bandwidth(lab, pod)

        def on_node() -> None:
            with attachers() as (old, _, (one, two, _)):
                index = socket.if_nametoindex(pod.host_ifname)
                with pytest.raises(DatapathError, match=r"ingress qdisc.*Linux 6\.6"):
                    old.attach(index, one, two)
                assert old.faults(index, one, two).missing == tuple(Hook)
                # What an agent before this one put there, in place of each other.
                lab.run(["tc", "filter", "del", "dev", pod.host_ifname, "parent", "ffff:"])
                add_filter(index, one, "kubeverdict_to_pod", handle=0x6B76)
                assert old.detach(index) and not old.detach(index)
                assert "ingress" in qdiscs_of(lab, pod)

        lab.on_node(on_node)


@needs_tcx
def test_filters_of_an_older_agent_are_replaced() -> None:
    with Lab() as lab:
        pod = lab.add_pod("shop", "web", ipv4="10.1.0.2")

        def on_node() -> None:
            with attachers() as (old, _, (one, two, _)), bpffs() as pins:
                index = socket.if_nametoindex(pod.host_ifname)
                assert old.attach(index, one, two)
                with contextlib.closing(Attacher(pins, tcx=True)) as new:
                    assert new.attach(index, one, two)
                    assert "clsact" not in qdiscs_of(lab, pod)
                    assert str(new.faults(index, one, two)) == ""
                    assert new.everywhere() == [index]
                    assert new.detach(index) and new.everywhere() == []

        lab.on_node(on_node)


@needs_tcx
def test_pins_of_links_that_are_gone_are_removed(agent: Agent) -> None:
    start(agent)
    pod = agent.lab.pods[0]
    index = agent.lab.host_ifindex(pod)
    pins = {agent.pins / f"link-{index}-{hook}" for hook in ("ingress", "egress")}
    assert all(pin.exists() for pin in pins)
    agent.kill()
    agent.lab.delete_pod(pod)
    agent.start(*ENFORCED)
    agent.wait_until_in_force()
    eventually(lambda: not any(pin.exists() for pin in pins))
    agent.stop()
