"""Nodes: pods run and reach each other, and nothing of them is left."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from tests.kubernetes import enclosure
from tests.kubernetes.addresses import Family
from tests.kubernetes.api import Object
from tests.kubernetes.building import Cluster, Plan, running
from tests.kubernetes.mounts import mounts
from tests.kubernetes.nodes import AGNHOST
from tests.programs.build import cache, program

pytestmark = pytest.mark.programs

PORT = 8080
_SECONDS = 60


def pod(name: str, node: str) -> Object:
    container = {
        "name": "main",
        "image": AGNHOST,
        "imagePullPolicy": "Never",
        "args": ["netexec", f"--http-port={PORT}"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"nodeName": node, "containers": [container]},
    }


def start(cluster: Cluster, name: str, node: str) -> list[str]:
    """Start a pod; its addresses, once it runs."""
    wanted = pod(name, node)
    path = cluster.api.path_of(wanted)
    cluster.api.apply(path, wanted)
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        found = cluster.api.get(path)["status"]
        if found.get("phase") == "Running":
            return [address["ip"] for address in found["podIPs"]]
        time.sleep(0.2)
    raise AssertionError(f"{name} does not run: {found}")


def reaches(cluster: Cluster, name: str, address: str, port: int) -> bool:
    host = f"[{address}]" if ":" in address else address
    done = subprocess.run(
        cluster.room.on_network(
            [
                *(str(program("kubectl")), f"--kubeconfig={cluster.api.kubeconfig}"),
                *("exec", name, "--", "/agnhost", "connect", f"{host}:{port}", "--timeout=2s"),
            ]
        ),
        capture_output=True,
        text=True,
    )
    return done.returncode == 0


def test_pods_reach_each_other_and_services(cluster: Cluster) -> None:
    server = start(cluster, "server", cluster.nodes[0].name)
    start(cluster, "client", cluster.nodes[1].name)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server"},
        "spec": {
            "selector": {"app": "server"},
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [{"port": 80, "targetPort": PORT}],
        },
    }
    made = cluster.api.apply(cluster.api.path_of(service), service)
    assert len(server) == 2
    for address in server:
        assert reaches(cluster, "client", address, PORT), address
        assert not reaches(cluster, "client", address, PORT + 1), address
    for address in made["spec"]["clusterIPs"]:
        deadline = time.monotonic() + _SECONDS
        while not reaches(cluster, "client", address, 80):
            assert time.monotonic() < deadline, f"the service does not answer at {address}"


def control_groups() -> set[str]:
    return {folder for folder, _, _ in os.walk("/sys/fs/cgroup")}


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_nothing_is_left_of_a_node_with_a_pod(family: Family) -> None:
    before = control_groups(), mounts(), os.listdir("/sys/class/net")
    folder = cache().parent / f"cluster-of-tests-{family}-{os.getpid()}"
    with running(folder, Plan(nodes=1, family=family, kube_proxy="none")) as cluster:
        (address,) = start(cluster, "server", cluster.nodes[0].name)
        assert (":" in address) == (family == "ipv6")
        assert control_groups() > before[0]
        panic = cluster.nodes[0].room.run("cat", "/proc/sys/kernel/panic")
    assert panic == "10\n", "the kubelet sets it in what its room shows it"
    after = control_groups(), mounts(), os.listdir("/sys/class/net")
    assert after == before
    assert enclosure.find(folder) is None and not folder.exists()
