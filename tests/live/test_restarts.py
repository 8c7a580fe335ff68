"""An API server that restarts, or whose etcd is restored from a backup, while it is followed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from kubeverdict import live
from tests.kubernetes.api import Api
from tests.live.restartable import Restartable, restartable
from tests.live.test_following import PODS, POLICIES, SPACE, Seen, labels_of, pod, policy

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restartable]:
    with restartable(tmp_path_factory.mktemp("plane")) as made:
        api = made.start()
        api.create("/api/v1/namespaces", {"metadata": {"name": SPACE}})
        for at, name in enumerate(("web", "client", "other"), 1):
            put(api, name, f"10.9.1.{at}")
        api.apply(f"{POLICIES}/web", policy("web", "web", "client"))
        yield made


def put(api: Api, name: str, address: str, **labels: str) -> None:
    found = pod(name, address, **labels)
    api.apply(f"{PODS}/{name}", {**found, "status": None})
    api.merge(f"{PODS}/{name}/status", {"status": found["status"]})


@pytest.fixture
def seen(plane: Restartable) -> Iterator[Seen]:
    made = Seen(live.find_access(str(plane.kubeconfig)))
    made.catch_up()
    yield made
    made.follower.close()


def relabel(api: Api, name: str, value: str) -> None:
    api.merge(f"{PODS}/{name}", {"metadata": {"labels": {"app": value}}})


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_restarts(plane: Restartable, seen: Seen, how: signal.Signals) -> None:
    plane.stop_server(how)
    seen.until(lambda: "pods" in seen.stale, "the outage is not seen")
    assert seen.session.now.compiled.pods
    api = plane.start_server()
    relabel(api, "other", f"after-{how.name.lower()}")
    seen.catch_up()
    assert labels_of(seen, "other") == {"app": f"after-{how.name.lower()}"}


@pytest.mark.parametrize("later", [0, 12], ids=["older", "older, and grown beyond"])
def test_etcd_is_restored(plane: Restartable, later: int) -> None:
    """``later``: how many changes have come since, before anybody asks."""
    kept = plane.back_up()
    seen = Seen(live.find_access(str(plane.kubeconfig)))
    api = plane.api
    try:
        before = labels_of(seen, "client")
        relabel(api, "client", f"lost-{later}")
        api.apply(f"{POLICIES}/lost", policy("lost", "other", "web"))
        seen.until(lambda: labels_of(seen, "client") != before, "the change is not seen")
        seen.catch_up()
        plane.restore(kept)
        seen.until(lambda: "pods" in seen.stale, "the outage is not seen")
        plane.start_etcd()
        if later:
            # By a way that the follower does not know: it is still waiting for the old one.
            with plane.elsewhere() as other:
                for number in range(later):
                    relabel(other, "other", f"grown-{later}-{number}")
        plane.start_server()
        seen.catch_up()
        assert labels_of(seen, "client") == before
        assert "lost" not in {one.name for one in seen.session.now.compiled.policies}
    finally:
        seen.follower.close()


def test_a_version_that_the_server_has_forgotten(plane: Restartable, seen: Seen) -> None:
    """What changed while nobody watched, and before the server's memory of changes began."""
    plane.stop_server()
    with plane.elsewhere() as other:
        for number in range(5):
            relabel(other, "other", f"unseen-{number}")
        other.delete(f"{PODS}/web?gracePeriodSeconds=0")
    plane.compact()
    api = plane.start_server()
    seen.catch_up()
    assert labels_of(seen, "web") is None and labels_of(seen, "other") == {"app": "unseen-4"}
    put(api, "web", "10.9.1.1")
    began = time.monotonic()
    seen.until(lambda: labels_of(seen, "web") is not None, "it goes on")
    assert time.monotonic() - began < 10
