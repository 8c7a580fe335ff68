"""The inputs of tests/fixtures/services, by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.manifests import load
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.profile import REFERENCE, Profile

FOLDER = Path(__file__).parents[1] / "fixtures" / "services"

DATABASE = ("database",)
BALANCER = ("database", "balancer")
APISERVER = ("apiserver", "apiserver-slice", "apiserver-policy")


def paths(names: tuple[str, ...]) -> list[str]:
    return [str(FOLDER / f"{name}.yaml") for name in names]


@cache
def cluster(names: tuple[str, ...]) -> Cluster:
    return load(paths(names)).cluster


def compiled(names: tuple[str, ...], profile: Profile = REFERENCE) -> CompiledPolicy:
    return compile_cluster(cluster(names), profile)
