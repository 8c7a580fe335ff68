"""Connections: replies, revocation, adoption, modes, the table they are kept in, what is told."""

from __future__ import annotations

import pytest

from bench.lab import bpffs
from kubeverdict_agent.datapath.layout import Mode, PacketReason, PodDirection, State
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.lowering.tables import with_modes
from tests.agent import packets
from tests.agent.packets import ACK, FIN, RST, SYN, SYN_ACK, TCP, UDP, ethernet, ipv4, ipv6, packet
from tests.agent.programs import LOOPBACK, Bench, needs_root
from tests.agent.web import (
    CLIENT,
    CLIENT6,
    DB,
    DB6,
    NODE,
    POLICY,
    REVOKED,
    STORE,
    WEB,
    WEB6,
    WORLD,
    Web,
)

pytestmark = needs_root


@pytest.mark.parametrize(("own", "db", "client"), [(WEB, DB, CLIENT), (WEB6, DB6, CLIENT6)])
def test_policy_is_judged_in_both_families(web: Web, own: str, db: str, client: str) -> None:
    assert web.leaves(packet(own, db, TCP, port=5432))
    assert not web.leaves(packet(own, db, TCP, port=5433))
    assert not web.leaves(packet(own, client, TCP, port=5432))
    assert web.arrives(packet(client, own, TCP, port=80))
    assert web.arrives(packet(client, own, packets.SCTP, port=38412))
    assert not web.arrives(packet(db, own, TCP, port=80))
    assert not web.arrives(packet(client, own, packets.ICMP))
    assert not web.arrives(packet(client, own, packets.OTHER))


def test_replies_pass_and_nothing_else_of_the_same_ends(web: Web) -> None:
    assert not web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=SYN_ACK))
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=SYN_ACK))
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432, flags=ACK))
    assert not web.arrives(packet(DB, WEB, TCP, 5432, 40001, flags=SYN_ACK))
    assert not web.arrives(packet(DB, WEB, TCP, 5433, 40000, flags=ACK))


def test_udp_and_sctp_replies_pass(web: Web) -> None:
    assert web.leaves(packet(WEB, DB, UDP, 5353, 53))
    assert web.arrives(packet(DB, WEB, UDP, 53, 5353))
    assert web.arrives(packet(CLIENT, WEB, packets.SCTP, 7, 38412))
    assert web.leaves(packet(WEB, CLIENT, packets.SCTP, 38412, 7))


def test_a_syn_is_never_a_reply(web: Web) -> None:
    """Port reuse: the same four numbers, but the other end begins."""
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))
    assert not web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=SYN))
    # The connection that is there is not harmed.
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=SYN_ACK))


def test_a_reused_port_is_a_new_connection(web: Web) -> None:
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432, flags=FIN | ACK))
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))
    web.use(REVOKED)
    assert not web.leaves(packet(WEB, DB, TCP, 40000, 5432))


def test_a_revoked_connection_is_cut_both_ways_and_cannot_come_back(web: Web) -> None:
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80))
    assert web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=SYN_ACK))
    web.use(REVOKED)
    # Egress to the client is denied too; a policy that allowed it must not help a reply.
    assert not web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=ACK))
    assert not web.arrives(packet(CLIENT, WEB, TCP, 40000, 80, flags=ACK))
    nobody = "  - to: [{podSelector: {matchLabels: {app: nobody}}}]\n"
    open_out = REVOKED.replace(nobody, f"  - ports: [{{port: 40000}}]\n{nobody}")
    assert open_out != REVOKED
    web.use(open_out)
    assert not web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=ACK))
    assert not web.arrives(packet(CLIENT, WEB, TCP, 40000, 80, flags=ACK))
    assert web.counted(PodDirection.INGRESS, PacketReason.REVOKED, dropped=True) > 0
    # Allowed again, it goes on: the entry was kept.
    web.use(POLICY)
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80, flags=ACK))
    assert web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=ACK))


def test_a_granted_connection_survives_another_policy(web: Web) -> None:
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))
    for _ in range(5):
        web.use(POLICY)
        assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=ACK))
    assert web.connections() == 1


def test_icmp_errors_about_a_connection_pass(web: Web) -> None:
    assert web.leaves(packet(WEB, DB, UDP, 5353, 53))
    sent = ipv4(WEB, DB, UDP, packets.udp(5353, 53))[:28]
    too_big = packets.icmp(3, 4, rest=sent)
    from_router = ethernet(0x0800, ipv4(WORLD, WEB, packets.ICMP, too_big))
    assert web.arrives(from_router)
    other = packets.icmp(3, 4, rest=ipv4(WEB, DB, UDP, packets.udp(5354, 53))[:28])
    assert not web.arrives(ethernet(0x0800, ipv4(WORLD, WEB, packets.ICMP, other)))
    assert web.counted(PodDirection.INGRESS, PacketReason.RELATED, dropped=False) > 0
    web.use(REVOKED)
    assert not web.arrives(from_router)


