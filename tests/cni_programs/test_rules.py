"""The rules that baselines have, against those that the programs of their CNIs write."""

from __future__ import annotations

import pytest

from bench.baselines import BASELINES
from bench.baselines.node import view
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import ContainerPort, Node
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.profile import PROFILES
from tests.clusters.records import allow, block, label, pod, pods_where, policy_of, xy_cluster
from tests.cni_programs.programs import ENGINES, Running
from tests.cni_programs.rules import rules
from tests.cni_programs.staging import NODE, NODE_ADDRESSES

TCP, UDP = Protocol.TCP, Protocol.UDP
INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
WEB, OTHER = label("app", "web"), label("app", "other")
CLIENTS = pods_where("team=X", "app=client")
CLUSTER = xy_cluster(
    (
        pod("x/web", "app=web", "10.0.0.1", node=NODE, ports=(ContainerPort("http", TCP, 8080),)),
        pod("x/client", "app=client", "10.0.0.2", node=NODE),
        pod("x/other", "app=other", "10.0.0.3", node=NODE),
        pod("y/far", "app=far", "10.0.0.4", node="node-2"),
    ),
    policy_of(
        "x/in",
        allow(
            INGRESS,
            (CLIENTS, block("203.0.113.0/24", "203.0.113.8/29")),
            (PortRange(TCP, 80, 80), PortRange(TCP, 8000, 8010), PortRange(UDP, 53, 53)),
        ),
        allow(INGRESS, (pods_where("team=Y"),), index=1),
        pods=WEB,
    ),
    policy_of("x/named", allow(INGRESS, (CLIENTS,), (NamedPort(TCP, "http"),)), pods=WEB),
    policy_of(
        "x/out",
        allow(EGRESS, (block("10.0.0.0/8"),), (PortRange(TCP, 443, 443),)),
        allow(EGRESS, (pods_where("team=X", "app=other"),), (PortRange(TCP),), index=1),
        pods=WEB,
    ),
    policy_of("x/both", allow(INGRESS, (CLIENTS,)), isolates=(INGRESS, EGRESS), pods=OTHER),
    nodes=(Node(NODE, NODE_ADDRESSES),),
)
COMPARED = {"kube-router": "kube-router-nft", "felix-iptables-legacy": "calico-iptables"}

# What bench.baselines.differences says in words.
_ACCEPTED = "-m mark --mark 0x10000/0x10000"
_SCRATCH = "-m mark --mark 0x80000/0x80000"
_TCP, _UDP = "-m multiport --dports 80,8000:8010", "-m multiport --dports 53"
_ACCEPT = "-j MARK --set-xmark 0x10000/0x10000"
_NODE_PORTS = "-m addrtype --dst-type LOCAL -m multiport --dports 30000:32767"
LEFT_OUT = {
    "kube-router-nft": {
        "-A KUBE-ROUTER-INPUT -d 10.96.0.0/16 -j RETURN",
        f"-A KUBE-ROUTER-INPUT -p tcp {_NODE_PORTS} -j RETURN",
        f"-A KUBE-ROUTER-INPUT -p udp {_NODE_PORTS} -j RETURN",
    },
    "calico-iptables": {
        # Host endpoints.
        f"-A FORWARD {_ACCEPT}",
        "-A cali-FORWARD -j cali-cidr-block",
        "-A cali-FORWARD -j cali-to-hep-forward",
        "-A cali-FORWARD -m mark --mark 0x0/0x10000 -j cali-from-hep-forward",
        "-A cali-INPUT -j MARK --set-xmark 0x0/0x1b0000",
        "-A cali-INPUT -j cali-from-host-endpoint",
        f"-A cali-INPUT {_ACCEPTED} -j ACCEPT",
        "-A cali-OUTPUT -j MARK --set-xmark 0x0/0x1b0000",
        "-A cali-OUTPUT -m conntrack ! --ctstate DNAT -j cali-to-host-endpoint",
        f"-A cali-OUTPUT {_ACCEPTED} -j ACCEPT",
        # Encapsulation, and chains of service accounts.
        "-A cali-fw-* -p ipencap -j DROP",
        "-A cali-fw-* -p udp -m multiport --dports 4789 -j DROP",
        *(f"-A cali-{each}-* -j cali-pr-*" for each in ("fw", "tw")),
        *(f"-A cali-{each}-* {_ACCEPTED} -j RETURN" for each in ("fw", "tw")),
        f"-A cali-pr-* {_ACCEPT}",
        # Chains with a comment and nothing else.
        "-A cali-po-*",
        "-A cali-pr-*",
        # Policies with one selector.
        "-A cali-tw-* -m mark --mark 0x0/0x20000 -j cali-gi-*",
        "-A cali-gi-* -j cali-pi-*",
        "-A cali-gi-* -m mark --mark 0x0/0x30000 -j cali-pi-*",
        # Other marks, and matches in another order.
        "-A cali-FORWARD -j MARK --set-xmark 0x0/0x1a0000",
        *(f"-A cali-{each}-* -j MARK --set-xmark 0x0/0x30000" for each in ("fw", "tw")),
        "-A cali-pi-* -j MARK --set-xmark 0x80000/0x180000",
        f"-A cali-pi-* -s 203.0.113.0/24 -p tcp {_TCP} {_SCRATCH} {_ACCEPT}",
        f"-A cali-pi-* -s 203.0.113.0/24 -p udp {_UDP} {_SCRATCH} {_ACCEPT}",
    },
}
ADDED: dict[str, set[str]] = {
    "kube-router-nft": set(),
    "calico-iptables": {
        "-A cali-tw-* -m mark --mark 0x0/0x20000 -j cali-pi-*",
        "-A cali-FORWARD -j MARK --set-xmark 0x0/0xb0000",
        *(f"-A cali-{each}-* -j MARK --set-xmark 0x0/0x10000" for each in ("fw", "tw")),
        "-A cali-pi-* -j MARK --set-xmark 0x80000/0x80000",
        f"-A cali-pi-* -s 203.0.113.0/24 -p tcp {_SCRATCH} {_TCP} {_ACCEPT}",
        f"-A cali-pi-* -s 203.0.113.0/24 -p udp {_SCRATCH} {_UDP} {_ACCEPT}",
    },
}


@pytest.mark.programs
@pytest.mark.parametrize(
    "engine", [ENGINES[name] for name in COMPARED], ids=COMPARED, indirect=True
)
def test_baselines_are_what_programs_write(engine: Running) -> None:
    baseline = BASELINES[COMPARED[engine.engine.name]]
    assert baseline.profile == engine.engine.profile.name
    cluster = engine.lab.show(CLUSTER, engine.daemon)
    node = view(compile_cluster(cluster, PROFILES[baseline.profile]), NODE)
    ours = engine.lab.room.add("ours")
    for command in baseline.render(node).install():
        ours.run(*command.argv, input=command.text)
    flavour = "legacy" if engine.engine.name.endswith("legacy") else "nft"
    save = (f"iptables-{flavour}-save", "-t", "filter")
    written, rendered = rules(engine.lab.room.run(*save)), rules(ours.run(*save))
    assert (written & rendered).total() > 60
    assert set(written - rendered) == LEFT_OUT[baseline.name]
    assert set(rendered - written) == ADDED[baseline.name]
