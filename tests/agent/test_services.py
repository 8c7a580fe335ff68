"""Addresses of Services in the tables of a node: a packet passes where policy allows all that it
may be sent to. What the kernel says is compared with the naive account of where that is."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import numpy as np
import pytest
from msgspec.structs import replace

from bench.lab import bpffs
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.ends import address_ids, pod_id
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import REFERENCE
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.lowering.tables import Local, lower
from tests.agent.packets import probe
from tests.agent.programs import Bench, needs_root
from tests.clusters.records import policy_of
from tests.clusters.services import ASKED, Made, policies
from tests.services import inputs, naive

pytestmark = needs_root

PROXIED = "203.0.113.2"  # of a balancer that forwards itself: an address like any other


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with bpffs() as folder:
        datapath = NodeDatapath.open(folder / "services", flows=1024)
        datapath.set_stateless(True)
        yield Bench(datapath)
        datapath.close()


def publish(bench: Bench, compiled: CompiledPolicy, pod: Pod, node: str) -> None:
    bench.datapath.publish(lower(compiled, node, [Local(0, pod.namespace, pod.name, Mode.ENFORCE)]))
    bench.bind(0)


@pytest.mark.parametrize("listed", ["apiserver-slice", "apiserver-endpoints"])
def test_the_api_server_is_reached_by_its_cluster_ip(bench: Bench, listed: str) -> None:
    compiled = inputs.compiled(("apiserver", listed, "apiserver-policy"))
    (controller,) = compiled.pods
    publish(bench, compiled, controller, "n1")
    own, cluster_ip = controller.addresses[0], "10.96.0.1"
    assert bench.leaves(probe(own, cluster_ip, Protocol.TCP, 443))
    assert not bench.leaves(probe(own, cluster_ip, Protocol.TCP, 6443))
    assert not bench.leaves(probe(own, cluster_ip, Protocol.UDP, 443))
    # Without endpoints nothing is known of where it leads.
    unknown = inputs.compiled(("apiserver", "apiserver-policy"))
    publish(bench, unknown, controller, "n1")
    assert not bench.leaves(probe(own, cluster_ip, Protocol.TCP, 443))


@pytest.mark.parametrize(
    ("address", "port", "passes"),
    [
        ("10.96.0.20", 80, True),
        ("10.96.0.20", 8080, False),
        ("198.51.100.9", 80, True),
        ("203.0.113.50", 80, True),
        ("203.0.113.51", 80, False),  # the balancer forwards it itself
        ("192.168.1.1", 30080, True),
        ("192.168.1.2", 30080, True),
        ("192.168.1.2", 22, False),
    ],
)
def test_every_kind_of_address(bench: Bench, address: str, port: int, passes: bool) -> None:
    compiled = inputs.compiled(inputs.BALANCER)
    web = next(pod for pod in compiled.pods if pod.name == "web")
    publish(bench, compiled, web, "n1")
    assert bench.leaves(probe(web.addresses[0], address, Protocol.TCP, port)) is passes


def test_the_own_node_still_reaches_its_pods(bench: Bench) -> None:
    """Its address has ports of Services, and is its own as well."""
    known = inputs.cluster(inputs.BALANCER)
    closed = policy_of("shop/closed", isolates=(Direction.INGRESS,))
    compiled = compile_cluster(replace(known, policies=(*known.policies, closed)), REFERENCE)
    web = next(pod for pod in compiled.pods if pod.name == "web")
    publish(bench, compiled, web, "n1")
    own = web.addresses[0]
    assert bench.arrives(probe("192.168.1.1", own, Protocol.TCP, 80))
    assert not bench.arrives(probe("192.168.1.2", own, Protocol.TCP, 80))
    assert not bench.arrives(probe("10.96.0.20", own, Protocol.TCP, 80))


def all_allowed(compiled: CompiledPolicy, pod: Pod, ends: set[naive.End], family: int) -> bool:
    by_name = {str(one): one for one in compiled.cluster.pods}
    for name, port in ends:
        other = by_name.get(name)
        if other is not None:
            end = pod_id(compiled, other)
        else:
            end = int(address_ids(compiled, [name])[0])
        decided = judge(
            compiled,
            [pod_id(compiled, pod)],
            [end],
            [Protocol.TCP],
            [port],
            family=family,  # type: ignore[arg-type]
            through_service=True,
        ).egress[0]
        if decided == Reason.NO_RULE_MATCHES:
            return False
    return True


def takes_part(compiled: CompiledPolicy, name: str) -> bool:
    pod = next((one for one in compiled.cluster.pods if str(one) == name), None)
    if pod is None:
        return True
    return (pod.namespace, pod.name) in compiled.pod_ids or (
        pod.host_network and bool(pod.addresses)
    )


def test_generated_services_pass_where_all_backends_are_allowed(bench: Bench) -> None:
    seen = {True: 0, False: 0}
    for seed in range(48):
        cluster = replace(Made(seed).cluster, policies=policies(seed))
        compiled = compile_cluster(cluster, REFERENCE)
        shared = np.array([address for pod in compiled.pods for address in pod.addresses])
        for pod in compiled.pods:
            own = [one for one in pod.addresses if np.count_nonzero(shared == one) == 1]
            if not pod.node or not own:
                continue
            publish(bench, compiled, pod, pod.node)
            for address in own:
                family = ip_address(address).version
                for asked in ASKED:
                    if asked == PROXIED or ip_address(asked).version != family:
                        continue
                    for port in (80, 81, 30080, 30081):
                        told = naive.where(cluster, asked, Protocol.TCP, port, pod.node, True)
                        if isinstance(told, str):
                            continue
                        assert isinstance(told, set)
                        ends = {one for one in told if takes_part(compiled, one[0])}
                        if ends:
                            expected = all_allowed(compiled, pod, ends, family)
                            seen[expected] += 1
                            passed = bench.leaves(probe(address, asked, Protocol.TCP, port))
                            assert passed is expected, (seed, str(pod), asked, port, ends)
    assert min(seen.values()) >= 20, seen
