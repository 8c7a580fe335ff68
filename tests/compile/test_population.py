"""Who takes part: managed pods, hosts, and who is left out."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from kubeverdict.compile.population import namespace_labels, populate
from kubeverdict.errors import UsageError
from kubeverdict.model.cluster import METADATA_NAME, Node
from kubeverdict.model.profile import PROFILES, REFERENCE
from tests.clusters.records import cluster, pod, policy
from tests.compile.stages import shop


def test_pods_are_managed_or_hosts_or_left_out() -> None:
    found = populate(shop(), REFERENCE, static=False)
    assert list(map(str, found.pods)) == ["shop/web-0", "shop/web-1", "data/db-0"]
    assert [(str(one), why) for one, why in found.excluded] == [
        ("data/agent", "hostNetwork: it is an address of its node"),
        ("data/done", "finished (Succeeded)"),
    ]
    assert found.pod_ids == {("shop", "web-0"): 0, ("shop", "web-1"): 1, ("data", "db-0"): 2}


def test_addresses_of_pods_are_numbers_by_family() -> None:
    pods = [pod("x/a", "", "fd00::1:2", "10.0.0.1"), pod("x/b", "", "10.0.0.2"), pod("x/c")]
    found = populate(cluster(pods), REFERENCE, static=False)
    assert found.ipv4.tolist() == [int(ip_address("10.0.0.1")), int(ip_address("10.0.0.2")), 0]
    assert found.ipv6.tolist() == [[0xFD00 << 48, 0x10002], [0, 0], [0, 0]]
    assert found.has_ipv4.tolist() == [True, True, False]
    assert found.has_ipv6.tolist() == [True, False, False]
    # A pod without an address can use both.
    assert found.anywhere.tolist() == [False, False, True]
    assert found.has(6).tolist() == [True, False, True]


def test_nodes_are_numbered_as_they_come_and_hosts_know_theirs() -> None:
    nodes = [Node("n3", ("192.168.0.3", "fd00:1::3"), {"zone": "c"}), Node("n1", ("192.168.0.1",))]
    found = populate(shop(nodes=nodes), REFERENCE, static=False)
    assert found.nodes == {"n1": 0, "n2": 1, "n3": 2}
    assert found.node.tolist() == [0, 1, 0]
    assert list(map(str, found.hosts)) == ["192.168.0.3", "fd00:1::3", "192.168.0.1"]
    assert found.host_node.tolist() == [2, 2, 0]
    assert found.node_labels == {2: {"zone": "c"}, 0: {}}


def test_pods_on_the_host_network_are_kept_where_selectors_find_them() -> None:
    assert populate(shop(), REFERENCE, static=False).host_pods == ()
    always = replace(REFERENCE, hostnetwork_peers="always")
    ((host_pod, host),) = populate(shop(), always, static=False).host_pods
    assert (str(host_pod), host) == ("data/agent", 0)


def test_replicas_share_their_labels_and_ports() -> None:
    pods = [pod("x/a", "app=web"), pod("x/b", "app=web"), pod("x/c", "app=db")]
    found = populate(cluster(pods), REFERENCE, static=False)
    assert found.labels.tolist() == [0, 0, 1]
    assert found.label_sets == ((("app", "web"),), (("app", "db"),))
    assert found.ports.tolist() == [0, 0, 0] and found.port_lists == ((),)


def test_pods_that_wait_for_an_address_count_where_labels_alone_are_judged() -> None:
    made = cluster([pod("x/waiting", phase="Pending")])
    ((_, reason),) = populate(made, REFERENCE, static=False).excluded
    assert reason == "no address yet (Pending)"
    assert len(populate(made, REFERENCE, static=True).pods) == 1


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="pod x/a: 'nonsense' is not an IP address"):
        populate(cluster([pod("x/a", "", "nonsense")]), REFERENCE, static=False)


def test_a_cni_of_one_family_takes_the_first_address() -> None:
    made = cluster([pod("x/a", "", "10.0.0.1", "fd00::1")])
    single = next(one for one in PROFILES.values() if not one.dual_stack)
    found = populate(made, single, static=False)
    assert (found.has_ipv4.tolist(), found.has_ipv6.tolist()) == ([True], [False])


def test_namespaces_that_only_pods_and_policies_name() -> None:
    made = replace(cluster([pod("b/a")], [policy("c/p", ingress=[])]), namespaces=())
    assert namespace_labels(made) == {name: {METADATA_NAME: name} for name in ("b", "c")}
