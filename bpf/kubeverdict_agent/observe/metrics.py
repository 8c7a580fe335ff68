"""Metrics for Prometheus, read from the kernel when they are scraped.

Served on loopback by default: the counts name no pods, but they reveal what a node enforces.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeverdict.errors import UsageError
from kubeverdict.model.addresses import Family
from kubeverdict_agent.datapath.layout import PacketReason, PodDirection
from kubeverdict_agent.errors import MissingPackage
from kubeverdict_agent.observe.scraping import ScrapeServer

PREFIX = "kubeverdict"
# From a file being written to its policies being in force.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Sample:
    """What metrics are made of. ``counters`` is (directions, dropped, reasons, 2): packets and
    bytes."""

    counters: NDArray[np.int64]
    events_seen: int
    events_lost: int
    totals_lost: int
    hooks_restored: int
    followers_lost: int
    generation: int
    publications: int
    failures: int
    flows: Mapping[Family, tuple[int, int]]  # tracked, and room
    tables_bytes: int
    tables_limit: int
    endpoints: dict[str, int]
    uncovered: int
    source_age: float
    alarms: dict[str, bool]


class MetricsServer:
    """Serves until it is closed. ``address`` is HOST:PORT; ``unready`` says why the agent does not
    do all of its work yet, or nothing."""

    def __init__(
        self, address: str, sample: Callable[[], Sample], unready: Callable[[], str]
    ) -> None:
        try:
            from prometheus_client import CollectorRegistry, Histogram
        except ImportError as error:
            raise MissingPackage(error) from error
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:
            raise UsageError(f"{address!r} is not HOST:PORT")
        registry = CollectorRegistry()
        registry.register(_Reader(sample))
        self._apply = Histogram(
            f"{PREFIX}_policy_apply_seconds",
            "From a change being written to being in force.",
            buckets=BUCKETS,
            registry=registry,
        )
        try:
            self._server = ScrapeServer(host.strip("[]"), int(port), registry, unready)
        except OSError as error:
            raise UsageError(f"metrics on {address}: {error.strerror or error}") from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    def applied(self, seconds: float) -> None:
        self._apply.observe(seconds)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Reader:
    """Implements prometheus_client's collector."""

    def __init__(self, sample: Callable[[], Sample]) -> None:
        self._sample = sample

    def describe(self) -> list[Any]:
        return []  # otherwise registering would read the kernel

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        sample = self._sample()
        for unit, column in (("packets", 0), ("bytes", 1)):
            for dropped, word in ((0, "forwarded"), (1, "dropped")):
                family = CounterMetricFamily(
                    f"{PREFIX}_{word}_{unit}",
                    f"What was {word}, by direction as the pod sees it and by reason. A forwarded"
                    " one with reason denied is what audit would have dropped.",
                    labels=("direction", "reason"),
                )
                for direction in PodDirection:
                    for reason in PacketReason:
                        value = int(sample.counters[direction, dropped, reason, column])
                        if value:
                            family.add_metric((direction.name.lower(), reason.name.lower()), value)
                yield family
        for name, text, number in (
            ("events", "Events of denials that were read.", sample.events_seen),
            ("events_lost", "Events that found no room.", sample.events_lost),
            ("denials_uncounted", "Denials missing from the totals.", sample.totals_lost),
            ("follower_events_lost", "Events a slow follower missed.", sample.followers_lost),
            ("policy_publications", "Times that tables were put in force.", sample.publications),
            ("hooks_restored", "Links on which programs were put again.", sample.hooks_restored),
            ("policy_failures", "Changes that could not be put in force.", sample.failures),
        ):
            yield CounterMetricFamily(f"{PREFIX}_{name}", text, value=number)
        for name, text, number in (
            ("policy_generation", "Generation of the tables in force.", sample.generation),
            ("uncovered", "Pods and links that are not covered.", sample.uncovered),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=number)
        yield GaugeMetricFamily(
            f"{PREFIX}_source_age_seconds",
            "How long the cluster has perhaps been out of date.",
            value=sample.source_age,
        )
        for name, text, column in (
            ("conntrack_entries", "Connections that are tracked.", 0),
            ("conntrack_limit", "Connections there is room for.", 1),
        ):
            tracked = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=("family",))
            for number, sizes in sample.flows.items():
                tracked.add_metric((f"ipv{number}",), sizes[column])
            yield tracked
        pressure = GaugeMetricFamily(
            f"{PREFIX}_map_pressure", "How full a map is, from 0 to 1.", labels=("map",)
        )
        fullest = max((entries / room for entries, room in sample.flows.values()), default=0.0)
        pressure.add_metric(("conntrack",), fullest)
        pressure.add_metric(("policy",), sample.tables_bytes / max(sample.tables_limit, 1))
        yield pressure
        endpoints = GaugeMetricFamily(
            f"{PREFIX}_endpoints", "Links to pods, by state.", labels=("state",)
        )
        for state, count in sample.endpoints.items():
            endpoints.add_metric((state,), count)
        yield endpoints
        alarms = GaugeMetricFamily(f"{PREFIX}_alarm", "1 while it stands.", labels=("alarm",))
        for alarm, standing in sample.alarms.items():
            alarms.add_metric((alarm,), float(standing))
        yield alarms
