"""``./run cluster`` as it is typed: up, used, killed, down, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes import enclosure
from tests.kubernetes.mounts import mounts
from tests.programs.build import cache, program

ROOT = Path(__file__).parents[2]


class Command:
    """The command of a user whose cache is a folder of the test; the programs are shared."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "kubeverdict" / "cluster"
        self._environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(home),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.kubernetes", *arguments],
            env=self._environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            output, errors = process.communicate(timeout=300)
        return process.returncode, output, errors


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    (tmp_path / "kubeverdict").mkdir()
    (tmp_path / "kubeverdict" / "programs").symlink_to(cache())
    made = Command(tmp_path)
    yield made
    enclosure.end(made.folder)


def running() -> set[str]:
    """The command lines of all etcds, API servers and the like, of this user or another."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.add(path.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def belongs(command: Command) -> list[str]:
    deadline = time.monotonic() + 20
    while left := [line for line in running() if str(command.folder) in line]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left


def test_nothing_is_up(command: Command) -> None:
    for arguments in (["status"], ["kubectl", "get", "pods"], ["load", "x.yaml"]):
        status, _, errors = command.run(*arguments)
        assert (status, errors) == (2, "./run cluster: no cluster is up: ./run cluster up\n")
    assert command.run("down") == (0, "nothing was up\n", "")
    assert not command.folder.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up", "--nodes", "-1"], "must be from 0 to"),
        (["up", "--nodes", "x"], "invalid _count value: 'x'"),
        (["up", "--family", "ipv5"], "invalid choice: 'ipv5'"),
        (["upp"], "invalid choice: 'upp'"),
        ([], "required: VERB"),
    ],
)
def test_wrong_usage(command: Command, arguments: list[str], message: str) -> None:
    status, _, errors = command.run(*arguments)
    assert status == 2 and message in errors and "Traceback" not in errors


@pytest.mark.programs
def test_a_cluster_of_objects(command: Command, tmp_path: Path) -> None:
    program("kube-apiserver")
    before = mounts()
    status, output, errors = command.run("up")
    assert (status, errors) == (0, "")
    assert "up after" in output
    status, _, errors = command.run("up")
    assert status == 2 and "a cluster is up in" in errors

    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [POD, POLICY]}))
    assert command.run("load", str(dump)) == (0, "2 of 2 objects\n", "")
    status, output, _ = command.run("kubectl", "get", "pod", "-n", "shop", "web", "-o", "json")
    pod = json.loads(output)
    assert pod["status"]["podIPs"] == [{"ip": "10.1.2.3"}]
    assert pod["status"]["phase"] == "Running"
    status, output, _ = command.run("kubectl", "get", "netpol", "-A", "-o", "name")
    assert (status, output) == (0, "networkpolicy.networking.k8s.io/web\n")
    status, output, _ = command.run("status")
    assert status == 0 and "pods: 1 Running" in output

    dump.write_text(json.dumps({**POLICY, "spec": {"policyTypes": ["Neither"]}}))
    status, output, errors = command.run("load", str(dump))
    assert (status, output) == (1, "0 of 1 objects\n")
    assert errors.startswith("refused: NetworkPolicy shop/web: ") and "Neither" in errors
    dump.write_text("{")
    status, _, errors = command.run("load", str(dump))
    assert status == 2 and "neither JSON nor YAML" in errors

    assert command.run("down") == (0, "down\n", "")
    assert belongs(command) == []
    assert not command.folder.exists()
    assert mounts() == before


@pytest.mark.programs
@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.5, 3.0])
def test_a_command_that_is_killed_leaves_nothing(command: Command, seconds: float) -> None:
    program("kube-apiserver")
    with command.start("up") as starting:
        time.sleep(seconds)
        starting.send_signal(signal.SIGKILL)
    status, _, errors = command.run("down")
    assert (status, errors) == (0, "")
    assert belongs(command) == []
    assert not command.folder.exists()


@pytest.mark.programs
def test_up_after_a_command_that_was_killed(command: Command) -> None:
    """What a killed command left is no cluster; the next one makes its own."""
    program("kube-apiserver")
    with command.start("up") as starting:
        time.sleep(1.0)
        starting.send_signal(signal.SIGKILL)
    status, _, errors = command.run("up")
    assert (status, errors) == (0, "")
    assert command.run("kubectl", "get", "--raw=/readyz")[1] == "ok"


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop", "uid": "x", "labels": {"app": "web"}},
    "spec": {"nodeName": "n1", "containers": [{"name": "web", "ports": [{"containerPort": 80}]}]},
    "status": {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]},
}
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "12"},
    "spec": {"podSelector": {"matchLabels": {"app": "web"}}},
}
