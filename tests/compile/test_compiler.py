"""What the compiled form promises, on cases small enough to count by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kubeverdict.compile import compiler
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import UsageError
from kubeverdict.model.cluster import ContainerPort
from kubeverdict.model.policy import Direction, PodPeer
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.profile import PROFILES
from tests.clusters.records import allow, block, label, pod, policy_of, xy_cluster

IN, OUT = Direction.INGRESS, Direction.EGRESS


def arrays(value: object) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, CompiledPolicy):
        return arrays((value.addresses, value.ports, *value.planes))
    if dataclasses.is_dataclass(value):
        return arrays(tuple(getattr(value, field.name) for field in dataclasses.fields(value)))
    if isinstance(value, tuple):
        return [array for part in value for array in arrays(part)]
    return []


def test_arrays_are_frozen() -> None:
    compiled = compile_cluster(
        xy_cluster((pod("x/a", "", "10.0.0.1"),), policy_of("x/deny", isolates=(IN,)))
    )
    found = [*arrays(compiled), *arrays(compiled.planes[0].matrix)]
    assert len(found) > 40
    assert not any(array.flags.writeable for array in found)


def test_replicas_are_one_identity_and_a_label_that_no_rule_asks_about_does_not_count() -> None:
    replicas = tuple(
        pod(f"x/web-{i}", {"app": "web", "hash": str(i)}, f"10.0.0.{i}") for i in range(1, 6)
    )
    other = pod("x/db", "app=db", "10.0.0.9")
    rule = allow(IN, (PodPeer(label("app", "web"), "x"),))
    (plane,) = compile_cluster(xy_cluster((*replicas, other), policy_of("x/p", rule))).planes
    assert plane.pods == 2
    assert sorted(plane.weight[: plane.pods].tolist()) == [1, 5]


def test_addresses_share_the_identities_of_pods() -> None:
    rule = allow(OUT, (block("203.0.113.0/24", "203.0.113.128/25"),))
    compiled = compile_cluster(xy_cluster((pod("x/a", "", "10.0.0.1"),), policy_of("x/p", rule)))
    assert compiled.addresses.ipv4.size == 4  # below, the block, its except, above
    (plane,) = compiled.planes
    assert plane.external % 64 == 0
    # The block, and everything else: what lies above and below the block is not distinguished.
    assert plane.size - plane.external == 2


def test_families_share_a_plane_until_a_block_tells_them_apart() -> None:
    pods = (pod("x/a", "", "10.0.0.1", "fd00::1"), pod("x/b", "", "10.0.0.2", "fd00::2"))
    outside = policy_of("x/p", allow(OUT, (block("203.0.113.0/24"),)))
    inside = policy_of("x/p", allow(OUT, (block("10.0.0.0/8"),)))
    assert [plane.families for plane in compile_cluster(xy_cluster(pods, outside)).planes] == [
        (4, 6)
    ]
    assert [plane.families for plane in compile_cluster(xy_cluster(pods, inside)).planes] == [
        (4,),
        (6,),
    ]
    one_family = (pod("x/a", "", "10.0.0.1"),)
    assert [plane.families for plane in compile_cluster(xy_cluster(one_family, inside)).planes] == [
        (4,)
    ]


def test_ports_are_cut_where_rules_begin_and_end() -> None:
    rule = allow(IN, None, (PortRange(Protocol.TCP, 80, 90), PortRange(Protocol.TCP, 443, 443)))
    compiled = compile_cluster(xy_cluster((pod("x/a", "", "10.0.0.1"),), policy_of("x/p", rule)))
    table = compiled.ports.table
    assert table[80] == table[90] != table[91]
    assert table[79] != table[80]
    assert table[0] != table[1]  # port 0 is in no range
    assert table[3 * 65536] != table[3 * 65536 + 1]  # ICMP, and what is none of the four
    assert compiled.ports.weight.sum() == 3 * 65535


def test_named_ports_are_split_by_number() -> None:
    pods = tuple(
        pod(f"x/{name}", "", address, ports=(ContainerPort("http", Protocol.TCP, number),))
        for name, address, number in (("a", "10.0.0.1", 80), ("b", "10.0.0.2", 8080))
    )
    rule = allow(IN, None, (NamedPort(Protocol.TCP, "http"),))
    (plane,) = compile_cluster(xy_cluster(pods, policy_of("x/p", rule))).planes
    rules = plane.rows.rule.tolist()
    assert rules == [0, 0, Reason.NO_RULE_MATCHES]
    assert len(set(plane.rows.subject.tolist())) == 3


def test_names_are_resolved_over_pods_of_every_family() -> None:
    """Where a CNI takes the numbers of all subjects, those of the other family count too."""
    pods = tuple(
        pod(name, "", address, ports=(ContainerPort("http", Protocol.TCP, number),))
        for name, address, number in (("x/four", "10.0.0.1", 80), ("x/six", "fd00::2", 8080))
    )
    rule = allow(IN, None, (NamedPort(Protocol.TCP, "http"),))
    compiled = compile_cluster(xy_cluster(pods, policy_of("x/p", rule)), PROFILES["aws-vpc-cni"])
    (known,) = compiled.rules
    assert known.rule.ports == (
        PortRange(Protocol.TCP, 80, 80),
        PortRange(Protocol.TCP, 8080, 8080),
    )


def test_excluded_pods_are_named_with_the_reason() -> None:
    pods = (
        pod("x/a", "", "10.0.0.1"),
        pod("x/done", "", "10.0.0.2", phase="Succeeded"),
        pod("x/host", "", "192.168.0.1", host_network=True),
        pod("x/pending", phase="Pending"),
    )
    compiled = compile_cluster(xy_cluster(pods))
    assert [str(each) for each in compiled.pods] == ["x/a"]
    assert {str(each): why.split()[0] for each, why in compiled.excluded} == {
        "x/done": "finished",
        "x/host": "hostNetwork:",
        "x/pending": "no",
    }
    static = compile_cluster(xy_cluster(pods), static=True)
    assert [str(each) for each in static.pods] == ["x/a", "x/pending"]


def test_a_cni_without_enforcement_says_so() -> None:
    compiled = compile_cluster(
        xy_cluster((pod("x/a", "", "10.0.0.1"),), policy_of("x/p", isolates=(IN,))),
        PROFILES["flannel"],
    )
    assert compiled.rules == ()
    assert "enforces no network policy" in compiled.notes[0]


def test_a_refused_policy_is_noted() -> None:
    named = policy_of("x/named", allow(IN, None, (NamedPort(Protocol.TCP, "http"),)))
    compiled = compile_cluster(xy_cluster((pod("x/a", "", "10.0.0.1"),), named), PROFILES["weave"])
    assert compiled.policies == ()
    assert compiled.notes == ("Weave Net refuses NetworkPolicy x/named: it has a named port",)


def test_an_address_that_is_none_names_its_pod() -> None:
    with pytest.raises(UsageError, match=r"pod x/a: '10\.0\.0\.256' is not an IP address"):
        compile_cluster(xy_cluster((pod("x/a", "", "10.0.0.256"),)))


def test_nothing_compiles() -> None:
    compiled = compile_cluster(xy_cluster(()))
    assert compiled.pods == ()
    assert [plane.families for plane in compiled.planes] == [(4, 6)]


def test_every_stage_has_a_test_of_its_own() -> None:
    stages = {path.stem for path in Path(compiler.__file__).parent.glob("*.py")}
    tested = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    # Records, without a stage.
    assert stages - tested == {"__init__", "compiled"}
