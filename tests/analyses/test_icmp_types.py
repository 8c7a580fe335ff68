"""Types of ICMP: rules that name them, and questions about them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.connections import connections
from kubeverdict.analyses.explain import explain
from kubeverdict.analyses.questions import parse_port
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import UsageError
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Action, Direction, Tier
from kubeverdict.model.ports import IcmpMatch, PortMatch, PortRange, Protocol
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.errors import DoesNotFit
from kubeverdict_agent.lowering.tables import Local, lower
from tests.clusters import records

ADMIN = Tier(100.0, "admin", Action.PASS)
ANY_ICMP = PortRange(Protocol.ICMP, 0, 0)


def cluster(*denied: PortMatch, address: str = "10.0.0.") -> Cluster:
    """Two pods, and a policy that denies ``denied`` to both."""
    rule = records.allow(Direction.INGRESS, None, denied, Action.DENY)
    pods = tuple(
        records.pod(f"x/{name}", "", f"{address}{place}") for place, name in enumerate("ab")
    )
    return records.xy_cluster(pods, records.policy_of("no-icmp", rule, isolates=(), tier=ADMIN))


def allowed(given: Cluster, port: str) -> bool:
    compiled = compile_cluster(given)
    return explain(compiled, "x/a", "x/b", parse_port(port)).allowed


@pytest.mark.parametrize(
    ("denied", "closed", "open_"),
    [
        (ANY_ICMP, ["icmp", "icmp:8", "icmp:3/4"], ["80"]),
        (IcmpMatch(4), ["icmp", "icmp:8", "icmp:0"], ["80"]),
        (IcmpMatch(6), [], ["icmp", "icmp:8"]),
        (IcmpMatch(4, 8), ["icmp:8", "icmp:8/1"], ["icmp", "icmp:0", "80"]),
        (IcmpMatch(4, 3, 4), ["icmp:3/4"], ["icmp", "icmp:3", "icmp:3/5", "icmp:8"]),
    ],
)
def test_a_question_about_a_type(denied: PortMatch, closed: list[str], open_: list[str]) -> None:
    given = cluster(denied)
    assert [port for port in (*closed, *open_) if not allowed(given, port)] == closed


def test_the_version_is_that_of_the_family() -> None:
    assert not allowed(cluster(IcmpMatch(6), address="fd00::"), "icmp")
    assert not allowed(cluster(IcmpMatch(6, 128), address="fd00::"), "icmp6:128")
    assert allowed(cluster(IcmpMatch(6, 128), address="fd00::"), "icmpv6:129")
    # No packet of ICMP of the other version goes between these pods.
    assert not allowed(cluster(IcmpMatch(6, 128), address="fd00::"), "icmp:8")


def test_list_names_the_types() -> None:
    given = cluster(IcmpMatch(4, 8), IcmpMatch(4, 3, 4))
    found = connections(compile_cluster(given))
    texts = {str(one.ports) for one in found.connections}
    assert any(text.endswith("ICMPv4 0-2,3/0-3,3/5-255,4-7,9-255,ICMPv6 0-255") for text in texts)


def test_a_port_can_be_excluded() -> None:
    given = cluster(PortRange(Protocol.TCP))
    (policy,) = given.policies
    excluded = PortRange(Protocol.TCP, 80, 80)
    (rule,) = policy.rules
    narrowed = replace(policy, rules=(replace(rule, excluded_ports=(excluded,)),))
    given = replace(given, policies=(narrowed,))
    assert allowed(given, "80") and not allowed(given, "81")


@pytest.mark.parametrize(
    "port", ["icmp:", "icmp:256", "icmp:x", "icmp:8/", "icmp:8/256", "icmp:-1"]
)
def test_bad_types_are_refused(port: str) -> None:
    with pytest.raises(UsageError, match="icmp:TYPE"):
        parse_port(port)


def test_the_datapath_refuses_what_it_cannot_tell() -> None:
    local = [Local(0, "x", "a", Mode.AUDIT)]
    lower(compile_cluster(cluster(ANY_ICMP)), "", local)
    lower(compile_cluster(cluster(IcmpMatch(4), IcmpMatch(6))), "", local)
    with pytest.raises(DoesNotFit, match="types of ICMP"):
        lower(compile_cluster(cluster(IcmpMatch(4, 8))), "", local)
