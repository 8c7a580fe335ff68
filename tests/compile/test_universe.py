"""Positions of a plane, and the sets over them that rules are made of."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.compile.compiler import Compilation
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import NamedPort, Protocol
from kubeverdict.model.profile import REFERENCE
from tests.clusters.records import (
    allow,
    block,
    cluster,
    pod,
    pods_in,
    pods_where,
    policy,
    policy_of,
    selector,
    tcp,
)
from tests.compile.stages import held, made, names, only_plane, shop

IN, OUT = Direction.INGRESS, Direction.EGRESS
FROM_WEB = policy("data/in", "app=db", ingress=[([pods_in("shop", "app=web")], [tcp("http")])])
TO_HOSTS = policy("shop/out", egress=[([block("192.168.0.0/24")], None)])
HTTP = NamedPort(Protocol.TCP, "http")
ALWAYS = replace(REFERENCE, hostnetwork_peers="always")


def by_position(found: Compilation) -> list[str]:
    return names(found, only_plane(found))


def test_groups_of_pods_come_first_then_addresses_with_their_hosts() -> None:
    positions = by_position(made(shop(FROM_WEB, TO_HOSTS)))
    assert positions[:2] == ["data/db-0", "shop/web-0 shop/web-1"]
    # Hosts are no more than addresses here.
    assert "host 192.168.0.1 host 192.168.0.2" in positions[3]
    assert len(positions) == 2 + 4  # three of IPv4 and one of IPv6


def test_hosts_have_positions_of_their_own_where_selectors_find_their_pods() -> None:
    positions = by_position(made(shop(FROM_WEB, TO_HOSTS), ALWAYS))
    assert positions[:3] == ["data/db-0", "data/agent on host", "shop/web-0 shop/web-1"]
    assert positions[-2:] == ["host 192.168.0.1", "host 192.168.0.2"]


def test_a_pod_in_a_block_is_distinguished_by_its_address() -> None:
    to_first = policy("data/out", egress=[([block("10.0.0.1/32")], None)])
    positions = by_position(made(shop(to_first)))
    assert positions[:3] == ["data/db-0", "shop/web-1", "shop/web-0"]


DUAL = [pod(f"x/p{n}", f"n={n}", f"10.0.0.{n}", f"fd00::{n}") for n in (1, 2)]


@pytest.mark.parametrize(
    ("found", "families"),
    [
        (cluster(DUAL), [(4, 6)]),
        (cluster(DUAL, [policy("x/p", egress=[([block("203.0.113.0/24")], None)])]), [(4, 6)]),
        (cluster(DUAL, [policy("x/p", egress=[([block("10.0.0.1/32")], None)])]), [(4,), (6,)]),
        (cluster([*DUAL, pod("x/old", "", "10.0.0.9")]), [(4,), (6,)]),
        (cluster([pod("x/old", "", "10.0.0.9")]), [(4,)]),
        (cluster([]), [(4, 6)]),
    ],
    ids=("alike", "outside", "a pod's address", "one has one only", "one family", "no pods"),
)
def test_planes_are_distinguished_where_a_pod_is(found: Cluster, families: object) -> None:
    assert [plane.universe.families for plane in made(found).planes] == families


def test_sets_of_selectors_blocks_and_names() -> None:
    found = made(shop(FROM_WEB, TO_HOSTS))
    plane, positions = only_plane(found), by_position(found)
    base, questions = plane.base, found.questions
    by_name = {
        asked: held(base.sets, base.subjects[number], positions)
        for asked, number in questions.selectors.items()
    }
    assert by_name == {
        ("data", selector("app=db"), False): ["data/db-0"],
        ("shop", selector("app=web"), True): ["shop/web-0 shop/web-1"],
        ("shop", selector(""), False): ["shop/web-0 shop/web-1"],
    }
    (of_block,) = (held(base.sets, number, positions) for number in base.blocks)
    assert of_block == [positions[3]]
    assert {number: held(base.sets, which, positions) for number, which in base.named[HTTP]} == {
        8080: ["shop/web-0 shop/web-1"],
        9090: ["data/db-0"],
    }
    assert held(base.sets, 0, positions) == positions and held(base.sets, 1, positions) == []


def test_namespaces_are_selected_by_their_labels() -> None:
    from_teams = policy("data/in", ingress=[([pods_where("team=a"), pods_where("team=z")], None)])
    found = made(shop(from_teams))
    base, positions = only_plane(found).base, by_position(found)
    asked = {where: number for (where, _, _), number in found.questions.selectors.items()}
    sets = {
        where: held(base.sets, base.peers[number], positions) for where, number in asked.items()
    }
    assert sets[selector("team=a")] == ["shop/web-0 shop/web-1"]
    assert sets[selector("team=z")] == []


def test_a_pod_on_the_host_network_is_found_as_a_peer_and_never_as_a_subject() -> None:
    agents = pods_in("data", "app=agent")
    found = made(
        shop(policy_of("data/p", allow(IN, (agents,)), pods=selector("app=agent"))), ALWAYS
    )
    base, positions = only_plane(found).base, by_position(found)
    subject, peer = found.questions.drafts[0].subject, found.questions.drafts[0].selectors[0]
    assert held(base.sets, base.subjects[subject], positions) == []
    assert held(base.sets, base.peers[peer], positions) == ["host 192.168.0.1"]
