"""The node agent as a process: how fast it follows links and changes, and what it takes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest

from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.lab import Lab, LabPod, bpffs, missing
from bench.workloads import dump_file
from kubeverdict.errors import KubeverdictError
from kubeverdict.manifests import load
from kubeverdict_agent.control import control_socket
from kubeverdict_agent.datapath import bpf_syscall, layout
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.lowering.tables import Local, lower
from kubeverdict_agent.observe.collecting import Collector
from kubeverdict_agent.observe.naming import Naming

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

NODE = "bench-node"
WORKLOADS = Path(__file__).parents[1] / "build" / "workloads"
POLICIES = 5_000
LINKS = 100
CHANGES = 15
EVENTS = 20_000
_PATIENCE = 300.0
_UNDISTURBED = 0.2  # seconds before the agent is asked whether it is done: answering takes time
_NEW_FILTER = 44
_TRAFFIC_CONTROL = 0x8


class Agent:
    """`kubeverdict-agent run` on a lab's node, with the sources in ``folder``."""

    def __init__(self, lab: Lab, folder: Path, pins: Path, *sources: Path) -> None:
        self.state = folder / "state"
        files = [part for source in sources for part in ("-f", str(source))]
        command = [
            *(sys.executable, "-m", "kubeverdict_agent", "run", "--node", NODE, *files),
            *("--state", str(self.state), "--bpffs", str(pins / "agent"), "--metrics", ""),
        ]
        with (folder / "log").open("wb") as log:
            self.process = lab.on_node(lambda: subprocess.Popen(command, stderr=log))
        self.wait_for(lambda: self.status()["publications"] > 0)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = control_socket.ask(self.state, "status")
        return answer

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE
        while True:
            assert self.process.poll() is None, "the agent ended"
            with contextlib.suppress(KubeverdictError):
                if condition():
                    return
            assert time.monotonic() < end, "the agent is not ready"
            time.sleep(0.1)  # a question costs the agent time as well

    def memory(self) -> dict[str, float]:
        """Megabytes by kind, as the kernel counts them."""
        of_process = Path(f"/proc/{self.process.pid}")
        lines = (of_process / "status").read_text().splitlines()
        lines += (of_process / "smaps_rollup").read_text().splitlines()[1:]
        fields = dict(line.split(":", 1) for line in lines)
        return {name: int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "Pss")}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(_PATIENCE)


@contextlib.contextmanager
def running(folder: Path, *sources: Path) -> Iterator[tuple[Lab, Agent]]:
    with Lab() as lab, bpffs() as pins:
        agent = Agent(lab, folder, pins, *sources)
        try:
            yield lab, agent
        finally:
            agent.stop()


def policy(name: str, port: int) -> str:
    return (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{namespace: default, name: {name}}}\n"
        f"spec: {{podSelector: {{}}, ingress: [{{ports: [{{port: {port}}}]}}]}}\n"
    )


def pod(name: str, address: str, **labels: str) -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{namespace: default, name: {name},"
        f" labels: {json.dumps(labels)}}}\nspec: {{nodeName: other, containers: []}}\n"
        f"status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}\n"
    )


KEPT = {"policy": policy("kept", 80), "pod": pod("kept", "10.250.0.1", app="kept")}
# Added and removed at last, so that each round finds what it begins with.
POLICY_CHANGES: dict[str, Callable[[int], list[str]]] = {
    "policy added": lambda round: [policy("changing", 80)],
    "policy changed": lambda round: [policy("changing", 8000 + round)],
    "policy removed": lambda round: [],
}
POD_CHANGES: dict[str, Callable[[int], list[str]]] = {
    "pod added": lambda round: [pod("changing", "10.250.0.2", app="kept")],
    "pod relabelled": lambda round: [pod("changing", "10.250.0.2", app=f"new-{round}")],
    "pod readdressed": lambda round: [pod("changing", f"10.250.1.{round + 1}", app=f"new-{round}")],
    "pod removed": lambda round: [],
}