def test_an_icmp_error_goes_to_whoever_sent_what_it_quotes(web: Web) -> None:
    """Or else a pod could send anything anywhere, quoting a connection that it is allowed."""
    assert web.arrives(packet(CLIENT, WEB, UDP, 5000, 9000))
    received = ipv4(CLIENT, WEB, UDP, packets.udp(5000, 9000))[:28]
    unreachable = packets.icmp(3, 3, rest=received)
    assert web.leaves(ethernet(0x0800, ipv4(WEB, CLIENT, packets.ICMP, unreachable)))
    assert not web.leaves(ethernet(0x0800, ipv4(WEB, WORLD, packets.ICMP, unreachable)))


def test_icmpv6_errors_about_a_connection_pass(web: Web) -> None:
    assert web.leaves(packet(WEB6, DB6, UDP, 5353, 53))
    sent = ipv6(WEB6, DB6, UDP, packets.udp(5353, 53))[:48]
    for about, passes in ((sent, True), (sent.replace(b"\x14\xe9", b"\x14\xea"), False)):
        error = packets.icmp(2, 0, rest=about)
        frame = ethernet(0x86DD, ipv6("2001:db8::1", WEB6, packets.ICMPV6, error))
        assert web.arrives(frame) is passes


@pytest.mark.parametrize(
    ("source", "peer", "own"),
    [
        (WEB, DB, True),
        (CLIENT, DB, False),
        (NODE, DB, False),
        (WEB6, DB6, True),
        (CLIENT6, DB6, False),
    ],
)
def test_a_pod_sends_from_its_own_addresses(web: Web, source: str, peer: str, own: bool) -> None:
    """With the address of another pod, or of the node, it could pass the policies of its peers."""
    before = web.counted(PodDirection.EGRESS, PacketReason.SPOOFED, dropped=True)
    assert web.leaves(packet(source, peer, TCP, port=5432)) is own
    assert web.counted(PodDirection.EGRESS, PacketReason.SPOOFED, dropped=True) - before == (
        not own
    )


def test_the_node_reaches_its_pods(web: Web) -> None:
    for address in (NODE, "10.0.0.254"):
        assert web.arrives(packet(address, WEB, TCP, port=8443))
        assert not web.leaves(packet(WEB, address, TCP, port=8443))


def test_a_cluster_ip_leads_where_its_backends_may_be_reached(web: Web) -> None:
    assert web.leaves(packet(WEB, STORE, TCP, port=3306))
    assert not web.leaves(packet(WEB, STORE, TCP, port=80))
    assert not web.leaves(packet(WEB, STORE, TCP, port=5432))


# -- modes and unknown ends --------------------------------------------------------------------


def test_audit_passes_and_counts_each_denied_connection(web: Web) -> None:
    web.fresh(mode=Mode.AUDIT)
    for _ in range(3):
        assert web.leaves(packet(WEB, WORLD, TCP, 40000, 443))
        assert web.arrives(packet(WORLD, WEB, TCP, 443, 40000, flags=SYN_ACK))
        assert web.leaves(packet(WEB, WORLD, TCP, 40000, 443, flags=ACK))
    keys, totals = web.datapath.totals()
    assert set(keys["port"].tolist()) == {443}
    assert set(keys["direction"].tolist()) == {PodDirection.EGRESS}
    assert set(keys["mode"].tolist()) == {Mode.AUDIT}
    # Replies are not denials of their own.
    assert int(totals["packets"].sum()) == 6
    assert web.counted(PodDirection.EGRESS, PacketReason.DENIED, dropped=False) >= 3


def test_auditing_counts_ports_that_are_used_again(web: Web) -> None:
    """Neither the replies nor the second use of the same ports is told as something else."""
    web.fresh(mode=Mode.AUDIT)
    for _ in range(2):
        assert web.leaves(packet(WEB, WORLD, TCP, 40000, 443))
        assert web.arrives(packet(WORLD, WEB, TCP, 443, 40000, flags=SYN_ACK))
        assert web.leaves(packet(WEB, WORLD, TCP, 40000, 443, flags=RST | ACK))
    keys, _ = web.datapath.totals()
    assert {(int(key["direction"]), int(key["port"])) for key in keys} == {
        (PodDirection.EGRESS, 443)
    }


def test_enforcing_cuts_what_auditing_let_through(web: Web) -> None:
    web.fresh(mode=Mode.AUDIT)
    assert web.leaves(packet(WEB, WORLD, TCP, 40000, 443))
    assert web.arrives(packet(WORLD, WEB, TCP, 443, 40000, flags=SYN_ACK))
    web.datapath.publish(with_modes(web.tables(), {0: Mode.ENFORCE}))
    assert not web.leaves(packet(WEB, WORLD, TCP, 40000, 443, flags=ACK))
    assert not web.arrives(packet(WORLD, WEB, TCP, 443, 40000, flags=ACK))


