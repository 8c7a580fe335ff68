"""Upstream's end-to-end tests of NetworkPolicy pass while the agent enforces on each node."""

from __future__ import annotations

import os

import pytest

from tests.kubernetes import upstream
from tests.kubernetes.addresses import Family
from tests.kubernetes.building import Cluster, Plan, running
from tests.kubernetes.nodes import KubeProxy
from tests.programs.build import cache

pytestmark = pytest.mark.programs

# What the suite has without SCTP.
_SPECS = 45
# A dozen: each direction, kind of peer, ports, changes of policies and of labels.
_CHOSEN = (
    "support a 'default-deny-all' policy",
    "enforce policy based on PodSelector and NamespaceSelector",
    "enforce egress policy allowing traffic to a server in a different namespace",
    "enforce multiple, stacked policies with overlapping podSelectors",
    "allow ingress access on one named port",
    "allow egress access on one named port",
    "enforce except clause while egress access to server in CIDR block",
    "allow ingress access from updated namespace",
    "deny ingress access to updated pod",
    "stop enforcing policies after they are deleted",
    "not allow access by TCP when a policy specifies only UDP",
    "using UDP should enforce policy based on Ports",
)


def check(found: list[upstream.Spec], count: int) -> None:
    assert [spec for spec in found if spec.outcome != "passed"] == []
    assert len(found) == count


def test_a_dozen(cluster: Cluster) -> None:
    check(upstream.run(cluster, "Netpol.*(" + "|".join(_CHOSEN) + ")"), len(_CHOSEN))


@pytest.mark.long
@pytest.mark.parametrize("proxy", ["nftables", "iptables"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("nodes", [1, 3])
def test_all(nodes: int, family: Family, proxy: KubeProxy) -> None:
    folder = cache().parent / f"cluster-of-tests-{nodes}-{family}-{proxy}-{os.getpid()}"
    with running(folder, Plan(nodes, family, proxy)) as cluster:
        check(upstream.run(cluster), _SPECS)
