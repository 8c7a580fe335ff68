"""What kernels have or lack: the hooks of this one, and protocols and links that others have too.

``./run test-kernels`` runs this file on kernels of Debian, which have all of it. One agent serves
the whole file: starting one takes long there.
"""

from __future__ import annotations

import contextlib
import platform
import re
import socket
from collections.abc import Iterator
from typing import Literal

import pytest

from bench.lab import Lab, LabPod
from bench.lab.namespaces import create, remove
from kubeverdict_agent.datapath import bpf_links
from tests.agent.running import PATIENCE, Agent, agent_on, eventually, why_not
from tests.clusters import documents
from tests.programs.build import Unavailable

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PORT, SCTP_PORT = 8080, 38412
QUIET = 0.5  # seconds in which what is denied stays silent
GHOST = documents.pod("shop", "ghost", "10.1.0.77")
WITHOUT_SCTP: list[documents.Object] = [{"port": PORT}, {"port": PORT, "protocol": "UDP"}]
PORTS = [*WITHOUT_SCTP, {"port": SCTP_PORT, "protocol": "SCTP"}]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """``client`` alone may reach ``web`` and ``kit``, and ``kit`` may reach the client alone;
    ``locked`` may reach nobody. ``kit`` is on a netkit, where the kernel has it."""
    with Lab() as lab, agent_on(lab, tmp_path_factory.mktemp("agent")) as agent:
        for number, name in enumerate(("web", "client", "stranger", "locked"), start=2):
            pod = lab.add_pod("shop", name, ipv4=f"10.1.0.{number}", ipv6=f"fd00:1::{number}")
            pod.serve(PORT)
        # A kernel that lacks a kind of link says that it does not support it.
        with contextlib.suppress(Exception):
            lab.add_pod("shop", "kit", ipv4="10.1.0.9", ipv6="fd00:1::9", link="netkit").serve(PORT)
        agent.put(texts=texts(lab))
        agent.start("--mode", "*=enforce", "--adopt", "0")
        agent.wait_until_in_force()
        agent.wait_until_bound(*lab.pods)
        yield agent
        agent.stop()


def texts(lab: Lab, ports: list[documents.Object] = PORTS) -> dict[str, str]:
    from_client = {"from": documents.from_app("client"), "ports": ports}
    to_client = {"to": documents.from_app("client")}
    both = ["Ingress", "Egress"]
    rules = [
        documents.policy("shop", "web", "web", ingress=[from_client]),
        documents.policy("shop", "locked", "locked", policyTypes=["Egress"]),
        documents.policy(
            "shop", "kit", "kit", policyTypes=both, ingress=[from_client], egress=[to_client]
        ),
    ]
    return {"all.yaml": documents.text(documents.of_lab(lab.pods), rules)}


def pod(agent: Agent, name: str) -> LabPod:
    (found,) = [one for one in agent.lab.pods if one.name == name]
    return found


def assert_judged(source: LabPod, target: LabPod, allowed: bool) -> None:
    protocols: tuple[Literal["tcp", "udp"], ...] = ("tcp", "udp")
    for address in target.addresses:
        for protocol in protocols:
            patience = PATIENCE if allowed else QUIET
            reached = source.reaches(address, PORT, protocol, timeout=patience)
            assert reached is allowed, (source.name, address, protocol)


def test_what_is_allowed_passes_and_what_is_denied_is_dropped_in_both_directions(
    agent: Agent,
) -> None:
    web, client, stranger, locked = (
        pod(agent, name) for name in ("web", "client", "stranger", "locked")
    )
    assert_judged(client, web, True)
    assert_judged(stranger, web, False)
    assert_judged(locked, client, False)
    assert_judged(client, locked, True)
    assert agent.status()["alarms"] == []


def test_the_hooks_are_those_of_the_version(agent: Agent) -> None:
    web = pod(agent, "web")
    version = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    assert bpf_links.supported() is (version >= (6, 6))
    if bpf_links.supported():
        assert [len(programs) for programs in agent.hooked(web).values()] == [1, 1]
        assert "kubeverdict" not in agent.filters(web)
    else:
        names = ("kubeverdict_from_pod", "kubeverdict_to_pod")
        assert all(name in agent.filters(web) for name in names)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_connections_of_sctp_are_judged_and_cut(agent: Agent, family: int) -> None:
    web, client, stranger = (pod(agent, name) for name in ("web", "client", "stranger"))
    address = web.addresses[family == socket.AF_INET6]
    with sctp(web, family) as listener, sctp(client, family) as ours, sctp(stranger, family) as no:
        listener.bind((address, SCTP_PORT))
        listener.listen()
        listener.settimeout(PATIENCE)
        ours.settimeout(PATIENCE)
        ours.connect((address, SCTP_PORT))
        theirs, _ = listener.accept()
        with theirs:
            assert arrives(ours, theirs, PATIENCE) and arrives(theirs, ours, PATIENCE)
            no.settimeout(QUIET)
            with pytest.raises(TimeoutError):
                no.connect((address, SCTP_PORT))
            agent.apply(texts=texts(agent.lab, WITHOUT_SCTP))
            assert not arrives(ours, theirs, QUIET) and not arrives(theirs, ours, QUIET)
            agent.apply(texts=texts(agent.lab))
            assert arrives(ours, theirs, PATIENCE), "SCTP repeats what was dropped"


def sctp(pod: LabPod, family: int) -> socket.socket:
    try:
        return pod.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    except OSError:
        raise Unavailable(f"SCTP: Linux {platform.release()} has no such sockets") from None


def arrives(sender: socket.socket, receiver: socket.socket, patience: float) -> bool:
    receiver.settimeout(patience)
    sender.send(b"news")
    try:
        return bool(receiver.recv(64))
    except TimeoutError:
        return False


def test_a_pod_on_a_netkit_is_covered(agent: Agent) -> None:
    if not any(one.link == "netkit" for one in agent.lab.pods):
        raise Unavailable(f"netkit: Linux {platform.release()} has no such links")
    kit = pod(agent, "kit")
    client, stranger = pod(agent, "client"), pod(agent, "stranger")
    assert_judged(client, kit, True)
    assert_judged(stranger, kit, False)
    assert_judged(kit, client, True)
    assert_judged(kit, stranger, False)
    assert [len(programs) for programs in agent.hooked(kit).values()] == [1, 1]


def test_a_pod_on_an_ipvlan_is_named(agent: Agent) -> None:
    lab = agent.lab
    netns = f"{lab.prefix}-ipvlan"
    lab.run(["ip", "link", "add", "nic", "type", "bridge"])
    create(netns)
    try:
        try:
            lab.run(["ip", "link", "add", "ipvlan0", "link", "nic", "type", "ipvlan"])
        except RuntimeError:
            raise Unavailable(f"ipvlan: Linux {platform.release()} has no such links") from None
        lab.run(["ip", "link", "set", "ipvlan0", "netns", netns])
        agent.apply(texts={**texts(lab), "ghost.yaml": documents.text(GHOST)})
        (alarm,) = eventually(lambda: agent.status()["alarms"])
        assert alarm["alarm"] == "coverage" and "shop/ghost" in alarm["text"]
        assert len(agent.status()["uncovered"]) == 1
        agent.apply(texts=texts(lab))
        eventually(lambda: not agent.status()["alarms"])
    finally:
        remove(netns)
        lab.run(["ip", "link", "del", "nic"])
