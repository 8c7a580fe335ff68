"""What an API server holds, in files, for an agent that watches a folder.

usage: python -m tests.kubernetes.feed KUBECONFIG FOLDER [SECONDS]
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.kubernetes.api import Api, ApiError, Object

_POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
_WATCHED = {
    "/api/v1/namespaces": ("v1", "Namespace"),
    "/api/v1/nodes": ("v1", "Node"),
    "/api/v1/pods": ("v1", "Pod"),
    "/api/v1/services": ("v1", "Service"),
    "/apis/discovery.k8s.io/v1/endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    _POLICIES: ("networking.k8s.io/v1", "NetworkPolicy"),
}
# Nobody judges by these, and some of them change all the time.
_NOISE = ("managedFields", "resourceVersion", "generation")
_SECONDS_BEFORE_RETRY = 0.2
# How long the end of a feed may take.
_SECONDS_OF_A_WATCH = 5


class Feed:
    """Keeps the files of ``folder`` up to date for as long as the block lasts; each appears at
    once, whole, when something in it changed.

    There is one for each kind, and for policies one for each namespace: an agent reads only those
    that changed where they hold policies alone. ``pause`` is how many seconds a file is left alone
    after it was written: of one that changes all the time nobody can read much.
    """

    def __init__(self, api: Api, folder: Path, pause: float = 0.0) -> None:
        self._api = api
        self._folder = folder
        self._pause = pause
        # What each file holds, object by object; which are to be written, and when each was.
        self._files: dict[str, dict[str, bytes]] = {}
        self._stale: set[str] = set()
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(where,), daemon=True) for where in _WATCHED
        ]
        self._writer = threading.Thread(target=self._write_on_change, daemon=True)

    def __enter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        for where in _WATCHED:
            self._list(where)
        self._write_due()
        for thread in (*self._threads, self._writer):
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ending.set()
        self._changed.set()
        for thread in (*self._threads, self._writer):
            thread.join()

    def _list(self, where: str) -> str:
        """Take what there is now; returns the version from which to watch."""
        found = self._api.get(where)
        # A file that nothing is left of is to become empty.
        files: dict[str, dict[str, bytes]] = {
            name: {} for name in self._files if _is_of(name, where)
        }
        for item in found["items"]:
            files.setdefault(_file(where, item), {})[_key(item)] = _text(where, item)
        with self._lock:
            differ = {name for name in files if self._files.get(name) != files[name]}
            self._files |= files
            self._stale |= differ
        if differ:
            self._changed.set()
        return str(found["metadata"]["resourceVersion"])

    def _watch(self, where: str) -> None:
        while not self._ending.is_set():
            # The server may be restarted, or have forgotten what came after a version.
            with contextlib.suppress(ApiError, OSError, http.client.HTTPException, ValueError):
                self._follow(where, self._list(where))
            self._ending.wait(_SECONDS_BEFORE_RETRY)

    def _follow(self, where: str, version: str) -> None:
        """Take what changes after a version, in one watch after the other."""
        while not self._ending.is_set():
            for event in self._api.watch(where, version, _SECONDS_OF_A_WATCH):
                if event["type"] == "ERROR" or self._ending.is_set():
                    return
                item = event["object"]
                version = item["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._take(where, event["type"], item)

    def _take(self, where: str, what: str, item: Object) -> None:
        name, key = _file(where, item), _key(item)
        with self._lock:
            objects = self._files.setdefault(name, {})
            if what == "DELETED":
                objects.pop(key, None)
            else:
                text = _text(where, item)
                if objects.get(key) == text:
                    return
                objects[key] = text
            self._stale.add(name)
        self._changed.set()

    def _write_on_change(self) -> None:
        while self._changed.wait():
            self._changed.clear()
            if (wait := self._write_due()) is not None:
                self._ending.wait(wait)
                self._changed.set()
            if self._ending.is_set():
                return

    def _write_due(self) -> float | None:
        """Write what changed and may be written; returns after how many seconds the next may."""
        with self._lock:
            now = time.monotonic()
            due = {name: self._written.get(name, -math.inf) + self._pause for name in self._stale}
            ready = [name for name, when in due.items() if when <= now]
            self._stale.difference_update(ready)
            texts = {name: list(self._files[name].values()) for name in ready}
        for name, items in texts.items():
            _write(self._folder / f"{name}.json", items)
            self._written[name] = time.monotonic()
        return min((when - now for when in due.values() if when > now), default=None)


def _write(path: Path, items: Sequence[bytes]) -> None:
    if not items:
        path.unlink(missing_ok=True)
        return
    made = path.with_suffix(".new")
    made.write_bytes(b'{"apiVersion":"v1","kind":"List","items":[' + b",\n".join(items) + b"]}\n")
    os.replace(made, path)


def _file(where: str, item: Object) -> str:
    """The name of the file for an object of a list."""
    name = where.rpartition("/")[2]
    return f"{name}-{item['metadata']['namespace']}" if where == _POLICIES else name


def _is_of(name: str, where: str) -> bool:
    """Whether a file holds objects of a list."""
    return name.partition("-")[0] == where.rpartition("/")[2]


def _key(item: Object) -> str:
    return f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def _text(where: str, item: Object) -> bytes:
    version, kind = _WATCHED[where]
    metadata = {key: value for key, value in item["metadata"].items() if key not in _NOISE}
    body: dict[str, Any] = {**item, "apiVersion": version, "kind": kind, "metadata": metadata}
    if kind == "Node":
        body["status"] = {"addresses": item.get("status", {}).get("addresses", [])}
    return json.dumps(body, sort_keys=True).encode()


def main(arguments: Sequence[str]) -> int:
    kubeconfig, folder, *pause = arguments
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Feed(Api(Path(kubeconfig)), Path(folder), *map(float, pause)):
        print("ready", flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
