"""Requests over a connection: what is sent, and what is done about the answer."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kubeverdict.errors import UsageError
from kubeverdict.live.client import ApiClient, ApiError
from kubeverdict.live.kubeconfig import Access, ClusterEntry, Impersonation, UserEntry


class Server:
    """Answers each request with the next of ``answers``: a status, headers and a body."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                groups = self.headers.get_all("Impersonate-Group") or []
                outer.asked.append((self.path, {**self.headers, "groups": ",".join(groups)}))
                status, headers, body = outer.answers.pop(0)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    started = Server()
    yield started
    started.close()


def client(server: Server, user: UserEntry | None = None, **settings: Any) -> ApiClient:
    whom = settings.pop("impersonation", Impersonation())
    entry = ClusterEntry(server=settings.pop("address", server.address), **settings)
    return ApiClient(Access("prod", entry, user or UserEntry(), "", whom, Path()))


def test_what_is_sent(server: Server) -> None:
    server.answers = [(200, {"Content-Encoding": "gzip"}, gzip.compress(b'{"a": 1}'))]
    whom = Impersonation("jane", ("dev", "ops"), "7", {"reason": ("audit",)})
    asking = client(server, UserEntry(token="abc"), impersonation=whom)
    assert asking.get("/api/v1/pods", limit="5") == b'{"a": 1}'
    asking.close()
    ((path, headers),) = server.asked
    assert path == "/api/v1/pods?limit=5"
    assert headers["Authorization"] == "Bearer abc"
    assert headers["User-Agent"] == "kubeverdict"
    assert headers["Accept-Encoding"] == "gzip"
    assert (headers["Impersonate-User"], headers["groups"]) == ("jane", "dev,ops")
    assert (headers["Impersonate-Uid"], headers["Impersonate-Extra-reason"]) == ("7", "audit")


def test_compression_can_be_turned_off(server: Server) -> None:
    server.answers = [(200, {}, b"{}")]
    client(server, disable_compression=True).get("/version")
    assert "gzip" not in server.asked[0][1].get("Accept-Encoding", "")


def test_a_busy_server_is_asked_again_when_it_says(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("kubeverdict.live.client.time.sleep", waited.append)
    server.answers = [
        (429, {"Retry-After": "3"}, b""),
        (503, {}, b""),
        (429, {"Retry-After": "86400"}, b""),
        (200, {}, b"{}"),
    ]
    assert client(server).get("/api") == b"{}"
    assert waited == [3.0, 1.0, 30.0]
    server.answers = [(429, {}, b"")] * 20
    with pytest.raises(ApiError, match="429"):
        client(server).get("/api")


def test_credentials_that_are_refused_are_renewed_once(server: Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    asking = client(server, UserEntry(token_file=str(token)))
    server.answers = [
        (200, {}, b"{}"),
        (401, {}, b""),
        (200, {}, b"{}"),
        (401, {}, b""),
        (401, {}, b""),
    ]
    asking.get("/api")
    token.write_text("new")
    asking.get("/api")
    assert [headers["Authorization"] for _, headers in server.asked] == [
        "Bearer old",
        "Bearer old",
        "Bearer new",
    ]
    with pytest.raises(ApiError) as caught:
        asking.get("/api")
    assert caught.value.status == 401


def test_a_refusal_in_the_servers_words(server: Server) -> None:
    body = {"kind": "Status", "reason": "Forbidden", "message": "pods is forbidden: no"}
    server.answers = [(403, {}, json.dumps(body).encode())]
    with pytest.raises(ApiError) as caught:
        client(server, UserEntry(token="very secret")).get("/api/v1/pods")
    assert (caught.value.status, caught.value.reason) == (403, "Forbidden")
    assert str(caught.value) == f"{server.address}/api/v1/pods: pods is forbidden: no"


def test_no_answer(server: Server) -> None:
    server.close()
    with pytest.raises(ApiError, match=r"no answer: .*refused") as caught:
        client(server).get("/api")
    assert caught.value.status == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": "prod:6443"}, "no server's address"),
        ({"proxy_url": "socks5://proxy:1080"}, "the proxy socks5://proxy cannot be used"),
        ({"certificate_authority": "/no/such"}, "the certificate-authority cannot be read"),
        ({"certificate_authority_data": "bm8="}, "the certificate-authority is no PEM"),
        (
            {"certificate_authority_data": "bm8=", "insecure_skip_tls_verify": True},
            "a certificate-authority beside insecure-skip-tls-verify",
        ),
    ],
)
def test_clusters_that_cannot_be_asked(
    server: Server, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        client(server, **settings).get("/api")


def test_a_client_certificate_that_is_none(server: Server) -> None:
    user = UserEntry(client_certificate_data="bm8=", client_key_data="bm8=")
    with pytest.raises(UsageError, match="the client certificate and its key cannot be used"):
        client(server, user, address="https://127.0.0.1:1").get("/api")
