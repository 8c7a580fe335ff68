"""Requests to an API server: read only, with patience where it asks for it.

An answer of 429 or 503 is asked for again after as long as the server says, of 401 once with new
credentials. Bodies are compressed unless the kubeconfig says otherwise.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError, InsecureRequestWarning, LocationParseError

from kubeverdict.errors import KubeverdictError, UsageError
from kubeverdict.live.credentials import Certificate, Credentials, authority
from kubeverdict.live.kubeconfig import Access, Impersonation

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0  # without a byte
_TRIES = 8
_LONGEST_WAIT = 30.0  # seconds that a server may ask for
_BUSY = (429, 503)
_CHUNK = 1 << 16  # bytes


class ApiError(KubeverdictError):
    """The API server refused. ``status`` is HTTP's, 0 where there was no answer; ``reason`` is the
    server's word for it (``Forbidden``, ``Expired``). ``wait`` are the seconds after which it
    wants to be asked again, 0 where it does not say."""

    def __init__(self, status: int, reason: str, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.wait = wait


class _Status(msgspec.Struct):
    reason: str = ""
    message: str = ""


class Stream:
    """The lines of an answer, as they come. To be closed by who reads it; another thread may
    interrupt that."""

    def __init__(self, server: str, response: urllib3.BaseHTTPResponse) -> None:
        self._server = server
        self._response = response
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Raises ApiError where the answer breaks off, or nothing comes for too long."""
        parts: list[bytes] = []
        try:
            for chunk in self._response.stream(_CHUNK, decode_content=True):
                *ended, last = chunk.split(b"\n")
                for line in ended:
                    yield b"".join((*parts, line))
                    parts.clear()
                if last:
                    parts.append(last)
        # Closing it under a thread that reads shows itself in many ways.
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            if not self._closed:
                raise ApiError(0, "", f"{self._server}: {_cause(error)}") from None

    def close(self) -> None:
        self._response.close()

    def interrupt(self) -> None:
        """No further line comes."""
        self._closed = True
        found = getattr(getattr(self._response, "connection", None), "sock", None)
        inner = getattr(found, "socket", found)  # of TLS inside of TLS, to a proxy
        if isinstance(inner, socket.socket):
            with suppress(OSError):
                # Not SSLSocket's own, which takes away what the other thread reads with.
                socket.socket.shutdown(inner, socket.SHUT_RDWR)


class ApiClient:
    """An API server. Not to be shared between threads; those of several threads may have the same
    ``credentials``. With ``tries`` of 1 nothing is asked for again."""

    def __init__(
        self, access: Access, credentials: Credentials | None = None, tries: int = _TRIES
    ) -> None:
        self.access = access
        self._tries = tries
        where = urlsplit(access.cluster.server)
        if where.scheme not in ("http", "https") or not where.hostname:
            raise UsageError(f"context {access.name!r}: no server's address: {where.geturl()!r}")
        self._base = access.cluster.server.rstrip("/")
        self._credentials = credentials or Credentials(access)
        self._certificate: Certificate | None = None
        self._pool: urllib3.PoolManager | None = None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.clear()
            self._pool = None

    def get(self, path: str, accept: str = "application/json", **query: str) -> bytes:
        """The body of an answer. Raises ApiError, and UsageError where credentials are missing."""
        return self._answer(path, accept, query, None).data

    def stream(self, path: str, seconds: float, **query: str) -> Stream:
        """The lines of an answer that goes on; ``seconds`` is how long nothing may come. Raises as
        :meth:`get`."""
        return Stream(self._base, self._answer(path, "application/json", query, seconds))

    def _answer(
        self, path: str, accept: str, query: Mapping[str, str], stream: float | None
    ) -> urllib3.BaseHTTPResponse:
        url = f"{self._base}{path}{'?' if query else ''}{urlencode(query)}"
        renewed = False
        for attempt in range(1, self._tries + 2):
            answer = self._request(url, accept, stream)
            if answer.status == 200:
                return answer
            if answer.status == 401 and not renewed and self._credentials.refuse():
                answer.drain_conn()
                renewed = True
                continue
            if answer.status not in _BUSY or attempt >= self._tries:
                break
            answer.drain_conn()
            time.sleep(_wait(answer.headers.get("Retry-After"), attempt))
        raise self._refusal(path, answer)

    def _request(self, url: str, accept: str, stream: float | None) -> urllib3.BaseHTTPResponse:
        headers = HTTPHeaderDict({"Accept": accept, "User-Agent": "kubeverdict"})
        if not self.access.cluster.disable_compression and stream is None:
            headers["Accept-Encoding"] = "gzip"
        authorization = self._credentials.authorization()
        if authorization:
            headers["Authorization"] = authorization
        _impersonate(headers, self.access.impersonation)
        options: dict[str, Any] = {}
        if stream is not None:
            options["preload_content"] = False
            options["timeout"] = urllib3.Timeout(connect=_CONNECT_SECONDS, read=stream)
        try:
            return self._connections().request(
                "GET", url, headers=headers, retries=False, **options
            )
        except HTTPError as error:
            raise ApiError(0, "", f"{self._base}: no answer: {_cause(error)}") from None

    def _connections(self) -> urllib3.PoolManager:
        """The connections; new ones once a plug-in has given another certificate."""
        certificate = self._credentials.certificate()
        if self._pool is None or certificate != self._certificate:
            self.close()
            self._pool = _pool(self.access, certificate)
            self._certificate = certificate
        return self._pool

    def _refusal(self, path: str, answer: urllib3.BaseHTTPResponse) -> ApiError:
        try:
            said = msgspec.json.decode(answer.data, type=_Status)
        except (msgspec.DecodeError, UnicodeError, HTTPError, OSError):
            said = _Status()
        message = said.message or f"{answer.status} {answer.reason or ''}".strip()
        asked = answer.headers.get("Retry-After")
        wait = _wait(asked, 0) if asked else 0.0
        return ApiError(answer.status, said.reason, f"{self._base}{path}: {message}", wait)


