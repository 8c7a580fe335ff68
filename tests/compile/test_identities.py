"""What no rule distinguishes becomes one identity."""

from __future__ import annotations

from kubeverdict.compile.compiled import Plane
from kubeverdict.compile.compiler import Compilation
from kubeverdict.compile.sets import ALL, members
from kubeverdict.kernels.flows import HOST, IPV4, IPV6
from kubeverdict.model.cluster import Cluster
from tests.clusters.records import block, pods_in, policy, tcp
from tests.compile.stages import end_names, made, shop

FROM_WEB = policy("data/in", "app=db", ingress=[([pods_in("shop", "app=web")], [tcp(80)])])
# Asks for a label that distinguishes replicas, of pods that are not there.
ASKS = policy("data/hash", "hash=1", ingress=[])
OUT = policy("shop/out", egress=[([block("203.0.113.0/24"), block("198.51.100.0/24")], [tcp(443)])])


def identities(compiled: Compilation) -> dict[int, list[str]]:
    """The ends of each identity."""
    (plane,) = compiled.compiled.planes
    found: dict[int, list[str]] = {}
    for name, identity in zip(end_names(compiled), plane.ends.identity.tolist(), strict=True):
        found.setdefault(identity, []).append(name)
    return found


def plane_of(cluster: Cluster) -> Plane:
    (plane,) = made(cluster).compiled.planes
    return plane


def test_pods_are_numbered_from_0_and_what_is_outside_from_the_next_word() -> None:
    found = identities(made(shop(FROM_WEB)))
    assert found[0] == ["data/db-0"]
    assert found[1] == ["shop/web-0", "shop/web-1"]
    plane = plane_of(shop(FROM_WEB))
    assert (plane.pods, plane.external, plane.size) == (2, 64, 65)
    assert plane.weight.tolist() == [1, 2, *[0] * 63]
    # One of outside: addresses and the hosts among them. Of IPv6 nobody has an address.
    assert found[64] == ["host 192.168.0.1", "host 192.168.0.2", "0.0.0.0/0"]
    assert found[-1] == ["::/0"]


def test_groups_that_no_row_tells_apart_are_one_identity() -> None:
    compiled = made(shop(FROM_WEB, ASKS))
    (parts,) = compiled.planes
    assert parts.universe.groups.count == 3
    assert identities(compiled)[1] == ["shop/web-0", "shop/web-1"]


def test_addresses_in_the_same_rules_are_one_identity() -> None:
    found = identities(made(shop(OUT)))
    assert found[65] == ["198.51.100.0/24", "203.0.113.0/24"]
    assert len(found[64]) == 2 + 3 and "host 192.168.0.1" in found[64]


def test_rules_are_renumbered_with_their_sets() -> None:
    plane = plane_of(shop(FROM_WEB, OUT))
    rows = plane.rows

    def ends(which: int) -> list[int]:
        return list(members(plane.sets, which))

    found = [
        (ends(subject), "anyone" if peer == ALL else ends(peer), rule)
        for subject, peer, rule in zip(
            rows.subject.tolist(), rows.peer.tolist(), rows.rule.tolist(), strict=True
        )
    ]
    assert found == [([0], [1], 0), ([0], "anyone", -2), ([1], [65], 1), ([1], "anyone", -2)]
    assert plane.ingress_rows == 2
    assert ends(ALL) == [0, 1, 64, 65]


def test_what_is_known_of_ends() -> None:
    compiled = made(shop(FROM_WEB))
    (plane,) = compiled.compiled.planes
    about = dict(zip(end_names(compiled), plane.ends.about.tolist(), strict=True))
    assert about == {
        "shop/web-0": IPV4,
        "shop/web-1": IPV4,
        "data/db-0": IPV4,
        "host 192.168.0.1": HOST | IPV4,
        "host 192.168.0.2": HOST | IPV4,
        "0.0.0.0/0": IPV4,
        "::/0": IPV6,
    }
