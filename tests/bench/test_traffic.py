"""The traffic program counts what really went through."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from bench import traffic
from bench.lab import Lab, LabPod, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

SERVER = "10.1.0.2"


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Lab, LabPod]]:
    with Lab() as lab:
        traffic.serve(lab.add_pod("shop", "server", ipv4=SERVER))
        yield lab, lab.add_pod("shop", "client", ipv4="10.1.0.3")


@pytest.mark.parametrize("metric", traffic.METRICS.values(), ids=traffic.METRICS)
def test_every_metric_gives_a_figure(metric: traffic.Metric, pair: tuple[Lab, LabPod]) -> None:
    figures = metric.measure(pair[1], SERVER, 0.2, None)
    assert figures[0] > 0
    if metric.name in ("rr1", "rr16", "crr"):
        assert 0 < figures[1] <= figures[2] <= figures[3]


def test_datagrams_are_counted_by_port(pair: tuple[Lab, LabPod]) -> None:
    _, client = pair
    traffic.run(client, ("count", SERVER, traffic.UDP_PORT))
    sent, refused = traffic.run(client, ("flood", SERVER, traffic.DENIED_PORT, 0.2, 1000))
    assert 0 < sent <= 200 and refused == 0
    assert traffic.run(client, ("count", SERVER, traffic.UDP_PORT)) == [0, sent]
    assert traffic.run(client, ("count", SERVER, traffic.UDP_PORT)) == [0, 0]


def test_what_does_not_get_through_is_no_figure(pair: tuple[Lab, LabPod]) -> None:
    lab, client = pair
    drop = f"*filter\n-A FORWARD -p udp --dport {traffic.DENIED_PORT} -j DROP\n"
    reject = f"-A FORWARD -p tcp --dport {traffic.TCP_PORT} -j REJECT\nCOMMIT\n"
    lab.run(["iptables-legacy-restore"], input=drop + reject)
    try:
        with pytest.raises(RuntimeError, match=f"connect: {os.strerror(errno.ECONNREFUSED)}"):
            traffic.METRICS["crr"].measure(client, SERVER, 0.2, None)
        traffic.run(client, ("flood", SERVER, traffic.DENIED_PORT, 0.1, 1000))
        assert traffic.run(client, ("count", SERVER, traffic.UDP_PORT)) == [0, 0]
    finally:
        lab.run(["iptables-legacy-restore"], input="*filter\nCOMMIT\n")