# --- links -----------------------------------------------------------------------------------


def bench_new_link(measure: Measure, record: Record, tmp_path: Path) -> None:
    """From the request for a veth to both programs being on it."""
    source = tmp_path / "policy.yaml"
    source.write_text(policy("one", 80))
    with running(tmp_path, source) as (lab, _):
        inside = lab.add_pod("shop", "inside")
        seconds, _ = measure(lambda: lab.on_node(lambda: attach_times(inside)), rounds=1, warmup=0)
    millis = sorted(1e3 * one for one in seconds)
    record(Figure("new veth to attached, p95", quantiles(millis, n=20)[-1], "ms", 10))
    record(Figure("new veth to attached, median", median(millis), "ms"))


def attach_times(inside: LabPod) -> list[float]:
    from pyroute2 import IPRoute

    found = []
    with (
        IPRoute() as netlink,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as monitor,
        open(f"/var/run/netns/{inside.netns}", "rb") as netns,
    ):
        monitor.bind((0, _TRAFFIC_CONTROL))
        monitor.settimeout(_PATIENCE)
        for number in range(LINKS):
            begun = time.perf_counter()
            peer = {"ifname": f"in{number}", "net_ns_fd": netns.fileno()}
            netlink.link("add", ifname=f"kvb{number}", kind="veth", peer=peer)
            filters = 0
            while filters < 2:
                (kind,) = struct.unpack_from("=H", monitor.recv(65536), 4)
                filters += kind == _NEW_FILTER
            found.append(time.perf_counter() - begun)
            time.sleep(0.01)
    return found


# --- changes and memory ----------------------------------------------------------------------


@pytest.mark.parametrize(("pods", "limit"), [(10_000, 8), (50_000, 20)])
def bench_change_of_a_file(
    measure: Measure, record: Record, tmp_path: Path, pods: int, limit: float
) -> None:
    """From a file being saved to what it says being in force, and what the agent holds: among 5,000
    other policies and all other pods, one changed, one more, and one less. Files are moved to their
    place."""
    with running(tmp_path, *sources(tmp_path, pods, POLICIES)) as (_, agent):
        seconds = changes_in_force(measure, agent, tmp_path, CHANGES)
        memory = agent.memory()
    size = f"{pods // 1000}k pods"
    for kind, of_kind in (("policy", POLICY_CHANGES), ("pod", POD_CHANGES)):
        times = [one for what in of_kind for one in seconds[what]]
        record(Figure(f"{kind} saved to in force, {size}", 1e3 * median(times), "ms", limit))
    for what, times in seconds.items():
        record(Figure(f"… {what}, {size}", 1e3 * median(times), "ms"))
    record(Figure(f"agent, memory of its own, {size}", memory["RssAnon"], "MB", 120))
    record(Figure(f"agent, with its share of libraries, {size}", memory["Pss"], "MB"))


