"""Reads the fixtures: manifests, and what is expected of them.

A scenario of ``fixtures/e2e`` has steps. A step lists the files that make the cluster at that
moment and, for a few ports, the pairs of pods that are denied; every other pair is allowed. A
vector of ``fixtures/edge`` lists flows and, for each, the verdict and what decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from kubeverdict.manifests import load
from kubeverdict.model.addresses import Family, family_of
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.ports import Protocol
from tests.clusters.generated import Probe
from tests.conformance.answers import Answer

FIXTURES = Path(__file__).parents[1] / "fixtures"
E2E = sorted((FIXTURES / "e2e").iterdir())
EDGE = sorted((FIXTURES / "edge").iterdir())

Pair = tuple[str, str]


@dataclass(frozen=True)
class Matrix:
    """One port of one step: the pairs that are denied on it."""

    protocol: Protocol
    port: int
    denied: frozenset[Pair]


@dataclass(frozen=True)
class Step:
    """A moment of a scenario, and what must hold then."""

    name: str
    files: tuple[Path, ...]
    matrices: tuple[Matrix, ...]


@dataclass(frozen=True)
class Scenario:
    number: int
    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Vector:
    """Flows of one cluster and the answers that they must get."""

    cluster: Cluster
    probes: tuple[Probe, ...]
    expected: tuple[Answer, ...]


def load_cluster(*paths: Path) -> Cluster:
    return load([str(path) for path in paths]).cluster


def pods_by_name(cluster: Cluster) -> dict[str, Pod]:
    return {str(pod): pod for pod in cluster.pods}


def read_scenario(folder: Path) -> Scenario:
    text = yaml.safe_load((folder / "expected.yaml").read_text())
    steps = tuple(
        Step(
            name=step["step"],
            files=tuple(folder / name for name in step["files"]),
            matrices=tuple(
                Matrix(*_service(probe["port"]), frozenset(map(_pair, probe["denied"])))
                for probe in step["probes"]
            ),
        )
        for step in text["steps"]
    )
    return Scenario(text["scenario"], text["name"], steps)


def read_vector(folder: Path) -> Vector:
    cluster = load_cluster(folder / "manifests.yaml")
    pods = pods_by_name(cluster)
    probes: list[Probe] = []
    expected: list[Answer] = []
    for entry in yaml.safe_load((folder / "expected.yaml").read_text())["flows"]:
        source, _, destination, service = entry["flow"].split()
        family: Family | None = family_of(entry["family"]) if "family" in entry else None
        probes.append(
            Probe(
                pods.get(source, source),
                pods.get(destination, destination),
                *_service(service),
                family,
            )
        )
        allowed = {"allowed": True, "denied": False}[entry["verdict"]]
        expected.append(Answer(allowed, entry["egress"], entry["ingress"]))
    return Vector(cluster, tuple(probes), tuple(expected))


def _service(text: str) -> tuple[Protocol, int]:
    """``80/TCP``, or a protocol without ports."""
    port, slash, protocol = text.rpartition("/")
    return Protocol[protocol], int(port) if slash else 0


def _pair(text: str) -> Pair:
    source, destination = text.split(" -> ")
    return source, destination
