"""What real connections meet: big ones, old ones, fragmented ones, revoked ones."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bench.lab import Lab, LabPod, Layout
from tests.agent.frames import arrivals, enlarge_segments
from tests.agent.running import PATIENCE, Agent, agent_on, eventually, why_not
from tests.clusters import documents

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PORT, OTHER_PORT, LARGE_PORT = 8080, 8081, 8082
OPEN = documents.policy(
    "shop",
    "web",
    "web",
    ingress=[
        {
            "from": documents.from_app("client"),
            "ports": [
                {"port": PORT},
                {"port": PORT, "protocol": "UDP"},
                {"port": LARGE_PORT},
            ],
        }
    ],
)
# Nothing of the server's is let through but answers.
CLOSED_BOTH_WAYS = documents.policy(
    "shop",
    "web",
    "web",
    policyTypes=["Ingress", "Egress"],
    ingress=OPEN["spec"]["ingress"],
)
SHUT = documents.policy("shop", "web", "web", ingress=[])
QUIET = 0.5  # seconds in which what is cut stays silent


@pytest.fixture(params=["routed", "bridged"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agent]:
    """Not started; a server and a client are there."""
    layout: Layout = request.param
    with Lab(layout=layout) as lab, agent_on(lab, tmp_path) as agent:
        web = lab.add_pod("shop", "web", ipv4="10.1.0.2", ipv6="fd00:1::2")
        lab.add_pod("shop", "client", ipv4="10.1.0.3", ipv6="fd00:1::3")
        web.serve(PORT)
        web.serve(OTHER_PORT)
        yield agent


def ends(agent: Agent) -> tuple[LabPod, LabPod]:
    web, client = agent.lab.pods
    return web, client


def texts(agent: Agent, policy: dict[str, object]) -> dict[str, str]:
    pods = documents.text(documents.of_lab(agent.lab.pods))
    return {"pods.yaml": pods, "policy.yaml": documents.text(policy)}


def start(agent: Agent, policy: dict[str, object], *options: str) -> None:
    agent.put(texts=texts(agent, policy))
    agent.start("--mode", "*=enforce", *options)
    agent.wait_until_in_force()
    agent.wait_until_bound(*agent.lab.pods)


@contextlib.contextmanager
def connected(client: LabPod, address: str, port: int = PORT) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with client.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect((address, port))
        yield connection


def echoes(connection: socket.socket, patience: float = PATIENCE) -> bool:
    connection.settimeout(patience)
    connection.send(b"ping")
    try:
        return bool(connection.recv(64))
    except TimeoutError:
        return False


def test_a_connection_is_cut_when_policy_revokes_it_and_goes_on_when_it_is_granted(
    agent: Agent,
) -> None:
    web, client = ends(agent)
    start(agent, OPEN, "--adopt", "0")
    for address in web.addresses:
        with connected(client, address) as connection:
            assert echoes(connection)
            agent.apply(texts=texts(agent, SHUT))
            assert not echoes(connection, QUIET)
            assert not client.reaches(address, PORT, timeout=QUIET)
            agent.apply(texts=texts(agent, OPEN))
            assert echoes(connection), "TCP repeats what was dropped"
    agent.stop()


def test_a_connection_of_a_namespace_that_turns_to_enforce_is_cut(agent: Agent) -> None:
    client = ends(agent)[1]
    start(agent, SHUT, "--adopt", "0", "--mode", "shop=audit")
    with connected(client, "10.1.0.2") as connection:
        assert echoes(connection)
        agent.set_mode("shop=enforce")
        assert not echoes(connection, QUIET)
        agent.set_mode("shop=off")
        assert echoes(connection)
    agent.stop()


def test_connections_older_than_the_agent_go_on(agent: Agent) -> None:
    """What policy denies either way is cut."""
    client = ends(agent)[1]
    with (
        connected(client, "10.1.0.2") as old,
        connected(client, "10.1.0.2", OTHER_PORT) as denied,
    ):
        assert echoes(old) and echoes(denied)
        start(agent, CLOSED_BOTH_WAYS)
        assert echoes(old)
        assert not echoes(denied, QUIET)
        agent.stop()


def speaks(sender: socket.socket, receiver: socket.socket, patience: float) -> bool:
    receiver.settimeout(patience)
    sender.send(b"news")
    try:
        return bool(receiver.recv(64))
    except TimeoutError:
        return False


@contextlib.contextmanager
def accepted(agent: Agent, address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: of the server, and of the client that began it."""
    web, client = ends(agent)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with web.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((address, LARGE_PORT))
        listener.listen()
        with connected(client, address, LARGE_PORT) as ours:
            theirs, _ = listener.accept()
            with theirs:
                yield theirs, ours


