"""What tests ask for by name: a real Kubernetes, one for all tests of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.kubernetes import enclosure
from tests.kubernetes.api import Api
from tests.kubernetes.building import Cluster, Plan, running
from tests.programs.build import cache

_PREFIX = "cluster-of-tests-"


@pytest.fixture(scope="session")
def api_server() -> Iterator[Api]:
    """The client of a control plane without nodes. Its users make namespaces of their own."""
    with _running("objects", Plan()) as cluster:
        yield cluster.api


@pytest.fixture(scope="session")
def next_api_server() -> Iterator[Api]:
    """The same with the API server of another version of Kubernetes."""
    with _running("next", Plan(api_server="kube-apiserver-next")) as cluster:
        yield cluster.api


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes with both address families."""
    with _running("nodes", Plan(nodes=2)) as cluster:
        yield cluster


def _running(name: str, plan: Plan) -> AbstractContextManager[Cluster]:
    enclosure.clean(cache().parent, _PREFIX)
    return running(cache().parent / f"{_PREFIX}{name}-{os.getpid()}", plan)
