"""Each format, line by line: what becomes of the samples that its makers publish."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from kubeverdict.errors import InputError, UsageError
from kubeverdict.flowlogs import Mapping, aws, calico, columns, gke, hubble, ovn
from kubeverdict.flowlogs.fields import HEADING, NOT_A_FLOW, REPLY, UNDER_WAY
from kubeverdict.flowlogs.sniffing import sniff
from kubeverdict.model.flows import DIRECTED, FlowEnd, FlowRecord, Seen, seconds
from kubeverdict.model.ports import Protocol

FLOW: dict[str, Any] = {
    "time": "2026-09-20T14:56:45.779111730Z",
    "verdict": "DROPPED",
    "IP": {"source": "10.0.1.116", "destination": "10.0.1.117", "ipVersion": "IPv4"},
    "l4": {"TCP": {"source_port": 38160, "destination_port": 8080, "flags": {"SYN": True}}},
    "source": {
        "identity": 60176,
        "namespace": "a",
        "labels": ["k8s:app=probe"],
        "pod_name": "probe",
    },
    "destination": {"namespace": "b", "labels": ["k8s:app=target"], "pod_name": "target"},
    "Type": "L3_L4",
    "traffic_direction": "EGRESS",
    "is_reply": False,
}
CALICO = {
    **{"start_time": 1659621542, "end_time": 1659621842, "source_ip": "10.48.116.157"},
    **{"source_name": "multitool", "source_name_aggr": "multitool-*"},
    **{"source_namespace": "default", "source_port": None, "source_type": "wep"},
    **{"dest_ip": "10.48.127.224", "dest_name": "checkout-598d5b586d-wsvmz"},
    **{"dest_namespace": "shop", "dest_port": 5050, "dest_type": "wep", "proto": "tcp"},
    **{"action": "deny", "reporter": "dst"},
}
AWS = {
    **{"level": "info", "timestamp": "2023-11-03T23:02:17.916Z", "logger": "ebpf-client"},
    **{"msg": "Flow Info:  ", "Src IP": "10.42.190.65", "Src Port": 55986},
    **{"Dest IP": "10.42.117.209", "Dest Port": 8080, "Proto": "TCP", "Verdict": "DENY"},
}
CLOUDWATCH = (
    b"Node: N;SIP: 10.0.0.1;SPORT: 40000;DIP: 10.0.0.2;DPORT: 53;PROTOCOL: UDP;"
    b"PolicyVerdict: ACCEPT"
)
GKE = {
    "connection": {
        **{"src_ip": "10.84.1.8", "dest_ip": "10.84.0.11", "src_port": 45084},
        **{"dest_port": 8080, "protocol": "tcp", "direction": "ingress"},
    },
    "disposition": "deny",
    "src": {"pod_name": "client", "pod_namespace": "default"},
    "dest": {"pod_name": "svc", "pod_namespace": "default"},
    "count": 1,
    "timestamp": "2020-06-13T21:30:22.292379064Z",
}
OVN = (
    b'2023-11-02T16:28:54.139Z|00004|acl_log(ovn_pinctrl0)|INFO|name="NP:verify:Ingress", '
    b"verdict=drop, severity=alert, direction=to-lport: tcp,vlan_tci=0x0000,"
    b"nw_src=10.131.0.39,nw_dst=10.129.2.35,tp_src=58496,tp_dst=8080,tcp_flags=syn"
)


def line(value: object) -> bytes:
    return json.dumps(value).encode()


def flow(**changes: object) -> FlowRecord | str:
    return hubble.parse(line({"flow": {**FLOW, **changes}, "node_name": "n1"}))


HUBBLE_RECORD = FlowRecord(
    FlowEnd("a", "probe", "10.0.1.116"),
    FlowEnd("b", "target", "10.0.1.117"),
    Protocol.TCP,
    8080,
    Seen.DENIED,
    "2026-09-20T14:56:45.779111730Z",
)


def test_hubble_with_and_without_the_wrapper() -> None:
    assert flow() == HUBBLE_RECORD
    assert hubble.parse(line(FLOW)) == HUBBLE_RECORD
    assert seconds(HUBBLE_RECORD.time) == pytest.approx(1789916205.779, abs=0.01)


def test_hubble_with_fields_that_are_not_known() -> None:
    assert flow(kubeverdict={"rule": "shop/web spec.ingress[0]"}, uuid="1", extra=[1]) == (
        HUBBLE_RECORD
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"is_reply": True}, REPLY),
        (
            {
                "is_reply": None,
                "l4": {"TCP": {"destination_port": 1, "flags": {"SYN": 1 > 0, "ACK": True}}},
            },
            REPLY,
        ),
        (
            {"is_reply": None, "l4": {"TCP": {"destination_port": 40000, "flags": {"ACK": True}}}},
            UNDER_WAY,
        ),
        (
            {"is_reply": None, "l4": {"TCP": {"destination_port": 40000, "flags": {"RST": True}}}},
            UNDER_WAY,
        ),
        ({"verdict": "DROPPED", "drop_reason_desc": "STALE_OR_UNROUTABLE_IP"}, "drops for other"),
        ({"verdict": "TRANSLATED"}, "records of Services before translation"),
        ({"l4": None}, NOT_A_FLOW),
    ],
)
def test_hubble_lines_that_are_no_connections(changes: dict[str, object], expected: str) -> None:
    found = flow(**changes)
    assert isinstance(found, str) and found.startswith(expected)


@pytest.mark.parametrize("flags", [None, {}, {"SYN": True}, {"SYN": True, "ECE": True}])
def test_hubble_without_a_direction_that_may_begin_a_connection(flags: object) -> None:
    l4 = {"TCP": {"destination_port": 80, "flags": flags}}
    assert isinstance(flow(is_reply=None, l4=l4), FlowRecord)
    assert isinstance(flow(l4=l4), FlowRecord)


def test_hubble_that_knows_the_direction_is_believed() -> None:
    l4 = {"TCP": {"destination_port": 80, "flags": {"ACK": True}}}
    assert isinstance(flow(is_reply=False, l4=l4), FlowRecord)


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"verdict": "FORWARDED"}, Seen.SENT),
        ({"verdict": "FORWARDED", "traffic_direction": "INGRESS"}, Seen.ARRIVED),
        ({"verdict": "AUDIT", "traffic_direction": "INGRESS"}, Seen.ARRIVED),
        ({"drop_reason_desc": "POLICY_DENIED"}, Seen.DENIED),
    ],
)
def test_what_hubble_saw(changes: dict[str, object], seen: Seen) -> None:
    found = flow(**changes)
    assert isinstance(found, FlowRecord) and found.seen is seen


def test_hubble_knows_what_is_no_pod_and_which_workload() -> None:
    world = {"identity": 2, "labels": ["reserved:world"]}
    found = flow(
        source={"namespace": "a", "pod_name": "x", "workloads": [{"name": "w", "kind": "Job"}]},
        destination=world,
    )
    assert isinstance(found, FlowRecord)
    assert found.source == FlowEnd("a", "x", "10.0.1.116", "w")
    assert found.destination == FlowEnd(address="10.0.1.117", outside=True)


def test_hubble_protocols() -> None:
    for l4, protocol, port in (
        ({"UDP": {"destination_port": 53}}, Protocol.UDP, 53),
        ({"SCTP": {"destination_port": 36412}}, Protocol.SCTP, 36412),
        ({"ICMPv4": {"type": 8}}, Protocol.ICMP, 0),
        ({"ICMPv6": {"type": 128}}, Protocol.ICMP, 0),
    ):
        found = flow(l4=l4)
        assert isinstance(found, FlowRecord)
        assert (found.protocol, found.port) == (protocol, port)


def test_hubble_says_what_it_lost() -> None:
    found = hubble.parse(line({"lost_events": {"num_events_lost": 3}, "node_name": "n"}))
    assert isinstance(found, str) and "lost" in found
    assert hubble.parse(line({"node_status": {"name": "n"}})) == NOT_A_FLOW


def test_calico() -> None:
    found = calico.parse(line(CALICO))
    assert found == FlowRecord(
        FlowEnd("default", "multitool", "10.48.116.157"),
        FlowEnd("shop", "checkout-598d5b586d-wsvmz", "10.48.127.224"),
        Protocol.TCP,
        5050,
        Seen.DENIED,
        1659621542,
    )


def test_calico_aggregated() -> None:
    row = {**CALICO, "source_name": "-", "source_ip": None, "num_flows": 7, "action": "allow"}
    found = calico.parse(line({**row, "reporter": "src"}))
    assert isinstance(found, FlowRecord)
    assert found.source == FlowEnd("default", "multitool-*")
    assert (found.count, found.seen) == (7, Seen.SENT)
    net = {**row, "dest_type": "net", "dest_name": "-", "dest_name_aggr": "pub"}
    assert "pub, pvt" in str(calico.parse(line({**net, "dest_ip": None})))
    known = calico.parse(line({**net, "dest_ip": "203.0.113.9"}))
    assert isinstance(known, FlowRecord)
    assert known.destination == FlowEnd(address="203.0.113.9", outside=True)
    assert calico.parse(line({**CALICO, "dest_port": None})) == (
        "records without a destination port"
    )


def test_aws() -> None:
    assert aws.parse(line(AWS)) == FlowRecord(
        FlowEnd(address="10.42.190.65"),
        FlowEnd(address="10.42.117.209"),
        Protocol.TCP,
        8080,
        Seen.DENIED,
        "2023-11-03T23:02:17.916Z",
    )
    assert aws.parse(line({"level": "info", "msg": "Setting up"})) == NOT_A_FLOW
    found = aws.parse(b"2024-01-02T03:04:05.000Z " + CLOUDWATCH)
    assert found == FlowRecord(
        FlowEnd(address="10.0.0.1"),
        FlowEnd(address="10.0.0.2"),
        Protocol.UDP,
        53,
        Seen.ARRIVED,
        "2024-01-02T03:04:05.000Z",
        source_port=40000,
    )


def test_gke_alone_and_as_a_payload() -> None:
    expected = FlowRecord(
        FlowEnd("default", "client", "10.84.1.8"),
        FlowEnd("default", "svc", "10.84.0.11"),
        Protocol.TCP,
        8080,
        Seen.DENIED,
        "2020-06-13T21:30:22.292379064Z",
    )
    assert gke.parse(line(GKE)) == expected
    assert gke.parse(line({"jsonPayload": GKE, "logName": "projects/p/logs/x"})) == expected


def test_ovn() -> None:
    assert ovn.parse(OVN) == FlowRecord(
        FlowEnd(address="10.131.0.39"),
        FlowEnd(address="10.129.2.35"),
        Protocol.TCP,
        8080,
        Seen.DENIED,
        "2023-11-02T16:28:54.139Z",
    )
    six = OVN.replace(b"tcp,", b"tcp6,").replace(b"nw_src=10.131.0.39", b"ipv6_src=fd00::1")
    found = ovn.parse(six.replace(b"nw_dst=10.129.2.35", b"ipv6_dst=fd00::2"))
    assert isinstance(found, FlowRecord) and found.destination.address == "fd00::2"
    allowed = OVN.replace(b"verdict=drop", b"verdict=allow-related")
    sent = ovn.parse(allowed.replace(b"to-lport", b"from-lport"))
    assert isinstance(sent, FlowRecord) and sent.seen is Seen.SENT
    assert ovn.parse(OVN.replace(b"tcp_flags=syn", b"tcp_flags=syn|ack")) == REPLY
    assert ovn.parse(b"2023|1|other|INFO|x") == NOT_A_FLOW


def test_columns_of_any_name() -> None:
    mapping = Mapping.of("source=src.ip,destination=dst,port=dport,verdict=what,count=n")
    parse = columns.json_parser(mapping)
    row = {"src": {"ip": "10.0.0.1"}, "dst": "shop/web", "dport": 80, "what": "DROP", "n": 3}
    assert parse(line(row)) == FlowRecord(
        FlowEnd(address="10.0.0.1"), FlowEnd("shop", "web"), Protocol.TCP, 80, Seen.DENIED, None, 3
    )


def source_port(found: FlowRecord | str) -> int:
    assert isinstance(found, FlowRecord)
    return found.source_port


def test_a_record_that_does_not_say_who_began_has_the_port_at_its_source() -> None:
    udp: dict[str, object] = {"UDP": {"source_port": 51000, "destination_port": 53}}
    allowed = {"verdict": "FORWARDED", "is_reply": None}
    assert source_port(flow(**allowed, l4=udp)) == 51000
    assert source_port(flow(**allowed, l4={"UDP": {"destination_port": 53}})) == 0
    flags: dict[str, object] = {"SYN": True}
    tcp = {"source_port": 51000, "destination_port": 53}
    assert source_port(flow(**allowed, l4={"TCP": tcp})) == 51000
    # These do say: by a flag of their own, or of TCP, or as nobody refuses a reply.
    assert source_port(flow(**allowed, l4={"TCP": {**tcp, "flags": flags}})) == DIRECTED
    assert source_port(flow(verdict="FORWARDED", l4=udp)) == DIRECTED
    assert source_port(flow(verdict="DROPPED", is_reply=None, l4=udp)) == DIRECTED
    assert source_port(aws.parse(line({**AWS, "Verdict": "ACCEPT"}))) == 55986
    assert source_port(aws.parse(line(AWS))) == DIRECTED
    ovn_udp = OVN.replace(b"tcp,", b"udp,").replace(b",tcp_flags=syn", b"")
    assert source_port(ovn.parse(ovn_udp.replace(b"verdict=drop", b"verdict=allow"))) == 58496
    assert source_port(ovn.parse(OVN.replace(b"verdict=drop", b"verdict=allow"))) == DIRECTED
    assert source_port(calico.parse(line({**CALICO, "action": "allow"}))) == DIRECTED
    assert source_port(gke.parse(line({**GKE, "disposition": "allow"}))) == DIRECTED
    row = {"source": "a/b", "destination": "c/d", "port": 80, "Source Port": 51000.0}
    assert source_port(columns.json_parser(Mapping())(line(row))) == 51000


@pytest.mark.parametrize(
    "heading",
    [
        b"source_address,destination_address,protocol,port",
        b"Source Address,Destination Address,Protocol,Port",
        b"SOURCE_ADDRESS,DESTINATION_ADDRESS,PROTOCOL,PORT",
        b'"source-address", "destination-address" ,"protocol","port"',
        b"\xef\xbb\xbfSourceAddress,DestinationAddress,protocol,port\r",
        b"SRC,Dst Address,PROTO,dport",
    ],
)
def test_headings_in_any_spelling(heading: bytes) -> None:
    mapping = Mapping()
    if heading.startswith(b"SRC"):
        mapping = Mapping.of(
            "source_address=src,destination_address=dst_address,protocol=proto,port=dport"
        )
    parse = sniff("x", [heading], mapping)
    assert parse(heading) == HEADING
    assert parse(b"10.0.0.1,10.0.0.2,UDP,53") == FlowRecord(
        FlowEnd(address="10.0.0.1"),
        FlowEnd(address="10.0.0.2"),
        Protocol.UDP,
        53,
        Seen.ARRIVED,
        source_port=0,
    )


def test_names_in_any_spelling_in_json_too() -> None:
    parse = columns.json_parser(Mapping.of("port=dport"))
    row = {"Source": "a/b", "DESTINATION": "c/d", "DPort": 80}
    for changes in ({}, {"more": 1}):
        found = parse(line({**row, **changes}))
        assert isinstance(found, FlowRecord)
        assert (found.source.pod, found.port) == ("b", 80)


def test_csv() -> None:
    header = columns.csv_header(b"source,destination_namespace,destination_pod,port,protocol\n")
    parse = columns.csv_parser(header, Mapping())
    assert parse(b'10.0.0.1,shop,"web",53,udp\r\n') == FlowRecord(
        FlowEnd(address="10.0.0.1"),
        FlowEnd("shop", "web"),
        Protocol.UDP,
        53,
        Seen.ARRIVED,
        source_port=0,
    )
    for wrong in (b"10.0.0.1,shop", b"nonsense,shop,web,53,udp", b"10.0.0.1,shop,web,99999,tcp"):
        with pytest.raises(ValueError):
            parse(wrong)


def counted_csv(text: bytes) -> FlowRecord | str:
    header = ("source", "destination", "port", "count")
    return columns.csv_parser(header, Mapping())(text)


COUNTED = b"10.0.0.1,10.0.0.2,80,"


@pytest.mark.parametrize(
    ("found", "count"),
    [
        (counted_csv(COUNTED), 1),
        (counted_csv(COUNTED + b"7.0"), 7),
        (counted_csv(COUNTED + b"1099511627776"), 1 << 40),
        (calico.parse(line({**CALICO, "num_flows": 7})), 7),
        (calico.parse(line({**CALICO, "num_flows": 0})), 1),
        (gke.parse(line({**GKE, "count": "7"})), 7),
        (gke.parse(line({**GKE, "count": 0})), 1),
    ],
)
def test_counts(found: FlowRecord | str, count: int) -> None:
    assert isinstance(found, FlowRecord) and found.count == count


@pytest.mark.parametrize("count", ["inf", "1e30", "nan", "0", "-1", "1099511627777", "9" * 400])
def test_counts_that_are_none(count: str) -> None:
    assert_malformed(counted_csv, COUNTED + count.encode())
    if count != "0":
        assert_malformed(gke.parse, line({**GKE, "count": count}))
    if count.lstrip("-").isdigit() and count != "0":
        assert_malformed(gke.parse, line({**GKE, "count": int(count)}))
        assert_malformed(calico.parse, line({**CALICO, "num_flows": int(count)}))


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (hubble.parse, b"{"),
        (hubble.parse, b"{}"),
        (hubble.parse, b'{"flow":{"verdict":"FORWARDED","l4":{"TCP":{"destination_port":1}}}}'),
        (hubble.parse, line({**FLOW, "l4": {"TCP": {"destination_port": 99999}}})),
        (calico.parse, line({**CALICO, "proto": None})),
        (aws.parse, line({**AWS, "Verdict": "MAYBE"})),
        (aws.parse, CLOUDWATCH[:40]),
        (gke.parse, line({**GKE, "disposition": None})),
        (ovn.parse, OVN[:60]),
        (ovn.parse, OVN.replace(b"nw_dst=10.129.2.35,", b"")),
    ],
)
def test_lines_that_make_no_sense(parse: Any, text: bytes) -> None:
    assert_malformed(parse, text)


def assert_malformed(parse: Any, text: bytes) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        parse(text)


@pytest.mark.parametrize(
    ("text", "parse"),
    [
        (line({"flow": FLOW}), hubble.parse),
        (line(FLOW), hubble.parse),
        (line({"lost_events": {}}), hubble.parse),
        (line(CALICO), calico.parse),
        (line(AWS), aws.parse),
        (CLOUDWATCH, aws.parse),
        (line(GKE), gke.parse),
        (line({"jsonPayload": GKE}), gke.parse),
        (OVN, ovn.parse),
    ],
)
def test_formats_are_told_from_their_lines(text: bytes, parse: object) -> None:
    assert sniff("x", [b"", b"{broken", text], Mapping()) is parse


def test_what_is_no_log() -> None:
    for lines, said in (
        ([b"[{}]"], "one JSON list"),
        ([b"a,b,c", b"1,2,3"], "--columns which of them is what: it has a, b, c"),
        ([b"hello"], "use --columns"),
    ):
        with pytest.raises(InputError, match=said):
            sniff("x.log", lines, Mapping())
    with pytest.raises(UsageError, match="nowhere is not a field"):
        Mapping.of("nowhere=x")
    with pytest.raises(UsageError, match="FIELD=COLUMN"):
        Mapping.of("port")
