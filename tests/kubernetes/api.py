"""A small client of an API server: requests as threads make them, answers as plain objects."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.lab.namespaces import entering

Object = dict[str, Any]

_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_MANAGER = "kubeverdict"
_SECONDS = 60.0


class ApiError(Exception):
    """The API server refused; ``status`` is HTTP's, the text is the server's message, and
    ``causes`` are the fields that are wrong, each with what is wrong with it."""

    def __init__(self, status: int, message: str, causes: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.causes = tuple(causes)


class Api:
    """An API server that a kubeconfig, written by this package, tells how to reach.

    ``network`` is the file of the network namespace to call from; None stands for the caller's.
    Each thread has a connection of its own. Methods raise ApiError where the server refuses.
    """

    def __init__(self, kubeconfig: Path, network: Path | None = None) -> None:
        config = json.loads(kubeconfig.read_text("utf-8"))
        self.kubeconfig = kubeconfig
        self.network = network
        cluster = config["clusters"][0]["cluster"]
        self.address = cluster["server"]
        self.authority = Path(cluster["certificate-authority"])
        self.token = config["users"][0]["user"]["token"]
        self._threads = threading.local()
        self._connections: list[http.client.HTTPSConnection] = []
        self._paths: dict[tuple[str, str], str] = {}

    def close(self) -> None:
        """Close the connections of all threads; no call may be under way."""
        while self._connections:
            self._connections.pop().close()
        self._threads = threading.local()

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def create(self, path: str, body: Mapping[str, Any], query: str = "") -> Any:
        return self.call("POST", path + query, body)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)

    def apply(self, path: str, body: Mapping[str, Any]) -> Any:
        """Server-side apply; fields that others own are taken over."""
        query = f"?fieldManager={_MANAGER}&force=true"
        return self.call("PATCH", path + query, body, _APPLY)

    def merge(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change the fields that ``body`` has."""
        return self.call("PATCH", path, body, _MERGE)

    def replace(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.call("PUT", path, body)

    def watch(self, path: str, version: str, seconds: int) -> Iterator[Any]:
        """The events of a list after ``version``, until the server ends it, after so many
        ``seconds`` at the latest. Now and then one is a bookmark, which has only a version."""
        connection = self._connect()
        with contextlib.closing(connection):
            query = (
                f"?watch=true&allowWatchBookmarks=true&resourceVersion={version}"
                f"&timeoutSeconds={seconds}"
            )
            headers = {"Authorization": f"Bearer {self.token}"}
            connection.request("GET", path + query, headers=headers)
            response = connection.getresponse()
            if response.status >= 300:
                raise ApiError(response.status, response.read().decode())
            for line in response:
                yield json.loads(line)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        content_type: str = _JSON,
    ) -> Any:
        """The answer, decoded where it is JSON."""
        data = json.dumps(body).encode() if isinstance(body, Mapping) else body
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        try:
            status, kind, answer = self._exchange(method, path, data, headers)
        except (http.client.HTTPException, ConnectionError, ssl.SSLEOFError):
            # The server may close a connection that was idle; a new one tells whether it is up.
            if not hasattr(self._threads, "connection"):
                raise
            self._threads.connection.close()
            del self._threads.connection
            status, kind, answer = self._exchange(method, path, data, headers)
        value: Any = json.loads(answer) if kind.startswith(_JSON) else answer.decode()
        if status >= 300:
            raise _refusal(status, value)
        return value

    def path_of(self, item: Mapping[str, Any], *, named: bool = True) -> str:
        """Where an object lies, or where those of its kind do. An object of a kind that has
        namespaces and that names none lies in ``default``."""
        api_version, kind = item["apiVersion"], item["kind"]
        if (api_version, kind) not in self._paths:
            root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            for resource in self.get(root)["resources"]:
                if "/" not in resource["name"]:
                    space = "/namespaces/{}" if resource["namespaced"] else ""
                    path = f"{root}{space}/{resource['name']}"
                    self._paths[api_version, resource["kind"]] = path
            if (api_version, kind) not in self._paths:
                raise ApiError(404, f"the server has no kind {kind} in {api_version}")
        metadata = item["metadata"]
        path = self._paths[api_version, kind].format(metadata.get("namespace", "default"))
        return f"{path}/{metadata['name']}" if named else path

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str, bytes]:
        connection: http.client.HTTPSConnection | None
        connection = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._threads.connection = self._connect()
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        return response.status, response.headers.get("Content-Type", ""), response.read()

    def _connect(self) -> http.client.HTTPSConnection:
        where = urlsplit(self.address)
        assert where.hostname is not None
        context = ssl.create_default_context(cafile=str(self.authority))
        connection = http.client.HTTPSConnection(
            where.hostname, where.port, timeout=_SECONDS, context=context
        )
        if self.network is None:
            connection.connect()
        else:
            entering(self.network, connection.connect)
        self._connections.append(connection)
        return connection


def _refusal(status: int, answer: Any) -> ApiError:
    if not isinstance(answer, dict):
        return ApiError(status, str(answer))
    causes = (answer.get("details") or {}).get("causes") or ()
    found = [(cause.get("field", ""), cause.get("message", "")) for cause in causes]
    return ApiError(status, answer.get("message", ""), found)