@pytest.mark.parametrize("agent", ["routed"], indirect=True)
@pytest.mark.parametrize("adopt", ["60", "0"])
def test_old_connections_are_those_that_the_kernel_tracks(agent: Agent, adopt: str) -> None:
    """An answer shows nothing by itself; who began the connection is what the kernel knows."""
    agent.lab.track_connections()
    with accepted(agent, "10.1.0.2") as four, accepted(agent, "fd00:1::2") as six:
        start(agent, CLOSED_BOTH_WAYS, "--adopt", adopt)
        for server, client in (four, six):
            if adopt == "0":
                assert not speaks(server, client, QUIET)
                assert speaks(client, server, PATIENCE), "policy allows what the client sends"
            assert speaks(server, client, PATIENCE)
        agent.stop()


def test_connections_older_than_the_knowledge_of_their_pod(agent: Agent) -> None:
    """A pod that becomes known later: its connections go on with what their client sends."""
    web, client = ends(agent)
    agent.put(texts={"pods.yaml": documents.text(documents.of_lab([client]))})
    agent.start("--mode", "*=enforce")
    agent.wait_until_in_force()
    agent.wait_until_bound(client)
    with (
        connected(client, "10.1.0.2") as old,
        connected(client, "10.1.0.2", OTHER_PORT) as denied,
    ):
        assert echoes(old) and echoes(denied)
        agent.apply(texts=texts(agent, CLOSED_BOTH_WAYS))
        agent.wait_until_bound(web)
        assert echoes(old)
        assert not echoes(denied, QUIET)
    agent.stop()


def test_connections_of_a_pod_that_was_off(agent: Agent) -> None:
    web, client = ends(agent)
    agent.put(texts=texts(agent, CLOSED_BOTH_WAYS))
    agent.start("--mode", "shop=off")
    agent.wait_until_in_force()
    agent.wait_until_bound(web, client)
    with connected(client, "fd00:1::2") as old, connected(client, "fd00:1::2", OTHER_PORT) as shut:
        assert echoes(old) and echoes(shut)
        agent.set_mode("shop=enforce")
        assert echoes(old)
        assert not echoes(shut, QUIET)
    agent.stop()


@pytest.mark.parametrize("address", ["10.1.0.2", "fd00:1::2"])
def test_datagrams_in_fragments_pass_both_ways_or_not_at_all(agent: Agent, address: str) -> None:
    client = ends(agent)[1]
    start(agent, OPEN, "--adopt", "0")
    data = bytes(range(250)) * 20  # 5,000 bytes: four fragments
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def answered(port: int, patience: float) -> bool:
        with client.socket(family, socket.SOCK_DGRAM) as sender:
            sender.settimeout(patience)
            sender.connect((address, port))
            sender.send(data)
            try:
                return sender.recv(65536) == data
            except TimeoutError:
                return False

    eventually(lambda: answered(PORT, 5.0))
    assert not answered(OTHER_PORT, QUIET)
    agent.stop()


def received_of(agent: Agent, address: str, piece: bytes, pieces: int) -> int:
    """Bytes that the server gets of so many pieces."""
    web, client = ends(agent)
    received = 0
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with web.socket(family, socket.SOCK_STREAM) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(("", LARGE_PORT))
        listener.listen()

        def receive() -> None:
            nonlocal received
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                while part := connection.recv(1 << 20):
                    received += len(part)

        reader = threading.Thread(target=receive)
        reader.start()
        with connected(client, address, LARGE_PORT) as connection:
            for _ in range(pieces):
                connection.sendall(piece)
        reader.join()
    return received


def test_fifty_megabytes_pass(agent: Agent) -> None:
    """In segments far larger than a packet, as offloading hands them over."""
    start(agent, OPEN, "--adopt", "0")
    piece, pieces = b"x" * 1_000_000, 50
    assert received_of(agent, "10.1.0.2", piece, pieces) == len(piece) * pieces
    largest = max(flow["bytes"] for flow in agent.ask("flows", limit=100)["flows"])
    assert largest > len(piece) * pieces
    agent.stop()


@pytest.mark.parametrize("agent", ["routed"], indirect=True)
def test_packets_larger_than_their_length_field_are_judged(agent: Agent) -> None:
    """BIG TCP: the total length of such an IPv4 packet is zero."""
    web, client = ends(agent)
    for pod in (web, client):
        pod.call(lambda: enlarge_segments("eth0", 180_000))
        agent.lab.on_node(partial(enlarge_segments, pod.host_ifname, 180_000))
    start(agent, OPEN, "--adopt", "0")
    piece, pieces = b"x" * 1_000_000, 20
    with arrivals(web) as seen:
        assert received_of(agent, "10.1.0.2", piece, pieces) == len(piece) * pieces
        assert seen.largest() > 65_536, "no such packet was sent, so this shows nothing"
    agent.stop()
