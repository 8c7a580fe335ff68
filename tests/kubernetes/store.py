"""The etcd behind an API server, written directly: a large cluster takes seconds, not minutes.

The API server sees such objects as if it had written them. It neither checks nor completes them.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from bench.lab.namespaces import entering
from tests.kubernetes.api import Object
from tests.kubernetes.enclosure import Room

ADDRESS = "etcd-address"
"""The file of a cluster's folder that tells where its etcd listens."""

_SECONDS = 60.0


class Store:
    """The etcd of the control plane in ``room``, which has a network of its own."""

    def __init__(self, room: Room) -> None:
        where = urlsplit((room.folder / ADDRESS).read_text("utf-8"))
        assert where.hostname is not None
        self._connection = http.client.HTTPConnection(where.hostname, where.port, timeout=_SECONDS)
        entering(room.network, self._connection.connect)

    def close(self) -> None:
        self._connection.close()

    def write(
        self, objects: Mapping[str, Object], removed: Iterable[str] = (), *, together: int = 1
    ) -> None:
        """Put objects at keys, and remove what is at others, ``together`` of them (100 at most) in
        one transaction. Raises RuntimeError where etcd refuses.

        All of a transaction have one version. An API server takes that of each for the next one, so
        who begins to watch in the middle of it misses the rest.
        """
        changes = [{"requestDeleteRange": {"key": _text(key.encode())}} for key in removed]
        changes += [
            {"requestPut": {"key": _text(key.encode()), "value": _text(_stored(key, item))}}
            for key, item in objects.items()
        ]
        for first in range(0, len(changes), together):
            self._call({"success": changes[first : first + together]})

    def _call(self, transaction: Mapping[str, Any]) -> None:
        body = json.dumps(transaction)
        self._connection.request("POST", "/v3/kv/txn", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read().decode()
        if response.status != 200:
            raise RuntimeError(f"etcd: status {response.status}: {answer[:500]}")


def key_of(resource: str, item: Object) -> str:
    """Where an object lies; ``resource`` is the word that the store has for its kind."""
    metadata = item["metadata"]
    space = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"/registry/{resource}/{space}{metadata['name']}"


def _stored(key: str, item: Object) -> bytes:
    metadata = {name: one for name, one in item["metadata"].items() if name != "resourceVersion"}
    digest = hashlib.sha256(key.encode()).digest()
    metadata["uid"] = str(UUID(bytes=digest[:16], version=4))
    return json.dumps({**item, "metadata": metadata}).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
