"""The agent on a real API server, with the rights that bpf/deploy grants, and no more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kubeverdict import live
from kubeverdict.errors import KubeverdictError
from kubeverdict.live.reflector import Timing
from kubeverdict.model.edit import Edit, edited
from kubeverdict_agent.control.live_source import LiveSource
from tests.kubernetes.api import Api
from tests.kubernetes.loading import load
from tests.live.front import Front
from tests.live.test_following import PODS, POLICIES, SPACE, pod, policy

pytestmark = pytest.mark.programs

DEPLOY = Path(__file__).parents[2] / "bpf" / "deploy"
AGENT = "system:serviceaccount:kubeverdict:agent"
TIMING = Timing(silence=3.0, watch=20.0, first_wait=0.05, longest_wait=0.4)
SECONDS = 30.0


@pytest.fixture
def server(api_server: Api) -> Iterator[Api]:
    roles = list(yaml.safe_load_all((DEPLOY / "rbac.yaml").read_text()))
    pods = [pod(name, f"10.9.3.{at}") for at, name in enumerate(("web", "client"), 1)]
    assert load(api_server, [*roles, *pods, policy("web", "web", "client")]) == []
    yield api_server
    for where in (PODS, POLICIES):
        api_server.delete(f"{where}?gracePeriodSeconds=0")


@pytest.fixture
def front(server: Api) -> Iterator[Front]:
    with Front(server) as made:
        yield made


@pytest.fixture
def source(front: Front, tmp_path: Path) -> Iterator[LiveSource]:
    path = str(front.kubeconfig(tmp_path))
    made = LiveSource(
        live.find_access(path, impersonation=live.Impersonation(AGENT)), timing=TIMING
    )
    yield made
    made.close()


def wait(seconds: float) -> None:
    time.sleep(seconds)


def until_changed(source: LiveSource) -> None:
    deadline = time.monotonic() + SECONDS
    while not source.changed():
        assert time.monotonic() < deadline, source.stale
        time.sleep(0.05)


def test_what_changes_is_an_edit(server: Api, source: LiveSource) -> None:
    assert source.changed()
    first = source.read(wait)
    assert first.edit is None and not first.remarks
    cluster = first.cluster
    assert {one.name for one in cluster.pods if one.namespace == SPACE} == {"web", "client"}
    assert not source.changed() and not source.stale
    server.apply(f"{POLICIES}/more", policy("more", "client", "web"))
    until_changed(source)
    edit = source.read(wait).edit
    assert edit is not None and [one.name for one in edit.policies_in] == ["more"]
    assert edit == Edit("live", policies_in=edit.policies_in)
    assert {one.name for one in edited(cluster, edit).policies} == {"web", "more"}


def test_what_is_known_stays_while_nobody_answers(
    server: Api, front: Front, source: LiveSource
) -> None:
    source.read(wait)
    front.down()
    deadline = time.monotonic() + SECONDS
    while not source.stale:
        assert time.monotonic() < deadline
        source.changed()
        time.sleep(0.05)
    assert not source.changed() and source.age > 0
    server.apply(f"{POLICIES}/more", policy("more", "client", "web"))
    front.up()
    until_changed(source)
    assert source.read(wait).edit is not None
    while source.stale:
        assert time.monotonic() < deadline
        source.changed()
        time.sleep(0.05)


def test_it_begins_once_the_server_answers(front: Front, source: LiveSource) -> None:
    front.down()
    with pytest.raises(KubeverdictError, match="no answer"):
        source.read(wait)
    assert source.stale and not source.changed()
    front.up()
    until_changed(source)
    assert source.read(wait).cluster.pods
    assert not source.stale
