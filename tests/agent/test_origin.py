"""Which end began a connection: of old, forgotten, idle, disturbed and symmetric ones."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import NamedTuple

import pytest

from kubeverdict_agent.datapath.clocks import ticks_of
from kubeverdict_agent.datapath.layout import PodDirection
from tests.agent import packets
from tests.agent.packets import ACK, FIN, RST, SYN, SYN_ACK, TCP, UDP, packet
from tests.agent.programs import needs_root
from tests.agent.web import (
    CLIENT,
    CLIENT6,
    DB,
    DB6,
    EGRESS_ONLY,
    REVOKED,
    WEB,
    WEB6,
    Web,
)

pytestmark = needs_root


class Older(NamedTuple):
    """A connection of the pod's from before the agent."""

    remote: bytes
    local_port: int
    remote_port: int
    protocol: int
    origin: PodDirection
    replied: bool = True


@pytest.mark.parametrize(("own", "db", "client"), [(WEB, DB, CLIENT), (WEB6, DB6, CLIENT6)])
def test_adopted_connections_are_judged_in_their_direction(
    web: Web, own: str, db: str, client: str
) -> None:
    to_db, of_client = ip_address(db).packed, ip_address(client).packed
    out, into = PodDirection.EGRESS, PodDirection.INGRESS
    known = [
        Older(to_db, 40000, 5432, TCP, out),
        Older(to_db, 40001, 5433, TCP, out),
        Older(of_client, 80, 50000, TCP, into),
        Older(to_db, 5432, 40002, TCP, into),
    ]
    web.datapath.adopt(web.endpoint, ip_address(own).packed, known)
    # What comes first may be an answer, which policy would allow nobody to begin.
    assert web.arrives(packet(db, own, TCP, 5432, 40000, flags=ACK))
    assert web.leaves(packet(own, client, TCP, 80, 50000, flags=ACK))
    assert not web.arrives(packet(db, own, TCP, 5433, 40001, flags=ACK))
    assert not web.leaves(packet(own, db, TCP, 5432, 40002, flags=ACK))
    # Nor is another one taken for one of these.
    assert not web.arrives(packet(db, own, TCP, 5432, 40009, flags=ACK))
    web.use(REVOKED)
    assert not web.arrives(packet(db, own, TCP, 5432, 40000, flags=ACK))


def test_a_packet_that_policy_allows_makes_a_forgotten_connection_again(web: Web) -> None:
    reply = packet(DB, WEB, TCP, 5432, 40000, flags=ACK)
    assert not web.arrives(reply)
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432, flags=ACK))
    assert web.arrives(reply)
    web.use(REVOKED)
    assert not web.arrives(reply)
    assert not web.leaves(packet(WEB, DB, TCP, 40000, 5432, flags=ACK))


@pytest.mark.parametrize("flags", [SYN_ACK, FIN | ACK, RST, RST | ACK])
def test_an_answer_or_an_end_makes_no_connection(web: Web, flags: int) -> None:
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80, flags=flags))
    assert web.connections() == 0
    assert not web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=ACK))


def test_a_packet_makes_no_connection_where_either_end_may_have_begun(web: Web) -> None:
    """Which one did decides what a revocation cuts, and nothing tells."""
    web.fresh(EGRESS_ONLY)
    for _ in range(3):
        assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=ACK))
        assert web.leaves(packet(WEB, DB, TCP, 40000, 5432, flags=ACK))
    assert web.connections() == 0
    web.use(EGRESS_ONLY.replace("app: db", "app: nobody"))
    assert not web.leaves(packet(WEB, DB, TCP, 40000, 5432, flags=ACK))


# -- who began it ------------------------------------------------------------------------------


def established(web: Web, port: int = 40000) -> None:
    """A connection to the database that has had an answer."""
    assert web.leaves(packet(WEB, DB, TCP, port, 5432))
    assert web.arrives(packet(DB, WEB, TCP, 5432, port, flags=SYN_ACK))
    assert web.leaves(packet(WEB, DB, TCP, port, 5432, flags=ACK))


