"""Links that come, go and are renamed, while programs are put on them."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.lab import Lab, Layout, bpffs
from kubeverdict_agent.datapath.bpf_links import Hook
from kubeverdict_agent.errors import DatapathError
from kubeverdict_agent.node.attaching import Attacher, HookFaults
from kubeverdict_agent.node.netlink import Event, Link, LinkAddress, Lister, Monitor
from kubeverdict_agent.node.node import LocalNode
from kubeverdict_agent.observe.alarms import Alarms, EventLog
from kubeverdict_agent.observe.naming import Naming
from tests.agent.bytecode import DROP, PASS, program
from tests.agent.running import PATIENCE, Agent, agent_on, eventually, why_not
from tests.clusters import documents

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

_GROUP = 77  # of links, to remove them with one word


@dataclass
class Tools:
    pins: Path
    monitor: Monitor
    lister: Lister
    attacher: Attacher
    passing: int
    dropping: int


@contextlib.contextmanager
def tools(tcx: bool | None = None) -> Iterator[Tools]:
    """In the namespace of the thread that asks."""
    with contextlib.ExitStack() as stack:
        pins = stack.enter_context(bpffs())
        monitor, lister, attacher = Monitor(), Lister(), Attacher(pins, tcx)
        for one in (monitor, lister, attacher):
            stack.callback(one.close)
        programs = program(PASS), program(DROP)
        for fd in programs:
            stack.callback(os.close, fd)
        yield Tools(pins, monitor, lister, attacher, *programs)


def changes(monitor: Monitor, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """What the monitor tells until there is enough of it."""
    found: list[Any] = []

    def read() -> bool:
        found.extend(monitor.read())
        return enough(found)

    eventually(read)
    return found


@pytest.mark.parametrize("layout", ["routed", "bridged"])
def test_links_and_the_addresses_behind_them_are_told(layout: Layout) -> None:
    with Lab(layout=layout) as lab:

        def on_node() -> None:
            with tools() as use:
                pod = lab.add_pod("shop", "web", ipv4="10.1.0.2", ipv6="fd00:1::2")
                told = changes(
                    use.monitor,
                    lambda all_: (
                        {"10.1.0.2", "fd00:1::2"}
                        <= {what.text for _, what in all_ if isinstance(what, LinkAddress)}
                    ),
                )
                index = socket.if_nametoindex(pod.host_ifname)
                names = {what.name for _, what in told if isinstance(what, Link)}
                assert names == {pod.host_ifname}
                (link,) = use.lister.links()
                assert (link.index, link.name) == (index, pod.host_ifname)
                assert link.netns is not None
                texts = {one.text for one in use.lister.addresses(link.netns)}
                assert texts == {"10.1.0.2", "fd00:1::2"}
                assert lab.node_ipv4 in {one.text for one in use.lister.addresses(None)}
                assert use.lister.addresses(99) == []

                lab.rename_link(pod, "kvother")
                told = changes(
                    use.monitor,
                    lambda all_: "kvother" in [getattr(what, "name", "") for _, what in all_],
                )
                lab.delete_pod(pod)
                changes(use.monitor, lambda all_: Event.NO_LINK in [event for event, _ in all_])
                assert use.lister.links() == []

        lab.on_node(on_node)


@pytest.mark.parametrize("tcx", [True, False])
def test_programs_are_put_replaced_found_and_removed(tcx: bool) -> None:
    with Lab() as lab:
        pod = lab.add_pod("shop", "web", ipv4="10.1.0.2")

        def on_node() -> None:
            with tools(tcx) as use:
                index = socket.if_nametoindex(pod.host_ifname)
                programs = use.passing, use.dropping
                assert use.attacher.faults(index, *programs).missing == tuple(Hook)
                for _ in range(3):
                    assert use.attacher.attach(index, *programs)
                assert use.attacher.faults(index, *programs) == HookFaults((), ())
                assert use.attacher.everywhere() == [index]
                assert use.attacher.detach(index) and not use.attacher.detach(index)
                assert use.attacher.everywhere() == []
                assert use.attacher.attach(99_999, *programs) is False
                assert use.attacher.detach(99_999) is False

        lab.on_node(on_node)


@pytest.mark.parametrize("tcx", [True, False])
def test_replacing_lets_no_packet_by(tcx: bool) -> None:
    """Attached again and again under traffic, each program dropping: 0 packets arrive."""
    with Lab() as lab:
        web = lab.add_pod("shop", "web", ipv4="10.1.0.2")
        client = lab.add_pod("shop", "client", ipv4="10.1.0.3")
        done = threading.Event()
        sent = 0

        def on_node() -> None:
            with tools(tcx) as use:
                index = socket.if_nametoindex(client.host_ifname)
                other = program(DROP)
                try:
                    assert use.attacher.attach(index, use.dropping, use.passing)
                    sending.start()
                    eventually(lambda: sent > 100)
                    for turn in range(200):
                        fd = (use.dropping, other)[turn % 2]
                        assert use.attacher.attach(index, fd, use.passing)
                    with pytest.raises(TimeoutError):
                        receiver.recv(9)
                finally:
                    os.close(other)
                    done.set()
                    sending.join()

        with (
            web.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("", 9))
            receiver.settimeout(0.2)

            def send() -> None:
                nonlocal sent
                while not done.is_set():
                    sender.sendto(b"x", ("10.1.0.2", 9))
                    sent += 1

            sending = threading.Thread(target=send)
            lab.on_node(on_node)


def test_links_that_vanish_while_they_are_attached() -> None:
    with Lab() as lab:

        def on_node() -> None:
            from pyroute2 import IPRoute

            done = threading.Event()

            def churn() -> None:
                with IPRoute() as netlink:
                    while not done.is_set():
                        netlink.link("add", ifname="kvx", kind="veth", peer="kvy")
                        netlink.link("del", index=netlink.link_lookup(ifname="kvx")[0])

            churning = threading.Thread(target=lambda: lab.on_node(churn))
            outcomes: set[bool] = set()
            with tools() as use:
                churning.start()
                try:
                    newest = 0
                    for _ in range(3000):
                        newest = max([newest, *(link.index for link in use.lister.links())])
                        # One that is there now, and those that come next.
                        for index in range(newest, newest + 3):
                            outcomes.add(use.attacher.attach(index, use.passing, use.dropping))
                        if outcomes == {True, False}:
                            break
                finally:
                    done.set()
                    churning.join()
            assert False in outcomes

        lab.on_node(on_node)


class Kernel:
    """In place of the datapath: programs that pass, and bindings that are only noted."""

    def __init__(self, tools: Tools) -> None:
        self.folder = tools.pins
        self.from_pod, self.to_pod = tools.passing, tools.dropping
        self.bindings: dict[int, tuple[int, int]] = {}

    def bound(self) -> dict[int, tuple[int, int]]:
        return dict(self.bindings)

    def flows(self) -> list[Any]:
        return []

    def bind(self, index: int, number: int, slot: int) -> None:
        self.bindings[index] = (number, slot)

    def unbind(self, index: int) -> None:
        self.bindings.pop(index, None)


def test_messages_that_are_lost_are_made_up_for() -> None:
    with Lab() as lab:

        def on_node() -> None:
            with tools() as use, contextlib.ExitStack() as stack:
                text = io.StringIO()
                log = EventLog("node", text)
                node = LocalNode("node", Kernel(use), Naming(), Alarms(log), log)  # type: ignore
                stack.callback(node.close)
                gone = lab.add_pod("shop", "gone", ipv4="10.1.0.9")
                node.list_all()
                node.monitor._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                pods = [lab.add_pod("shop", f"p{n}", ipv4=f"10.1.1.{n}") for n in range(20)]
                lab.delete_pod(gone)
                for _ in range(10):
                    node.follow()
                assert "link changes were lost" in text.getvalue()
                veths = node.veths()
                assert {veth.link.name for veth in veths} == {pod.host_ifname for pod in pods}
                assert all(veth.attached for veth in veths)
                found = {text for veth in veths for text in veth.addresses}
                assert found == {f"10.1.1.{n}" for n in range(20)}

        lab.on_node(on_node)


def test_what_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that could not be attached and a namespace whose addresses could not be listed."""
    with Lab() as lab:

        def on_node() -> None:
            with tools() as use, contextlib.ExitStack() as stack:
                log = EventLog("node", io.StringIO())
                alarms = Alarms(log)
                node = LocalNode("node", Kernel(use), Naming(), alarms, log)  # type: ignore
                stack.callback(node.close)
                pods = [lab.add_pod("shop", f"p{n}", ipv4=f"10.1.1.{n}") for n in range(3)]
                bad = socket.if_nametoindex(pods[1].host_ifname)

                def refuse(index: int, *programs: int) -> bool:
                    if index == bad:
                        raise DatapathError("not today")
                    return attach(index, *programs)

                def refuse_addresses(netns: int | None) -> list[LinkAddress]:
                    if netns == refused:
                        raise TimeoutError("no answer")
                    return addresses(netns)

                attach, addresses = node._attacher.attach, node._lister.addresses
                refused = next(link.netns for link in node._lister.links() if link.index != bad)
                with monkeypatch.context() as patch:
                    patch.setattr(node._attacher, "attach", refuse)
                    patch.setattr(node._lister, "addresses", refuse_addresses)
                    node.list_all()
                names = {alarm.name for alarm in alarms.standing()}
                assert names == {f"link {bad}", "addresses"}
                assert {veth.link.index for veth in node.veths() if not veth.attached} == {bad}
                assert sum(not veth.addresses for veth in node.veths()) == 1
                node.list_all()
                assert alarms.standing() == []
                assert all(veth.attached and veth.addresses for veth in node.veths())

        lab.on_node(on_node)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Lab() as lab, agent_on(lab, tmp_path) as agent:
        yield agent


