"""The node agent at work: `./run agent-demo`.

Three network namespaces stand for pods of the shop example. Everything that is made is removed,
also when something fails.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.lab import Lab, LabPod, bpffs, missing
from kubeverdict.errors import KubeverdictError
from kubeverdict_agent.control import control_socket
from kubeverdict_agent.datapath import compiling

ROOT = Path(__file__).parents[1]
SHOP = "engine/kubeverdict/examples/shop"
NODE = "demo-node"
# Namespace, workload, labels (those of its template), address, port.
PODS: tuple[tuple[str, str, dict[str, str], str, int], ...] = (
    ("shop", "frontend", {"app": "frontend", "tier": "web"}, "10.1.0.2", 8080),
    ("shop", "cart", {"app": "cart", "tier": "backend"}, "10.1.0.3", 8080),
    ("shop", "payments", {"app": "payments", "tier": "backend"}, "10.1.0.4", 8080),
)
_PATIENCE = 60.0
_HASH = "5d8f7c9b6d"


def main() -> int:
    why_not = missing()
    if why_not is None:
        try:
            compiling.find_bcc()
        except KubeverdictError as error:
            why_not = str(error)
    if why_not is not None:
        print(f"agent-demo: {why_not}", file=sys.stderr)
        return 2
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kv-demo-")))
        pins = stack.enter_context(bpffs())
        _play(lab, folder, pins / "kubeverdict")
    print("\n### Nothing is left behind.")
    return 0


def _play(lab: Lab, folder: Path, pins: Path) -> None:
    _headline("Three pods of the shop on one node")
    frontend, cart, payments = (
        lab.add_pod(namespace, name, ipv4=address) for namespace, name, _, address, _ in PODS
    )
    for pod in (cart, payments):
        pod.serve(8080)
    pods = {"kind": "List", "apiVersion": "v1", "items": _pods()}
    (folder / "pods.json").write_bytes(msgspec.json.encode(pods))
    _try(frontend, cart, True)
    _try(frontend, payments, True)

    _headline("The agent attaches to them and audits")
    demo = _Demo(lab, folder, pins)
    demo.start()
    try:
        _try(frontend, cart, True)
        _try(frontend, payments, True)
        demo.wait_for(lambda: bool(control_socket.ask(demo.state, "report")["namespaces"]))
        demo.show("report")

        _headline("The namespace is enforced: the connection that the report named is cut")
        demo.show("mode", "shop=enforce")
        _try(frontend, cart, True)
        _try(frontend, payments, False)
        demo.show("events", "--last", "1", "--no-follow")
    finally:
        demo.stop()

    _headline("The agent has ended: what was in force stays in force, until it is detached")
    _try(frontend, payments, False)
    demo.show("detach")
    _try(frontend, payments, True)


class _Demo:
    """The agent's commands, on the lab's node."""

    def __init__(self, lab: Lab, folder: Path, pins: Path) -> None:
        self._lab = lab
        self._pins = pins
        self.state = folder / "state"
        self._sources = ["-f", SHOP, "-f", str(folder / "pods.json")]
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        print(f"$ kubeverdict-agent run --node {NODE} -f {SHOP} -f pods.json")
        arguments = ["run", "--node", NODE, *self._sources, "--adopt", "0", "--metrics", ""]
        with self._log.open("wb") as log:
            command = self._command(*arguments, "--bpffs", str(self._pins))
            self._process = self._lab.on_node(
                lambda: subprocess.Popen(command, stderr=log, cwd=ROOT)
            )
        self.wait_for(self._covers_all)

    def _covers_all(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the agent ended:\n{self._log.read_text()}")
        try:
            bound = control_socket.ask(self.state, "status")["endpoints"]["bound"]
        except KubeverdictError:
            return False
        return bool(bound == len(PODS))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"the agent is not ready:\n{self._log.read_text()}")
            time.sleep(0.02)

    def show(self, verb: str, *arguments: str) -> None:
        print(f"$ kubeverdict-agent {' '.join((verb, *arguments))}", flush=True)
        where = ("--bpffs", str(self._pins)) if verb == "detach" else ()
        done = self._lab.on_node(
            lambda: subprocess.run(self._command(verb, *where, *arguments), check=False)
        )
        if done.returncode > 1:
            raise RuntimeError(f"that ended with status {done.returncode}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_PATIENCE)

    def _command(self, verb: str, *arguments: str) -> list[str]:
        base = [sys.executable, "-m", "kubeverdict_agent", verb, "--state", str(self.state)]
        return [*base, *arguments]


def _pods() -> list[dict[str, object]]:
    """The three pods as an API server would list them."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": namespace,
                "name": f"{name}-{_HASH}-x7k2p",
                "labels": _with_hash(labels),
                "ownerReferences": [
                    {
                        "apiVersion": "apps/v1",
                        "kind": "ReplicaSet",
                        "name": f"{name}-{_HASH}",
                        "uid": name,
                        "controller": True,
                    }
                ],
            },
            "spec": {
                "nodeName": NODE,
                "containers": [
                    {
                        "name": name,
                        "image": "demo",
                        "ports": [{"name": "http", "containerPort": port}],
                    }
                ],
            },
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
        }
        for namespace, name, labels, address, port in PODS
    ]


def _with_hash(labels: dict[str, str]) -> dict[str, str]:
    return {**labels, "pod-template-hash": _HASH}


def _try(source: LabPod, destination: LabPod, expected: bool) -> None:
    assert destination.ipv4 is not None
    # What should answer may take its time on a busy machine.
    timeout = _PATIENCE if expected else 1.0
    reached = source.reaches(destination.ipv4, 8080, timeout=timeout)
    word = "answers" if reached else "does not answer"
    print(f"{source.name} -> {destination.name}:8080 {word}", flush=True)
    if reached is not expected:
        raise RuntimeError("it should be the other way round")


def _headline(text: str) -> None:
    print(f"\n### {text}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
