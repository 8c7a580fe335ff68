from __future__ import annotations

import pytest

from kubeverdict.analyses.ends import find_end, find_service
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import UsageError
from kubeverdict.model.cluster import Node, Service
from tests.clusters.records import cluster, pod

PODS = [
    pod("shop/web-0", "", "10.0.0.1", "2001:db8::1", workload="web"),
    pod("shop/web-1", "", "10.0.0.2", workload="web"),
    pod("shop/done", "", "10.0.0.3", workload="web", phase="Succeeded"),
    pod("shop/db", "", "10.0.0.4", workload="db", kind="StatefulSet"),
    pod("data/both-0", "", "10.0.0.5", workload="both"),
    pod("data/both-1", "", "10.0.0.6", workload="both", kind="StatefulSet"),
    pod("kube/agent", "", "192.168.0.1", host_network=True),
    pod("shop/waiting", "", phase="Pending"),
    # Addresses move on: a running pod has them.
    pod("shop/old", "", "10.0.0.7", phase="Pending"),
    pod("shop/new", "", "10.0.0.7", phase="Running"),
]


@pytest.fixture(scope="module")
def compiled() -> CompiledPolicy:
    return compile_cluster(
        cluster(
            PODS,
            nodes=[Node("node-1", ("192.168.0.1", "192.168.0.9"))],
            services=[Service("shop", "web", {"app": "web"})],
        )
    )


@pytest.mark.parametrize(
    ("text", "name", "parties"),
    [
        ("shop/web-0", "shop/web-0", ["shop/web-0"]),
        ("shop/web", "shop/web[Deployment]", ["shop/web-0", "shop/web-1"]),
        ("deploy/shop/web", "shop/web[Deployment]", ["shop/web-0", "shop/web-1"]),
        ("Deployments/shop/web", "shop/web[Deployment]", ["shop/web-0", "shop/web-1"]),
        # A pod goes before a workload of its name.
        ("shop/db", "shop/db", ["shop/db"]),
        ("sts/shop/db", "shop/db[StatefulSet]", ["shop/db"]),
        ("po/shop/db", "shop/db", ["shop/db"]),
        ("8.8.8.8", "8.8.8.8", ["8.8.8.8"]),
        ("2001:DB8:0::9", "2001:db8::9", ["2001:db8::9"]),
        # The address of a pod is that pod.
        ("10.0.0.2", "shop/web-1", ["shop/web-1"]),
        ("2001:db8:0::1", "shop/web-0", ["shop/web-0"]),
        ("10.0.0.7", "shop/new", ["shop/new"]),
        ("192.168.0.9", "192.168.0.9", ["192.168.0.9"]),
    ],
)
def test_names_and_addresses(
    compiled: CompiledPolicy, text: str, name: str, parties: list[str]
) -> None:
    end = find_end(compiled, text)
    assert end.name == name
    assert [party.name for party in end.parties] == parties


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("shop/web", "shop/done is left out: finished"),
        ("10.0.0.2", "10.0.0.2 is the address of pod shop/web-1"),
        ("192.168.0.9", "192.168.0.9 is the address of node node-1"),
        ("kube/agent", "policies see it as 192.168.0.1"),
    ],
)
def test_what_one_should_know_of_an_end_is_noted(
    compiled: CompiledPolicy, text: str, note: str
) -> None:
    assert note in " ".join(find_end(compiled, text).notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop/wep", 'no pod or workload shop/wep in the input .did you mean "web"'),
        ("shop/web-00", 'did you mean "web-0"'),
        ("data/web", "there is shop/web"),
        ("shpo/web", "there is shop/web"),
        ("shpo/webb", 'did you mean "shop/web"'),
        ("ops/queue", "nor any in namespace ops"),
        ("sts/shop/web", "no statefulset shop/web in the input"),
        ("data/both", "use deployment/data/both or statefulset/data/both"),
        ("web", "use NAMESPACE/NAME"),
        ("", "use NAMESPACE/NAME"),
        ("a/b/c/d", "use NAMESPACE/NAME"),
        ("10.0.0.300", "use NAMESPACE/NAME"),
        ("shop/done", "left out: finished"),
        ("shop/waiting", "left out: no address yet"),
        ("svc/shop/web", "only be asked about as the destination"),
    ],
)
def test_what_cannot_be_an_end(compiled: CompiledPolicy, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_end(compiled, text)


def test_services(compiled: CompiledPolicy) -> None:
    found = find_service(compiled, "svc/shop/web")
    assert found is not None and str(found) == "shop/web"
    assert find_service(compiled, "services/shop/web") is found
    assert find_service(compiled, "shop/web") is None
    assert find_service(compiled, "10.0.0.1") is None
    with pytest.raises(UsageError, match=r'no Service shop/wep .*did you mean "web"'):
        find_service(compiled, "svc/shop/wep")
