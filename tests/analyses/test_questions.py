from __future__ import annotations

import pytest

from kubeverdict.analyses.ends import Party
from kubeverdict.analyses.questions import PortQuestion, parse_port, resolve_port
from kubeverdict.errors import UsageError
from kubeverdict.model.cluster import ContainerKind, ContainerPort
from kubeverdict.model.ports import Protocol
from tests.clusters.records import pod, port


@pytest.mark.parametrize(
    ("text", "number", "name", "protocol"),
    [
        ("8080", 8080, "", Protocol.TCP),
        ("8080/TCP", 8080, "", Protocol.TCP),
        ("53/udp", 53, "", Protocol.UDP),
        ("9/SCTP", 9, "", Protocol.SCTP),
        ("http", 0, "http", None),
        ("http/tcp", 0, "http", Protocol.TCP),
        ("icmp", 0, "", Protocol.ICMP),
        ("ICMP", 0, "", Protocol.ICMP),
    ],
)
def test_ports(text: str, number: int, name: str, protocol: Protocol | None) -> None:
    assert parse_port(text) == PortQuestion(text, number, name, protocol)


@pytest.mark.parametrize(
    "text", ["0", "65536", "123456789", "", "/tcp", "80/", "80/http", "80/icmp", "80/tcp/x"]
)
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(UsageError, match="--port"):
        parse_port(text)


def party(*ports: ContainerPort) -> Party:
    one = pod("a/b", ports=ports)
    return Party(str(one), (), one, managed=True)


def test_a_name_is_what_the_destination_says() -> None:
    dns = party(port("dns", 5353, Protocol.UDP), port("dns", 53, Protocol.TCP), port("web", 80))
    assert resolve_port(parse_port("dns"), dns) == [(Protocol.UDP, 5353), (Protocol.TCP, 53)]
    assert resolve_port(parse_port("dns/tcp"), dns) == [(Protocol.TCP, 53)]
    assert resolve_port(parse_port("99"), dns) == [(Protocol.TCP, 99)]


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("webb", party(port("web", 80)), 'no port named webb .did you mean "web"'),
        ("metrics", party(port("web", 80)), "no port named metrics; its ports are web"),
        ("metrics", party(), "its ports are unnamed"),
        ("web/udp", party(port("web", 80)), "no port named web"),
        ("web", Party("8.8.8.8", ()), "is an address, use a number"),
        (
            "setup",
            party(ContainerPort("setup", Protocol.TCP, 1, ContainerKind.INIT)),
            "no port named setup",
        ),
    ],
)
def test_names_that_mean_nothing(text: str, where: Party, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_port(parse_port(text), where)
