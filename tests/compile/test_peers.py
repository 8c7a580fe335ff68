"""Peers that are evaluated from others and from who the nodes are."""

from __future__ import annotations

import pytest

from kubeverdict.compile.rules import ANY_NODE
from kubeverdict.model.policy import (
    Action,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    Peer,
    Tier,
)
from tests.clusters.records import allow, block, pods_in, policy_of, selector
from tests.compile.stages import held, made, names, only_plane, shop

ADMIN = Tier(1.0, "admin", Action.PASS)
DB, WEB = "data/db-0", "shop/web-0 shop/web-1"
HOSTS = ["host 192.168.0.1", "host 192.168.0.2"]
EVERYONE = ExceptPeer(NamedPeer(EndSet.ALL), (block("0.0.0.0/0"), block("::/0")))


def ends(peer: Peer) -> dict[int, list[str]]:
    """Who a peer is, by the node of the subject; the node of web-1 is 1."""
    found = made(shop(policy_of("p", allow(Direction.INGRESS, (peer,)), tier=ADMIN)))
    plane = only_plane(found)
    by_position = names(found, plane)
    number = found.questions.others[peer]  # type: ignore[index]
    return {
        node: held(plane.base.sets, which, by_position)
        for node, which in plane.base.others[number].items()
    }


def pods_and_hosts(peer: Peer) -> list[str]:
    """The same where it is no matter of the node, and of addresses hosts alone."""
    found = ends(peer)
    assert list(found) == [ANY_NODE]
    return [name for name in found[ANY_NODE] if name in (DB, WEB, *HOSTS)]


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (NamedPeer(EndSet.WORLD), []),
        (NamedPeer(EndSet.CLUSTER), [DB, WEB, *HOSTS]),
        (NamedPeer(EndSet.NODES), HOSTS),
        (NodePeer(), HOSTS),
        (NodePeer(selector("zone=b")), HOSTS[1:]),
        (NodePeer(selector("zone=c")), []),
        (
            ExceptPeer(NamedPeer(EndSet.CLUSTER), (NodePeer(selector("zone=a")),)),
            [DB, WEB, HOSTS[1]],
        ),
        (ExceptPeer(NamedPeer(EndSet.ALL), (pods_in("shop"), NamedPeer(EndSet.NODES))), [DB]),
        (ExceptPeer(pods_in("shop"), (pods_in("shop", "app=web"),)), []),
        # Blocks hold pods too.
        (EVERYONE, []),
        (ExceptPeer(block("10.0.0.0/24"), ()), [WEB]),
    ],
)
def test_who_it_is(peer: Peer, expected: list[str]) -> None:
    assert pods_and_hosts(peer) == expected


def test_the_world_is_the_addresses_that_are_no_hosts() -> None:
    (found,) = ends(NamedPeer(EndSet.WORLD)).values()
    assert found == ["0.0.0.0/0"]


def test_the_node_of_the_subject() -> None:
    # By node, groups of pods are distinguished: web-0 and db-0 run on node 0, web-1 on node 1.
    assert ends(NamedPeer(EndSet.HOST)) == {0: HOSTS[:1], 1: HOSTS[1:]}
    assert ends(NamedPeer(EndSet.REMOTE_NODE)) == {0: HOSTS[1:], 1: HOSTS[:1]}
    not_own = ExceptPeer(NamedPeer(EndSet.NODES), (NamedPeer(EndSet.HOST),))
    assert ends(not_own) == ends(NamedPeer(EndSet.REMOTE_NODE))


def test_pods_by_the_node_that_they_run_on() -> None:
    rule = allow(Direction.INGRESS, (NamedPeer(EndSet.HOST),))
    found = made(shop(policy_of("p", rule, tier=ADMIN)))
    plane = only_plane(found)
    by_position = names(found, plane)
    assert {
        node: held(plane.base.sets, which, by_position)
        for node, which in plane.base.on_node.items()
    } == {0: [DB, "shop/web-0"], 1: ["shop/web-1"]}