def test_a_burst_of_links_is_attached_and_followed(agent: Agent) -> None:
    pods = [documents.pod("shop", f"p{n}", f"10.1.1.{n}") for n in range(200)]
    agent.put(texts={"pods.yaml": documents.text(pods)})
    agent.start()
    agent.wait_until_in_force()
    batch = "\n".join(f"link add kvb{n} type veth peer name kvp{n}" for n in range(200))
    inside = agent.lab.add_pod("shop", "many")
    moves = "\n".join(f"link set kvp{n} netns {inside.netns}" for n in range(200))
    agent.lab.run(["ip", "-b", "-"], input=f"{batch}\n{moves}\n")
    addresses = "\n".join(f"addr add 10.1.1.{n}/32 dev kvp{n}" for n in range(200))
    inside.run(["ip", "-b", "-"], input=f"{addresses}\n")
    eventually(lambda: agent.status()["endpoints"]["bound"] == 200)
    shown = agent.ask("endpoints")
    assert all(one["attached"] for one in shown)
    assert {one["pod"]: one["addresses"] for one in shown if one["pod"]} == {
        f"shop/p{n}": [f"10.1.1.{n}"] for n in range(200)
    }
    agent.lab.run(["ip", "link", "set", "kvb7", "name", "kvrenamed"])
    eventually(lambda: "kvrenamed" in {one["link"] for one in agent.ask("endpoints")})
    agent.lab.run(["ip", "-b", "-"], input="\n".join(f"link del kvb{n}" for n in range(100, 200)))
    eventually(lambda: agent.status()["endpoints"]["bound"] == 100)
    assert agent.status()["alarms"] == []
    agent.stop()


