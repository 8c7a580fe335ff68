"""Traffic between pods, made and measured by a small C program.

In: two pods of a lab. Out: figures of one kind of traffic during a fraction of a second. Python
would measure itself; iperf and netperf are not there on most machines, and neither can do all of
it. The program is compiled by gcc when it is first needed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.lab import LabPod

_SOURCE = Path(__file__).with_name("traffic.c")

TCP_PORT, UDP_PORT, DENIED_PORT = 8080, 8081, 8082
"""What the server listens on. The last one is for what must not get through."""


@functools.cache
def program() -> Path:
    """The compiled program; made unless it is there."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir(), f"kubeverdict-traffic-{os.getuid()}")
    path = folder / f"traffic-{digest}"
    if not path.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(unfinished), str(_SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"gcc: {done.stderr}")
        unfinished.replace(path)
    return path


def serve(pod: LabPod, cpu: int | None = None) -> None:
    """Start the server in a pod, and wait until it listens; it ends with the pod."""
    ports = [str(port) for port in (TCP_PORT, UDP_PORT, DENIED_PORT)]
    process = pod.start([*_pinned(cpu), str(program()), "serve", *ports], stdout=subprocess.PIPE)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"the traffic server of {pod.netns} did not start")


def run(pod: LabPod, arguments: Sequence[str | float], cpu: int | None = None) -> list[float]:
    """Run one role of the program in a pod to its end; the numbers that it prints.

    Raises RuntimeError where the traffic does not get through.
    """
    command = [*_pinned(cpu), str(program()), *map(str, arguments)]
    return [float(number) for number in pod.run(command).stdout.split()]


def start(
    pod: LabPod, arguments: Sequence[str | float], cpu: int | None = None
) -> subprocess.Popen[str]:
    """Start one role of the program in a pod; its numbers come on its standard output."""
    command = [*_pinned(cpu), str(program()), *map(str, arguments)]
    return pod.start(command, stdout=subprocess.PIPE)


def _pinned(cpu: int | None) -> list[str]:
    return [] if cpu is None else ["taskset", "-c", str(cpu)]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure: its unit, and the role that measures it. All but latencies: more is better."""

    name: str
    title: str
    unit: str
    arguments: Callable[[str, float], Sequence[str | float]]  # server's address, seconds

    def measure(self, client: LabPod, server: str, seconds: float, cpu: int | None) -> list[float]:
        """The figure first, then what else the role prints (latencies in µs: 50, 99, 99.9 %)."""
        return run(client, self.arguments(server, seconds), cpu)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "rr1",
            "request/response, 1 connection",
            "1/s",
            lambda server, seconds: ("rr", server, TCP_PORT, seconds, 1),
        ),
        Metric(
            "rr16",
            "request/response, 16 connections",
            "1/s",
            lambda server, seconds: ("rr", server, TCP_PORT, seconds, 16),
        ),
        Metric(
            "crr",
            "new connections",
            "1/s",
            lambda server, seconds: ("crr", server, TCP_PORT, seconds),
        ),
        Metric(
            "udp",
            "UDP, 18 bytes",
            "packets/s",
            lambda server, seconds: ("udp", server, UDP_PORT, seconds, 18),
        ),
        Metric(
            "stream",
            "TCP throughput",
            "bytes/s",
            lambda server, seconds: ("stream", server, TCP_PORT, seconds),
        ),
    )
}
