"""Ways round the hooks that a pod with raw sockets (a default capability) may try."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.lab import Lab, LabPod, Layout
from tests.agent.frames import NODE, arrivals, hardware, send, send_each
from tests.agent.packets import ICMPV6, SYN, TCP, UDP, ethernet, icmp, ipv4, ipv6, tcp, udp
from tests.agent.running import Agent, agent_on, eventually, why_not
from tests.clusters import documents

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

SECRET = b"secret".ljust(16, b"!")
OUTSIDE, OUTSIDE6 = "203.0.113.9", "2001:db8::9"


@pytest.fixture(params=["routed", "bridged"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agent]:
    """Not started, without pods."""
    layout: Layout = request.param
    with Lab(layout=layout) as lab, agent_on(lab, tmp_path) as agent:
        yield agent
        agent.stop()


routed = pytest.mark.parametrize("agent", ["routed"], indirect=True)
bridged = pytest.mark.parametrize("agent", ["bridged"], indirect=True)


def start(
    agent: Agent, pods: list[LabPod], *options: str, policies: list[documents.Object]
) -> None:
    """In force for ``pods``, which are all that the cluster has."""
    texts = {"all.yaml": documents.text(documents.of_lab(pods), *policies)}
    agent.put(texts=texts)
    agent.start(*options)
    agent.wait_until_in_force()
    agent.wait_until_bound(*pods)


NO_EGRESS = documents.policy("shop", "no-egress", None, policyTypes=["Egress"])


@routed
def test_discovery_does_not_leave_the_node(agent: Agent) -> None:
    """It is let through before policy, and so only as far as it is meant to go."""
    web = agent.lab.add_pod("shop", "web", ipv4="10.1.0.2", ipv6="fd00:1::2")
    outside = agent.lab.add_outside(OUTSIDE6)
    start(agent, [web], "--mode", "*=enforce", policies=[NO_EGRESS])
    messages = [
        ethernet(0x86DD, ipv6("fd00:1::2", OUTSIDE6, ICMPV6, icmp(kind, rest=SECRET), hops=255))
        for kind in range(133, 138)
    ]

    def arrive() -> int:
        with arrivals(outside) as seen:
            for message in messages:
                send(web, message)
            return seen.count(lambda frame: SECRET in frame)

    assert arrive() == 0
    # Or else nothing above would be shown: without policy all of it gets there.
    agent.set_mode("*=audit")
    assert arrive() == len(messages)


# -- addresses of others -----------------------------------------------------------------------


def lines(agent: Agent) -> list[dict[str, Any]]:
    """What the report says."""
    report = agent.ask("report")
    return [line for part in report["namespaces"] for line in part["lines"]]


def reported(agent: Agent, reason: str) -> list[tuple[str, str, str]]:
    """Source, destination and mode of what was refused for a reason."""
    found = [line for line in lines(agent) if reason in line["reasons"]]
    return [(line["source"], line["destination"], line["mode"]) for line in found]


@contextlib.contextmanager
def listening(pod: LabPod, port: int) -> Iterator[socket.socket]:
    with pod.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("", port))
        listener.settimeout(0.5)
        yield listener


def received(listener: socket.socket) -> int:
    count = 0
    with contextlib.suppress(TimeoutError):
        while listener.recv(2048):
            count += 1
    return count


def test_nobody_reaches_an_enforced_pod_with_the_address_of_another(agent: Agent) -> None:
    """Not even a pod that is only audited, or off."""
    db = agent.lab.add_pod("shop", "db", ipv4="10.1.0.2")
    client = agent.lab.add_pod("shop", "client", ipv4="10.1.0.3")
    evil = agent.lab.add_pod("dev", "evil", ipv4="10.1.0.4")
    other = agent.lab.add_pod("dev", "other", ipv4="10.1.0.5")
    rule = {"from": documents.from_app("client"), "ports": [{"port": 9000, "protocol": "UDP"}]}
    allow = documents.policy("shop", "db", "db", policyTypes=["Ingress"], ingress=[rule])
    pods = [db, client, evil, other]
    start(agent, pods, "--mode", "*=audit", "--mode", "shop=enforce", policies=[allow])

    def spoof(source: str, victim: LabPod) -> int:
        to = NODE if agent.lab.layout == "routed" else hardware(victim)
        assert victim.ipv4
        with listening(victim, 9000) as listener:
            send(evil, ethernet(0x0800, ipv4(source, victim.ipv4, UDP, udp(5555, 9000))), 5, to=to)
            return received(listener)

    assert spoof("10.1.0.3", db) == 0 and spoof("10.1.0.1", db) == 0
    assert ("dev/evil", "shop/db", "enforce") in reported(agent, "spoofed")
    # Towards those that are audited it is told.
    assert spoof("10.1.0.3", other) == 5
    assert ("dev/evil", "dev/other", "audit") in reported(agent, "spoofed")
    agent.set_mode("dev=off")
    assert spoof("10.1.0.3", db) == 0 and spoof("10.1.0.3", other) == 5
    agent.set_mode("shop=audit")
    assert spoof("10.1.0.3", db) == 5


@routed
def test_tunnels_to_nodes(agent: Agent) -> None:
    """What is inside can have any source, and a node that ends the tunnel believes it."""
    web = agent.lab.add_pod("shop", "web", ipv4="10.1.0.2")
    inner = ipv4("10.1.0.3", "10.1.0.9", UDP, udp(1, 2, SECRET))
    tunnels = [ipv4("10.1.0.2", "10.1.0.1", number, inner) for number in (4, 41, 47)]
    tunnels += [
        ipv4("10.1.0.2", "10.1.0.1", UDP, udp(50000, port, b"\0" * 8 + inner))
        for port in (4789, 8472, 6081)
    ]

    def arrive() -> int:
        before = counted()
        for tunnel in tunnels:
            send(web, ethernet(0x0800, tunnel))
        time.sleep(0.2)
        return counted() - before

    def counted() -> int:
        """Packets that reached some protocol of the node, or one that it does not have."""
        text = agent.lab.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
        names, values = (line.split() for line in text if line.startswith("Ip:"))
        found = dict(zip(names, values, strict=True))
        return int(found["InDelivers"]) + int(found["InUnknownProtos"])

    start(agent, [web], "--mode", "*=enforce", policies=[])
    assert arrive() == 0
    agent.set_mode("*=audit")
    assert arrive() == len(tunnels)
    assert ("shop/web", "10.1.0.1", "audit") in reported(agent, "encapsulated")
    agent.stop()
    agent.start("--allow-encapsulation")
    agent.wait_until_in_force()
    agent.set_mode("*=enforce")
    assert arrive() == len(tunnels)


# -- what auditing says ------------------------------------------------------------------------


@routed
def test_auditing_tells_all_that_enforcing_would_drop(agent: Agent) -> None:
    """Also where no policy is there."""
    a = agent.lab.add_pod("shop", "a", ipv4="10.1.0.2")
    b = agent.lab.add_pod("shop", "b", ipv4="10.1.0.3")
    b.run(["ip", "addr", "add", "10.9.9.9/32", "dev", "lo"])
    agent.lab.run(["ip", "route", "add", "10.9.9.9/32", "dev", b.host_ifname])
    b.serve(7000)
    start(agent, [a, b], policies=[])
    assert a.reaches("10.9.9.9", 7000)
    send(a, ethernet(0x88CC, b"\0" * 50))
    send(a, ethernet(0x0800, ipv4("10.1.0.2", "10.1.0.3", TCP, b"\0\1")))
    assert reported(agent, "spoofed") == [("shop/b", "shop/a", "audit")]
    assert {each for line in lines(agent) for each in line["reasons"]} == {
        *("spoofed", "malformed", "unsupported")
    }
    assert "from an address that is not the pod's" in agent.command("report", status=1)
    assert set(agent.status()["refused"]) == {"spoofed", "malformed", "unsupported"}
    told = agent.command("events", "--no-follow")
    assert '"reason":"spoofed"' in told and '"reason":"unsupported"' in told
    agent.set_mode("*=enforce")
    assert not a.reaches("10.9.9.9", 7000, timeout=0.5)


@bridged
def test_a_flooded_frame_is_judged_where_its_receiver_is(agent: Agent) -> None:
    a = agent.lab.add_pod("shop", "a", ipv4="10.1.0.2")
    c = agent.lab.add_pod("shop", "c", ipv4="10.1.0.3")
    vault = agent.lab.add_pod("pay", "vault", ipv4="10.1.0.4")
    c.serve(7000)
    deny = documents.policy("pay", "deny", None, policyTypes=["Ingress"])
    start(agent, [a, c, vault], policies=[deny])
    agent.lab.run(["ip", "link", "set", "kvbridge", "type", "bridge", "ageing_time", "0"])
    with arrivals(vault) as seen:
        assert eventually(lambda: a.reaches("10.1.0.3", 7000))
        assert seen.count(lambda frame: frame[26:34] == bytes([10, 1, 0, 2, 10, 1, 0, 3])) > 0
    assert lines(agent) == []
    agent.set_mode("*=enforce")
    assert a.reaches("10.1.0.3", 7000)
    assert not a.reaches("10.1.0.4", 7000, timeout=0.5)
    assert {line["destination"] for line in lines(agent)} == {"pay/vault"}


# -- the node's address ------------------------------------------------------------------------


@routed
def test_a_node_port_with_masquerade_opens_nothing(agent: Agent) -> None:
    db = agent.lab.add_pod("shop", "db", ipv4="10.1.0.2")
    bad = agent.lab.add_pod("shop", "bad", ipv4="10.1.0.3")
    outside = agent.lab.add_outside(OUTSIDE)
    db.serve(5432)
    rule = {"from": documents.from_app("nobody"), "ports": [{"port": 5432}]}
    deny = documents.policy("shop", "db", "db", policyTypes=["Ingress"], ingress=[rule])
    start(agent, [db, bad], "--mode", "*=enforce", policies=[deny])
    # What kube-proxy writes for a NodePort.
    nat = ["iptables", "-t", "nat", "-A"]
    to_db = ["-j", "DNAT", "--to-destination", "10.1.0.2:5432"]
    agent.lab.run([*nat, "PREROUTING", "-p", "tcp", "--dport", "30432", *to_db])
    translated = ["-d", "10.1.0.2", "-m", "conntrack", "--ctstate", "DNAT", "-j", "MASQUERADE"]
    agent.lab.run([*nat, "POSTROUTING", "-p", "tcp", *translated])
    for client in (bad, outside):
        assert not client.reaches("10.1.0.1", 30432, timeout=0.5)
    (line,) = lines(agent)
    assert (line["source"], line["destination"]) == ("10.1.0.1", "shop/db")
    assert line["reasons"] == ["masqueraded"]

    def probe() -> bool:
        with socket.create_connection(("10.1.0.2", 5432), 5) as connection:
            connection.send(b"probe")
            return bool(connection.recv(16))

    assert agent.lab.on_node(probe), "probes of the kubelet pass"
    agent.set_mode("shop=off")
    assert bad.reaches("10.1.0.1", 30432) and outside.reaches("10.1.0.1", 30432)


# -- who began it ------------------------------------------------------------------------------


def egress_to(app: str) -> Any:
    rule = {"to": documents.from_app(app), "ports": [{"port": 5432}]}
    return documents.policy("shop", "web", "web", policyTypes=["Egress"], egress=[rule])


@routed
def test_a_server_cannot_make_a_connection_its_own(agent: Agent) -> None:
    """With a SYN into it: revoked, it would go on as one that the server began."""
    web = agent.lab.add_pod("shop", "web", ipv4="10.1.0.2")
    db = agent.lab.add_pod("shop", "db", ipv4="10.1.0.3")
    db.serve(5432)
    start(agent, [web, db], "--mode", "*=enforce", policies=[egress_to("db")])
    with web.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(("10.1.0.3", 5432))
        connection.send(b"a")
        assert connection.recv(9) == b"a"
        segment = tcp(5432, connection.getsockname()[1], SYN)
        send(db, ethernet(0x0800, ipv4("10.1.0.3", "10.1.0.2", TCP, segment)))
        documents_ = documents.text(documents.of_lab([web, db]), egress_to("nobody"))
        agent.apply(texts={"all.yaml": documents_})
        connection.settimeout(0.5)
        connection.send(b"z")
        with pytest.raises(TimeoutError):
            connection.recv(9)


@routed
def test_ports_show_nothing_about_a_pod_that_starts_later(agent: Agent) -> None:
    """A datagram to a high port from a low one may be an answer, and need not be."""
    web = agent.lab.add_pod("shop", "web", ipv4="10.1.0.2")
    outside = agent.lab.add_outside(OUTSIDE)
    outside.serve(40000)
    start(agent, [web], "--mode", "*=enforce", policies=[NO_EGRESS])
    new = agent.lab.add_pod("shop", "new", ipv4="10.1.0.7")
    agent.apply(texts={"all.yaml": documents.text(documents.of_lab([web, new]), NO_EGRESS)})
    agent.wait_until_bound(new)
    for pod in (web, new):
        for port in (5000, 50000):
            assert not pod.reaches(OUTSIDE, 40000, "udp", timeout=0.4, source_port=port)


@routed
def test_datagrams_between_equal_ports(agent: Agent) -> None:
    """As of gossip: revoking what one end begins leaves what the other does."""
    web = agent.lab.add_pod("shop", "web", ipv4="10.1.0.2")
    peer = agent.lab.add_pod("shop", "peer", ipv4="10.1.0.3")
    rule = {"ports": [{"port": 7946, "protocol": "UDP"}]}
    both = {"policyTypes": ["Ingress", "Egress"], "egress": [rule]}
    allow = documents.policy("shop", "web", "web", **both, ingress=[rule])
    revoked = documents.policy("shop", "web", "web", **both)
    start(agent, [web, peer], "--mode", "*=enforce", policies=[allow])
    with listening(web, 7946) as ours, listening(peer, 7946) as theirs:
        theirs.sendto(b"hi", ("10.1.0.2", 7946))
        assert received(ours) == 1
        ours.sendto(b"ho", ("10.1.0.3", 7946))
        assert received(theirs) == 1
        agent.apply(texts={"all.yaml": documents.text(documents.of_lab([web, peer]), revoked)})
        theirs.sendto(b"hi", ("10.1.0.2", 7946))
        assert received(ours) == 0
        ours.sendto(b"ho", ("10.1.0.3", 7946))
        assert received(theirs) == 1


# -- room for connections ----------------------------------------------------------------------


@routed
def test_the_flood_of_one_pod_pushes_out_no_connection_of_others(agent: Agent) -> None:
    """Connections are remembered in tables of a certain size."""
    web = agent.lab.add_pod("shop", "web", ipv4="10.1.0.2")
    db = agent.lab.add_pod("shop", "db", ipv4="10.1.0.3")
    evil = agent.lab.add_pod("dev", "evil", ipv4="10.1.0.4")
    sink = agent.lab.add_pod("dev", "sink", ipv4="10.1.0.5")
    pods = [web, db, evil, sink]
    start(agent, pods, "--mode", "*=enforce", "--connections", "4096", policies=[egress_to("db")])
    idle = 30
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(db.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.bind(("10.1.0.3", 5432))
        listener.listen(idle)
        pairs = []
        for _ in range(idle):
            ours = stack.enter_context(web.socket(socket.AF_INET, socket.SOCK_STREAM))
            ours.connect(("10.1.0.3", 5432))
            pairs.append((ours, stack.enter_context(listener.accept()[0])))
        time.sleep(2.5)  # or else they would still be cached
        flood = [
            ethernet(0x0800, ipv4("10.1.0.4", "10.1.0.5", UDP, udp(source, port)))
            for source in range(1, 101)
            for port in range(1, 101)
        ]
        send_each(evil, flood)
        held = agent.ask("flows", limit=100_000)["flows"]
        assert sum(flow["pod"] == "dev/evil" for flow in held) > 500, "no flood"
        assert sum(flow["pod"] == "shop/web" for flow in held) == idle
        for ours, theirs in pairs:
            theirs.settimeout(5)
            ours.settimeout(5)
            theirs.send(b"news")  # the end that did not begin it: nothing else makes it known
            assert ours.recv(9) == b"news"