@pytest.mark.parametrize("first", [[SYN], [RST, SYN], [FIN | ACK, SYN], [SYN, SYN, SYN]])
def test_the_other_end_does_not_become_the_origin(web: Web, first: list[int]) -> None:
    web.fresh(EGRESS_ONLY)
    established(web)
    for flags in first:
        assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=flags))
    web.use(EGRESS_ONLY.replace("app: db", "app: nobody"))
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000)), "ingress is not isolated"
    for _ in range(2):
        assert not web.leaves(packet(WEB, DB, TCP, 40000, 5432, flags=ACK))
        assert not web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=ACK))


def age(web: Web, seconds: int) -> None:
    """Let all connections have been idle for so long, also in the eyes of the caches."""
    for family, keys, values in list(web.datapath.flows()):
        for key, value in zip(keys, values, strict=True):
            value["seen"] -= ticks_of(seconds)
            web.rewrite(family, key, value)
    time.sleep(1.4)  # a tick, for which flows are cached


def go_on(web: Web, port: int = 40000, packets_: int = 12) -> bool:
    return all(
        web.leaves(packet(WEB, DB, TCP, port, 5432, flags=ACK))
        and web.arrives(packet(DB, WEB, TCP, 5432, port, flags=ACK))
        for _ in range(packets_)
    )


@pytest.mark.parametrize("flags", [RST, SYN])
def test_what_the_ends_ignore_does_not_shorten_a_life(web: Web, flags: int) -> None:
    established(web)
    sender = (DB, WEB, 5432, 40000) if flags == RST else (WEB, DB, 40000, 5432)
    forged = packet(*sender[:2], TCP, *sender[2:], flags=flags)
    assert (web.arrives if flags == RST else web.leaves)(forged)
    assert go_on(web) or flags == SYN
    age(web, 3_600)
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=ACK)), "an answer needs the flow"


def test_a_repeated_syn_alone_does_not_shorten_a_life(web: Web) -> None:
    established(web)
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))
    age(web, 3_600)
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=ACK))


def test_idle_connections_are_remembered_as_long_as_is_set(web: Web) -> None:
    answer = packet(DB, WEB, TCP, 5432, 40000, flags=ACK)
    established(web)
    age(web, 23 * 3_600)
    assert web.arrives(answer), "24 hours by default"
    web.datapath.set_idle(600, 180)
    age(web, 500)
    assert web.arrives(answer)
    age(web, 700)
    assert not web.arrives(answer)
    web.datapath.set_idle(86_400, 180)


def test_a_reset_that_is_heeded_ends_a_connection_soon(web: Web) -> None:
    established(web)
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=RST | ACK))
    age(web, 60)
    assert not web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=ACK))


BOTH_WAYS = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {}}], ports: [{port: 9000, protocol: P}]}]
  egress: [{to: [{podSelector: {}}], ports: [{port: 9000, protocol: P}]}]
"""


@pytest.mark.parametrize("protocol", [UDP, packets.SCTP])
@pytest.mark.parametrize("revoked", [PodDirection.INGRESS, PodDirection.EGRESS])
def test_revoking_one_direction_of_equal_ports_leaves_the_other(
    web: Web, protocol: int, revoked: PodDirection
) -> None:
    name = "UDP" if protocol == UDP else "SCTP"
    policy = BOTH_WAYS.replace("P}", f"{name}}}")
    web.fresh(policy)
    into, out = packet(CLIENT, WEB, protocol, 9000, 9000), packet(WEB, CLIENT, protocol, 9000, 9000)
    first, second = (into, out) if revoked is PodDirection.INGRESS else (out, into)
    checks = (
        (web.arrives, web.leaves) if revoked is PodDirection.INGRESS else (web.leaves, web.arrives)
    )
    assert checks[0](first) and checks[1](second)
    word = revoked.name.lower()
    kept = [line for line in policy.splitlines() if not line.startswith(f"  {word}:")]
    web.use("\n".join(kept))
    assert not checks[0](first)
    assert checks[1](second), "the other direction is allowed as before"
    assert checks[0](first), "as the answer to that"
    web.use("\n".join(line for line in kept if not line.startswith(("  ingress:", "  egress:"))))
    web.datapath.totals(drain=True)
    assert not checks[1](second)
    (key,) = web.datapath.totals()[0]
    assert key["direction"] == PodDirection(1 - revoked), "told of whoever sent it"
