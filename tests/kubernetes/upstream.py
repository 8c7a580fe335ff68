"""Kubernetes' own end-to-end tests, run against kubeverdict's agent on each node."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.kubernetes import images
from tests.kubernetes.building import Cluster
from tests.kubernetes.enclosure import Daemon
from tests.kubernetes.feed import Feed
from tests.kubernetes.nodes import Node
from tests.programs.build import program

FOCUS = "Netpol"
# Sockets of these are no part of every kernel.
_SKIPPED = "SCTP"
_BPF = "/sys/fs/bpf"
_SECONDS = 60.0


class Spec(NamedTuple):
    """One of upstream's tests and how it ended: passed, failed or skipped."""

    name: str
    outcome: str
    seconds: float


def run(cluster: Cluster, focus: str = FOCUS) -> list[Spec]:
    """Run the tests whose name has ``focus`` while an agent enforces on each node; upstream's own
    output goes to standard error."""
    suite = program("e2e.test")
    provide_images(cluster, suite)
    reports = cluster.room.folder / "e2e"
    with agents(cluster):
        command = [
            str(suite),
            f"--kubeconfig={cluster.api.kubeconfig}",
            "--provider=skeleton",
            f"--ginkgo.focus={focus}",
            f"--ginkgo.skip={_SKIPPED}",
            "--ginkgo.no-color",
            "--ginkgo.silence-skips",
            f"--report-dir={reports}",
        ]
        subprocess.run(cluster.room.on_network(command), stdout=sys.stderr, check=False)
    return specs(reports)


def specs(reports: Path) -> list[Spec]:
    """What the reports of a run say, without the tests that were not selected."""
    found = []
    for path in sorted(reports.glob("junit*.xml")):
        for case in ElementTree.parse(path).iter("testcase"):
            name = case.get("name", "")
            if not name.startswith("[It]"):
                continue
            skipped = case.find("skipped") is not None
            failed = case.find("failure") is not None or case.find("error") is not None
            if (
                skipped
                and case.get("status") == "skipped"
                and not case.get("time", "0").strip("0.")
            ):
                continue
            outcome = "failed" if failed else "skipped" if skipped else "passed"
            found.append(Spec(name, outcome, float(case.get("time", "0"))))
    if not found:
        raise RuntimeError(f"upstream's tests left no results in {reports}")
    return found


def provide_images(cluster: Cluster, suite: Path) -> None:
    """Put the images that the tests ask for on each node, under the names that they use."""
    listed = subprocess.run([suite, "--list-images"], capture_output=True, text=True, check=True)
    names = [
        name
        for name in listed.stdout.split()
        if name.rpartition("/")[2].startswith(("agnhost:", "pause:"))
    ]
    archive = cluster.room.folder / "images-of-e2e.tar"
    images.write(program("agnhost"), names, ["pause"], archive)
    for node in cluster.nodes:
        node.room.run("ctr", "--namespace=k8s.io", "images", "import", str(archive))


@contextmanager
def agents(cluster: Cluster) -> Iterator[None]:
    """An agent on each node, enforcing, for as long as the block lasts."""
    folder = cluster.room.folder / "objects"
    with Feed(cluster.api, folder):
        running = [_agent(node, folder) for node in cluster.nodes]
        try:
            _wait(cluster.nodes, running)
            yield
        finally:
            for node, daemon in zip(cluster.nodes, running, strict=True):
                daemon.stop()
                _call(node, "detach")
                node.room.run("umount", _BPF)


def _agent(node: Node, objects: Path) -> Daemon:
    # Of its own: what an agent pins belongs to its node.
    node.room.run("mount", "-t", "bpf", "-o", "mode=0700", "bpf", _BPF)
    return node.room.start(
        f"{node.name}-agent",
        [
            *(sys.executable, "-m", "kubeverdict_agent", "run"),
            f"--node={node.name}",
            f"--filename={objects}",
            "--mode=*=enforce",
            # Nothing was connected before.
            "--adopt=0",
            # The file is replaced as a whole, and what is removed is meant.
            "--confirm-after=0",
        ],
    )


def _call(node: Node, verb: str) -> None:
    node.room.run(sys.executable, "-m", "kubeverdict_agent", verb)


def _wait(nodes: Sequence[Node], running: Sequence[Daemon]) -> None:
    """Until each agent answers."""
    deadline = time.monotonic() + _SECONDS
    for node, daemon in zip(nodes, running, strict=True):
        while True:
            daemon.check()
            try:
                _call(node, "status")
                break
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