def test_off_looks_at_nothing(web: Web) -> None:
    web.fresh(mode=Mode.OFF)
    assert web.leaves(packet(WEB, WORLD, TCP, 40000, 443))
    assert web.leaves(b"\0" * 20)
    assert web.connections() == 0 and web.datapath.totals()[0].size == 0


def test_an_interface_without_a_pod_is_open_or_closed(web: Web) -> None:
    web.datapath.unbind(LOOPBACK)
    frame = packet(WEB, WORLD, TCP, 40000, 443)
    assert web.leaves(frame)
    web.datapath.set_unknown(closed=True)
    assert not web.leaves(frame) and not web.arrives(frame)
    # So is a pod that the tables do not know.
    web.bind(7, 99)
    assert not web.leaves(frame)
    web.datapath.set_unknown(closed=False)
    assert web.leaves(frame)


def test_before_the_first_tables_nothing_is_dropped() -> None:
    with bpffs() as folder:
        datapath = NodeDatapath.open(folder / "empty", flows=64)
        bench = Bench(datapath)
        bench.bind(0)
        assert datapath.generation == 0
        assert bench.leaves(packet(WEB, WORLD, TCP, port=443))
        datapath.set_unknown(closed=True)
        assert not bench.leaves(packet(WEB, WORLD, TCP, port=443))
        datapath.close()


# -- the table of connections ------------------------------------------------------------------


def test_another_pod_with_the_same_address_inherits_no_connection(web: Web) -> None:
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80))
    assert web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=SYN_ACK))
    web.fresh()
    assert not web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=ACK))


def test_two_pods_of_a_node_do_not_share_connections(web: Web) -> None:
    """Both ends of a connection may be local: what one veth allowed must not count on another."""
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))
    web.bind(0, 77_777)
    assert not web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=SYN_ACK))


def test_a_full_table_forgets_the_oldest_and_denies_nothing_new(web: Web) -> None:
    for number in range(6000):
        assert web.leaves(packet(WEB, DB, TCP, 1024 + number, 5432))
    kept, room = web.datapath.conntrack_size()[4]
    assert 0 < kept <= room == 2048
    assert web.arrives(packet(DB, WEB, TCP, 5432, 1024 + 5999, flags=SYN_ACK))
    # Fail closed: of a connection that was forgotten, replies have nothing to pass by.
    assert not web.arrives(packet(DB, WEB, TCP, 5432, 1024, flags=SYN_ACK))
    assert web.counted(PodDirection.INGRESS, PacketReason.NO_FLOW, dropped=True) > 0


def test_one_end_may_close_and_go_on_listening(web: Web) -> None:
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=SYN_ACK))
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432, flags=FIN | ACK))
    assert web.state(40000) == State.REPLIED | State.FIN
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=ACK))
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=FIN | ACK))
    assert web.state(40000) & State.CLOSING


def test_a_reset_closes_the_connection_and_the_port_can_be_used_again(web: Web) -> None:
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))
    assert web.arrives(packet(DB, WEB, TCP, 5432, 40000, flags=RST | ACK))
    assert web.leaves(packet(WEB, DB, TCP, 40000, 5432))


# -- events and totals -------------------------------------------------------------------------


def test_a_denial_is_told_once_and_counted_always(web: Web) -> None:
    web.datapath.events()
    for _ in range(50):
        assert not web.leaves(packet(WEB, WORLD, TCP, 40000, 443))
    events = web.datapath.events()
    assert 1 <= events.size <= 3  # again when the clock ticks
    event = events[0]
    assert (event["local_port"], event["remote_port"], event["tcp_flags"]) == (40000, 443, SYN)
    assert bytes(event["remote"].tobytes())[-4:] == bytes([203, 0, 113, 9])
    assert event["reason"] == PacketReason.DENIED and event["mode"] == Mode.ENFORCE
    assert event["generation"] == web.datapath.generation
    keys, totals = web.datapath.totals(drain=True)
    assert totals["packets"].tolist() == [50]
    assert (totals["last_ns"] >= totals["first_ns"]).all()
    assert web.datapath.totals()[0].size == 0
    assert keys["port"].tolist() == [443]


def test_events_that_find_no_room_are_counted_and_totals_stay_exact(web: Web) -> None:
    web.datapath.events()
    lost, lost_before = web.datapath.lost()
    flood = 60_000
    for number in range(flood):
        port, address = number % 50_000 + 1, 1 + number // 50_000
        web.leaves(packet(WEB, f"198.51.100.{address}", TCP, 40000, port))
    events = web.datapath.events().size
    told = events + web.datapath.lost()[0] - lost
    assert told == flood
    _, totals = web.datapath.totals(drain=True)
    _, totals_lost = web.datapath.lost()
    assert int(totals["packets"].sum()) + totals_lost - lost_before == flood
