"""The programs of the node agent, packet by packet, by BPF_PROG_TEST_RUN.

The kernel takes the time of a run. What policy adds to parsing is measured on the frame that the
designs are compared on; everything else on the programs as they are attached.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from statistics import median

import pytest

from bench.comparison.scenarios import NODE, SERVER, TrafficScenario
from bench.conftest import Measure, Record
from bench.designs import open_designs
from bench.figures import Figure
from bench.lab import bpffs, missing
from bench.shapes.sketch import Sketch, here, labelled, tcp
from bench.workloads import cluster
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster, Pod, WorkloadRef
from kubeverdict_agent.datapath import bpf_syscall
from kubeverdict_agent.datapath.arena import LayingOut
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.lowering.tables import Local, lower

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

REPEAT = 300_000
ROUNDS = 9
POLICIES = (10, 1_000, 50_000)
PEERS = 50_000
LOCAL_PODS = 250
"""As many as the kubelet is built for, with room to spare."""
LOOPBACK = 1
SYN, ACK, FIN = 0x02, 0x10, 0x11


def typical(run: Callable[[], int]) -> float:
    """Nanoseconds: the median of the rounds."""
    return float(median(run() for _ in range(ROUNDS)))


# --- what policy costs -----------------------------------------------------------------------

_verdicts: dict[tuple[str, int], float] = {}


@pytest.mark.parametrize("policies", POLICIES)
def bench_verdict(measure: Measure, record: Record, policies: int) -> None:
    scenario = TrafficScenario(f"{policies} policies", policies, pods=PEERS)
    server = scenario.local_pods[SERVER]
    with open_designs(scenario.compiled(), NODE, (server.namespace, server.name)) as designs:

        def time_of(design: str, hot: bool) -> float:
            return typical(lambda: designs.nanoseconds(design, REPEAT, hot=hot))

        def run() -> None:
            for which in ("hot", "random"):
                whole = time_of("ours", which == "hot")
                _verdicts[which, policies] = whole - time_of("nothing", which == "hot")
                _verdicts[f"{which} with the frame", policies] = whole

        measure(run, rounds=1, warmup=0)
    for which, target in (("hot", 45), ("random", 75)):
        name = f"verdict on top of parsing, {policies:,} policies, {which}"
        record(Figure(name, _verdicts[which, policies], "ns", target))
        whole = [_verdicts[f"{which} with the frame", each] for each in POLICIES[:1]]
        if policies == POLICIES[-1] and whole:
            last = _verdicts[f"{which} with the frame", policies]
            name = f"{policies:,} policies against {POLICIES[0]}, {which}, parsing included"
            record(Figure(name, last / whole[0], "times", 1.15))


# --- whole programs --------------------------------------------------------------------------

ENDS = {  # the pod, who may reach it, who may not
    "IPv4": ("10.0.0.1", "10.0.0.2", "10.0.0.3"),
    "IPv6": ("fd00::1", "fd00::2", "fd00::3"),
}
NAMES = ("web", "client", "other")
TARGETS = {
    **{(what, "IPv4"): 100 for what in ("known", "looked up")},
    **{(what, "IPv6"): 125 for what in ("known", "looked up")},
    ("denied", "IPv4"): 140,
}


def bench_program(measure: Measure, record: Record) -> None:
    """Packets of connections that are known and that are denied, enforced and audited."""
    times: dict[tuple[str, str, Mode], float] = {}

    def run() -> None:
        with datapath() as programs:
            for mode in (Mode.ENFORCE, Mode.AUDIT):
                web = Local(0, "shop", "web", mode)
                programs.publish(lower(compile_cluster(three_pods()), "node", [web]))
                programs.bind(LOOPBACK, int(mode), 0)
                for family, (own, friend, stranger) in ENDS.items():
                    times["known", family, mode] = packet_time(programs, friend, own, ACK)
                    # A packet that ends a connection always needs its entry in the table.
                    times["looked up", family, mode] = packet_time(programs, friend, own, FIN)
                    times["denied", family, mode] = packet_time(programs, stranger, own, SYN)

    measure(run, rounds=1, warmup=0)
    for (what, family, mode), enforced in times.items():
        if mode is Mode.ENFORCE:
            name = f"whole program, {what} connection, {family}"
            record(Figure(name, enforced, "ns", TARGETS.get((what, family))))
            audit = times[what, family, Mode.AUDIT] - enforced
            record(Figure(f"audit against enforcing, {what}, {family}", audit, "ns", 60))


def packet_time(programs: NodeDatapath, peer: str, own: str, flags: int) -> float:
    bpf_syscall.test_run(programs.to_pod, frame(peer, own, SYN))
    asked = frame(peer, own, flags)
    return typical(lambda: bpf_syscall.test_run(programs.to_pod, asked, REPEAT)[1])


@contextmanager
def datapath() -> Iterator[NodeDatapath]:
    with bpffs() as folder:
        made = NodeDatapath.open(folder / "maps")
        try:
            yield made
        finally:
            made.close()


def three_pods() -> Cluster:
    """A pod that one other may reach, in both families."""
    sketch = Sketch("three pods", 3)
    friends = [here("shop", labelled("app", "client"))]
    sketch.policy("shop", "web", labelled("app", "web"), ingress=[(friends, [tcp(80)])])
    for name, addresses in zip(NAMES, zip(*ENDS.values(), strict=True), strict=True):
        workload = WorkloadRef("shop", name, "Pod")
        sketch.pods.append(Pod("shop", name, {"app": name}, workload, addresses, node="node"))
    return sketch.cluster()


def frame(source: str, destination: str, flags: int) -> bytes:
    """TCP to port 80 with an Ethernet header."""
    ends = ip_address(source).packed + ip_address(destination).packed
    segment = struct.pack("!HHIIBBHHH", 40000, 80, 1, 0, 5 << 4, flags, 64240, 0, 0)
    if ":" in source:
        kind, header = 0x86DD, struct.pack("!IHBB", 6 << 28, len(segment), 6, 64)
    else:
        kind, header = 0x0800, struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0)
    return bytes(12) + struct.pack("!H", kind) + header + ends + segment


# --- change ----------------------------------------------------------------------------------


def bench_swap(measure: Measure, record: Record) -> None:
    """Tables of 250 pods of a cluster of 50,000, from arrays to in force for all of them."""
    compiled = compile_cluster(cluster("mixed", PEERS, 5_000))
    pods = compiled.pods[:LOCAL_PODS]
    locals = [Local(n, pod.namespace, pod.name, Mode.ENFORCE) for n, pod in enumerate(pods)]
    started = time.perf_counter()
    tables = lower(compiled, "node", locals)
    record(Figure("tables of 250 pods out of 50,000", (time.perf_counter() - started) * 1e3, "ms"))
    laid_out = LayingOut().lay_out(tables)
    seconds: list[float] = []
    with datapath() as programs:

        def run() -> None:
            programs.settle()
            started = time.perf_counter()
            programs.swap(laid_out)
            seconds.append(time.perf_counter() - started)

        measure(run, rounds=ROUNDS)
    record(Figure("swap: arrays to in force, 250 pods, 50k peers", median(seconds) * 1e3, "ms", 1))
