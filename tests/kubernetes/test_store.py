"""What is written behind the back of an API server is served by it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kubernetes import control_plane, enclosure
from tests.kubernetes.addresses import Addresses
from tests.kubernetes.api import Object
from tests.kubernetes.store import Store, key_of

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes networks"),
]


def policy(name: str) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"podSelector": {}},
    }


def test_objects_are_served_and_gone(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    room = enclosure.begin(folder, own_network=True)
    try:
        room.run("ip", "link", "set", "lo", "up")
        api = control_plane.start(
            room, Addresses("ipv4"), has_nodes=False, own_network=True, has_controllers=False
        )
        store = Store(room)
        items = {key_of("networkpolicies", item): item for item in map(policy, "abc")}
        store.write(items)
        path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
        assert [item["metadata"]["name"] for item in api.get(path)["items"]] == ["a", "b", "c"]
        found = api.get(f"{path}/a")
        assert found["metadata"]["uid"]
        # Defaults are the server's.
        assert found["spec"]["policyTypes"] == ["Ingress"]
        api.replace(f"{path}/a", {**policy("a"), "spec": {"podSelector": {}, "egress": [{}]}})
        store.write({}, list(items)[1:])
        assert [item["metadata"]["name"] for item in api.get(path)["items"]] == ["a"]
        store.close()
        api.close()
    finally:
        enclosure.end(folder)