@pytest.mark.parametrize("rounds", [4, pytest.param(20, marks=pytest.mark.long)])
def test_many_pods_come_and_go_and_addresses_are_used_again(agent: Agent, rounds: int) -> None:
    """Fifty a round, on the same fifty addresses; each pod gets what its policy says. Of each
    fifty four are real; the others are links with an address, which is what the agent knows."""
    size, real = 50, 4
    agent.put(texts={"pods.yaml": documents.text(documents.pod("shop", "none", "10.9.9.9"))})
    agent.start("--mode", "*=enforce", "--adopt", "0")
    agent.wait_until_in_force()
    client = agent.lab.add_pod("shop", "client", ipv4="10.1.0.3")
    inside = agent.lab.add_pod("shop", "many")
    plain = range(real, size)
    links = [
        f"link add kvb{n} group {_GROUP} type veth peer name kvp{n} netns {inside.netns}"
        for n in plain
    ]
    addresses = [f"addr add 10.1.1.{n}/32 dev kvp{n}" for n in plain]
    numbers: set[int] = set()
    for turn in range(rounds):
        names = [f"p{turn}-{n}" for n in range(size)]
        # Every second one may be reached; whose address that is changes each time.
        open_ = {name for n, name in enumerate(names) if (n + turn) % 2}
        objects = [
            documents.pod(
                "shop",
                name,
                f"10.1.1.{n}",
                labels={"app": name, "door": "open" if name in open_ else "shut"},
            )
            for n, name in enumerate(names)
        ]
        shut = documents.policy("shop", "shut", ingress=[])
        shut["spec"]["podSelector"] = {"matchLabels": {"door": "shut"}}
        here = documents.pod("shop", "client", "10.1.0.3")
        agent.apply(texts={"all.yaml": documents.text(objects, here, shut)})
        agent.lab.run(["ip", "-b", "-"], input="\n".join(links))
        inside.run(["ip", "-b", "-"], input="\n".join(addresses))
        pods = [
            agent.lab.add_pod("shop", name, ipv4=f"10.1.1.{n}")
            for n, name in enumerate(names[:real])
        ]
        for pod in pods:
            pod.serve(80)
        agent.wait_until_names_bound("shop/client", *(f"shop/{name}" for name in names))
        for pod in pods:
            wanted = pod.name in open_
            timeout = PATIENCE if wanted else 0.2
            assert client.reaches(pod.ipv4 or "", 80, timeout=timeout) is wanted, pod.name
        bound = [one for one in agent.ask("endpoints") if one["state"] == "bound"]
        new = {one["endpoint"] for one in bound if one["pod"] != "shop/client"}
        assert len(new) == size and not new & numbers, "a number is not used twice"
        numbers |= new
        for pod in pods:
            agent.lab.delete_pod(pod)
        agent.lab.run(["ip", "link", "del", "group", str(_GROUP)])
        eventually(lambda: agent.status()["endpoints"]["bound"] == 1)
    assert agent.status()["alarms"] == []
    agent.stop()
