"""The files that a feed keeps are what the API server holds, and nothing of a feed stays."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kubernetes.api import Api
from tests.kubernetes.feed import Feed

pytestmark = pytest.mark.programs

SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fed"}}
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "fed", "namespace": "fed"},
    "spec": {"podSelector": {}},
}


def names(path: Path) -> set[str]:
    if not path.exists():
        return set()
    return {item["metadata"]["name"] for item in json.loads(path.read_bytes())["items"]}


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_feed_follows_and_ends(api_server: Api, tmp_path: Path) -> None:
    spaces = tmp_path / "namespaces.json"
    policies = tmp_path / "networkpolicies-fed.json"
    before = set(threading.enumerate())
    with Feed(api_server, tmp_path):
        assert "default" in names(spaces)
        api_server.apply(api_server.path_of(SPACE), SPACE)
        until(lambda: "fed" in names(spaces))
        written = spaces.stat().st_mtime_ns
        # Longer than one watch lasts: nothing changed, and so nothing is written.
        time.sleep(7)
        assert spaces.stat().st_mtime_ns == written
        api_server.apply(api_server.path_of(POLICY), POLICY)
        until(lambda: names(policies) == {"fed"})
        api_server.delete(api_server.path_of(POLICY))
        until(lambda: not policies.exists())
    assert set(threading.enumerate()) <= before


def test_a_file_is_left_alone_for_a_while(api_server: Api, tmp_path: Path) -> None:
    spaces = tmp_path / "namespaces.json"
    seen = []
    with Feed(api_server, tmp_path, pause=1.0):
        seen.append(spaces.stat().st_mtime)
        for number in range(3):
            labels = {"number": str(number)}
            space = {**SPACE, "metadata": {"name": "left-alone", "labels": labels}}
            api_server.apply(api_server.path_of(space), space)
            time.sleep(0.1)
        until(lambda: b'"number": "2"' in spaces.read_bytes())
        seen.append(spaces.stat().st_mtime)
    assert seen[1] - seen[0] > 0.9