def _pool(access: Access, certificate: Certificate | None) -> urllib3.PoolManager:
    cluster = access.cluster
    context = _tls(access, certificate)
    name = cluster.tls_server_name or None
    options: dict[str, object] = {
        "timeout": urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
    }
    if urlsplit(cluster.server).scheme == "https":
        options["ssl_context"] = context
        options["server_hostname"] = name
        options["assert_hostname"] = False if cluster.insecure_skip_tls_verify else name
    proxy = cluster.proxy_url or _proxy_of_environment(cluster.server)
    if not proxy:
        return urllib3.PoolManager(**options)  # type: ignore[arg-type]
    try:
        return urllib3.ProxyManager(proxy, **options)  # type: ignore[arg-type]
    except (LocationParseError, HTTPError, ValueError):
        where = urlsplit(proxy)
        raise UsageError(
            f"context {access.name!r}: the proxy {where.scheme}://{where.hostname} cannot be used: "
            "it must be http:// or https://"
        ) from None


def _proxy_of_environment(server: str) -> str:
    """As ``HTTPS_PROXY`` and ``NO_PROXY`` say."""
    where = urlsplit(server)
    if where.hostname is None or urllib.request.proxy_bypass(where.netloc):
        return ""
    return urllib.request.getproxies().get(where.scheme, "")


def _tls(access: Access, certificate: Certificate | None) -> ssl.SSLContext:
    cluster = access.cluster
    trusted = authority(access)
    if trusted and cluster.insecure_skip_tls_verify:
        raise UsageError(
            f"context {access.name!r}: a certificate-authority beside insecure-skip-tls-verify"
        )
    try:
        context = ssl.create_default_context(cadata=trusted.decode() if trusted else None)
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise UsageError(f"context {access.name!r}: the certificate-authority is no PEM") from None
    if cluster.insecure_skip_tls_verify:
        urllib3.disable_warnings(InsecureRequestWarning)  # the kubeconfig asks for it
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        _present(context, certificate, access.name)
    return context


def _present(context: ssl.SSLContext, certificate: Certificate, name: str) -> None:
    """OpenSSL reads files alone: one that nobody else can read, and only while it does."""
    with tempfile.TemporaryDirectory(prefix="kubeverdict-") as folder:
        path = Path(folder) / "client.pem"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(certificate.certificate.rstrip() + b"\n" + certificate.key)
        try:
            # A password would be asked for on the terminal.
            context.load_cert_chain(path, password=lambda: b"")
        except (ssl.SSLError, OSError):
            raise UsageError(
                f"context {name!r}: the client certificate and its key cannot be used"
            ) from None


def _impersonate(headers: HTTPHeaderDict, whom: Impersonation) -> None:
    if whom.user:
        headers["Impersonate-User"] = whom.user
    if whom.uid:
        headers["Impersonate-Uid"] = whom.uid
    for group in whom.groups:
        headers.add("Impersonate-Group", group)
    for name, values in whom.extra.items():
        for value in values:
            headers.add(f"Impersonate-Extra-{name}", value)


def _wait(said: str | None, attempt: int) -> float:
    """Seconds until the next attempt."""
    try:
        wanted = float(said or "")
    except ValueError:
        wanted = 0.25 * 2.0**attempt
    return min(max(wanted, 0.1), _LONGEST_WAIT)


def _cause(error: BaseException) -> str:
    """The innermost reason, without the addresses of objects."""
    while (inner := getattr(error, "reason", None)) is not None and isinstance(
        inner, BaseException
    ):
        error = inner
    if len(error.args) > 1 and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    text = str(error)
    return text.rpartition(">: ")[2] or type(error).__name__