@pytest.mark.parametrize("pods", [1_000, 10_000, 100_000])
def bench_growth_of_a_change(measure: Measure, record: Record, tmp_path: Path, pods: int) -> None:
    """The same in clusters of which one pod in ten is a policy: points of the plot of growth."""
    with running(tmp_path, *sources(tmp_path, pods, pods // 10)) as (_, agent):
        seconds = changes_in_force(measure, agent, tmp_path, CHANGES // 3)
    for kind, of_kind in (("policy", POLICY_CHANGES), ("pod", POD_CHANGES)):
        times = [one for what in of_kind for one in seconds[what]]
        name = f"{kind} saved to in force, mixed {pods // 1000}k/{pods // 10} policies"
        record(Figure(name, 1e3 * median(times), "ms"))


def sources(folder: Path, pods: int, policies: int) -> list[Path]:
    """Everything but what changes, and two small files for that."""
    cluster = dump_file(WORKLOADS, "mixed", pods, policies, compact=True)
    shutil.copy(cluster, folder / "cluster.json")
    for name in ("policy", "pod"):
        put(folder / f"{name}.yaml", [KEPT[name]])
    return [folder / "cluster.json", folder / "policy.yaml", folder / "pod.yaml"]


def changes_in_force(
    measure: Measure, agent: Agent, folder: Path, rounds: int
) -> dict[str, list[float]]:
    """Seconds from saving to being in force, by what is changed."""
    seconds: dict[str, list[float]] = {what: [] for what in (*POLICY_CHANGES, *POD_CHANGES)}

    def change() -> None:
        for what, make in (POLICY_CHANGES | POD_CHANGES).items():
            readings = agent.status()["readings"] + 1
            name = what.split()[0]
            put(folder / f"{name}.yaml", [KEPT[name], *make(len(seconds[what]))])
            time.sleep(_UNDISTURBED)
            agent.wait_for(partial(has_read, agent, readings))
            seconds[what].append(agent.status()["seconds_since_written"])

    change()
    for times in seconds.values():
        times.clear()
    measure(change, rounds=rounds, warmup=0)
    return seconds


def has_read(agent: Agent, readings: int) -> bool:
    """Whether so many readings of the source are in force."""
    return bool(agent.status()["readings"] >= readings)


def put(path: Path, policies: list[str]) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text("---\n".join(policies))
    os.replace(new, path)


# --- events ----------------------------------------------------------------------------------


def bench_events(measure: Measure, record: Record, tmp_path: Path) -> None:
    """What taking in events costs the agent while no client follows them."""
    objects = (
        "kind: Pod\napiVersion: v1\nmetadata: {namespace: default, name: web}\n"
        "spec: {containers: []}\nstatus: {phase: Running, podIP: 10.1.0.2}\n---\n"
    )
    text = objects + policy("one", 80)
    (tmp_path / "all.yaml").write_text(text)
    from kubeverdict.compile.compiler import compile_cluster

    compiled = compile_cluster(load([str(tmp_path / "all.yaml")]).cluster)
    with bpffs() as pins, contextlib.closing(NodeDatapath.open(pins / "agent")) as datapath:
        datapath.publish(lower(compiled, NODE, [Local(0, "default", "web", layout.Mode.AUDIT)]))
        datapath.bind(1, 1, 0)
        collector = Collector(datapath, Naming(), lambda number: ("default", "web"))
        produced = 0

        def produce() -> None:
            nonlocal produced
            datapath.totals(drain=True)  # an event is sent once for each total
            for number in range(EVENTS):
                bpf_syscall.test_run(datapath.to_pod, datagram(produced % 60_000 + 1000, number))
            produced += EVENTS

        seconds: list[float] = []
        for _ in range(5):
            produce()
            begun = time.thread_time()
            collector.read_events()
            seconds.append(time.thread_time() - begun)
        measure(collector.read_events, rounds=1, warmup=0)
        lost = datapath.lost()[0]
        assert collector.seen + lost == produced, "consumed + lost = produced"
    rate = EVENTS / median(seconds)
    record(Figure("events consumed", rate / 1e6, "M/s", 1, "at least"))
    record(Figure("a core's share at 1 M events/s", 100e6 / rate, "%", 15))


def datagram(port: int, number: int) -> bytes:
    """A frame with a datagram to a port of 10.1.0.2 that is denied."""
    source = socket.inet_aton(f"10.2.{number >> 8 & 255}.{number & 255}")
    head = struct.pack("!BBHHHBBH", 0x45, 0, 46, 1, 0, 64, 17, 0)
    ends = source + socket.inet_aton("10.1.0.2")
    body = struct.pack("!HHHH", 40_000, port, 26, 0) + b"x" * 18
    return b"\2" * 6 + b"\4" * 6 + b"\x08\x00" + head + ends + body
