"""Two versions compared, on cases that generated clusters once found wrong."""

from __future__ import annotations

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.delta import Delta, delta
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Direction, PodPeer
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from tests.clusters.records import allow, label, pod, policy_of, xy_cluster

WEB = pod("x/web", "app=web", "10.0.0.1")
CLIENT = pod("x/client", "app=client", "10.0.0.2")
FROM_CLIENTS = policy_of(
    "x/p",
    allow(Direction.INGRESS, (PodPeer(label("app", "client"), "x"),)),
    pods=label("app", "web"),
)


def between(old: Cluster, new: Cluster, profile: Profile = REFERENCE) -> Delta:
    return delta(compile_cluster(old, profile), compile_cluster(new, profile))


def test_nothing_changes() -> None:
    same = xy_cluster((WEB, CLIENT), FROM_CLIENTS)
    change = between(same, same)
    assert [(one.pairs_opened, one.pairs_closed) for one in change.counts] == [(0, 0)]
    assert not list(change.rows(change.planes[0]))


def test_a_pod_that_is_new_opens_only_what_is_about_it() -> None:
    """It has the rules of its like, and must not be taken for one of them."""
    twin = pod("x/client-2", "app=client", "10.0.0.3")
    change = between(
        xy_cluster((WEB, CLIENT), FROM_CLIENTS), xy_cluster((WEB, CLIENT, twin), FROM_CLIENTS)
    )
    (counts,) = change.counts
    # To the web server, both ways between the clients, and from the web server to the new one.
    assert (counts.pairs_opened, counts.pairs_closed) == (4, 0)


def test_a_host_that_only_one_version_knows_is_a_plain_address_in_the_other() -> None:
    host = pod("x/proxy", "app=client", "192.168.0.1", host_network=True)
    change = between(
        xy_cluster((WEB,), FROM_CLIENTS),
        xy_cluster((WEB, host), FROM_CLIENTS),
        PROFILES["aws-vpc-cni"],
    )
    (plane,) = change.planes
    at_host = int(plane.identity[change.ends.pods + change.ends.hosts.index("192.168.0.1")])
    opened = [row for row in change.rows(plane) if at_host in row.sources]
    assert [(bool(row.before.any()), bool(row.after.all())) for row in opened] == [(False, True)]
