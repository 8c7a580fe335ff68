"""Who asks: tokens, certificates, passwords, and programs that print them.

A token in a file is read again each minute, because what mounts it replaces it; what a plug-in
printed is used until it expires. After an answer of 401 both are asked anew. Secrets are in no
message: not in those of errors, nor in a command line.

Source: client-go's ``transport`` and ``plugin/pkg/client/auth/exec``.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from kubeverdict.errors import UsageError
from kubeverdict.live.kubeconfig import Access, Plugin

_GROUP = "client.authentication.k8s.io"
_VERSIONS = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
_FILE_SECONDS = 60.0
_EARLY_SECONDS = 10.0  # before its end, a credential counts as expired
_PLUGIN_SECONDS = 120.0  # a person may have to log in


class Certificate(NamedTuple):
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str = ""
    status: _Status | None = None


class Credentials:
    """Those of one :class:`Access`. Methods raise UsageError where they cannot be had. Threads may
    share them: a plug-in runs once for all."""

    def __init__(self, access: Access) -> None:
        self._lock = threading.RLock()
        self._access = access
        self._user = access.user
        self._printed: _Status | None = None
        self._printed_until = 0.0
        self._token = ""
        self._read_at = float("-inf")
        if self._user.auth_provider is not None:
            raise UsageError(
                f"context {access.name!r}: the user has an auth-provider, which Kubernetes 1.26 "
                "removed; use a credential plug-in (exec)"
            )

    def authorization(self) -> str:
        """The value of the header, empty where there is none."""
        with self._lock:
            return self._authorization()

    def _authorization(self) -> str:
        token = self._plugin_status().token if self._user.plugin else self._own_token()
        if token:
            return f"Bearer {token}"
        if self._user.username:
            pair = f"{self._user.username}:{self._user.password}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        return ""

    def certificate(self) -> Certificate | None:
        """The client certificate, if there is one."""
        with self._lock:
            return self._certificate()

    def _certificate(self) -> Certificate | None:
        user = self._user
        found = _pem(user.client_certificate_data, user.client_certificate, "client-certificate")
        key = _pem(user.client_key_data, user.client_key, "client-key")
        if user.plugin:
            status = self._plugin_status()
            if status.client_certificate_data:
                found = status.client_certificate_data.encode()
                key = status.client_key_data.encode()
        if bool(found) != bool(key):
            raise UsageError(
                f"context {self._access.name!r}: a client certificate and its key go together, and "
                "one of them is missing"
            )
        return Certificate(found, key) if found and key else None

    def refuse(self) -> bool:
        """The server does not take them. Whether asking again may give others."""
        user = self._user
        with self._lock:
            self._printed = None
            self._read_at = float("-inf")
        return bool(user.plugin or user.token_file)

    def _own_token(self) -> str:
        path = self._user.token_file
        if not path:
            return self._user.token
        now = time.monotonic()
        if now - self._read_at >= _FILE_SECONDS:
            try:
                self._token = Path(path).read_text("utf-8").strip()
                self._read_at = now
            except (OSError, UnicodeDecodeError) as error:
                if not (self._token or self._user.token):
                    raise UsageError(
                        f"{path}: the token cannot be read: {_reason(error)}"
                    ) from None
        return self._token or self._user.token

    def _plugin_status(self) -> _Status:
        if self._printed is None or time.time() >= self._printed_until:
            plugin = self._user.plugin
            assert plugin is not None
            self._printed, self._printed_until = _run(plugin, self._access)
        return self._printed


def _run(plugin: Plugin, access: Access) -> tuple[_Status, float]:
    """What a plug-in prints, and until when it may be used, in seconds since the epoch."""
    name = plugin.command

    def wrong(what: str) -> UsageError:
        return UsageError(f"context {access.name!r}: the credential plug-in {name} {what}")

    if plugin.api_version not in _VERSIONS:
        raise wrong(f"is of version {plugin.api_version!r}: it must be {' or '.join(_VERSIONS)}")
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive_mode == "Always" and not terminal:
        raise wrong("needs a terminal to log in")
    interactive = terminal and plugin.interactive_mode != "Never"
    command = str(access.folder / name) if os.sep in name else name
    environment = {one.name: one.value for one in plugin.env or ()}
    environment["KUBERNETES_EXEC_INFO"] = _exec_info(plugin, access, interactive)
    try:
        done = subprocess.run(
            [command, *(plugin.args or ())],
            env={**os.environ, **environment},
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_PLUGIN_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        hint = f"; {plugin.install_hint.strip()}" if plugin.install_hint else ""
        raise wrong(f"is not installed{hint}") from None
    except OSError as error:
        raise wrong(f"cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise wrong(f"took more than {_PLUGIN_SECONDS:.0f} seconds") from None
    if done.returncode:
        raise wrong(f"ended with status {done.returncode}")
    try:
        printed = msgspec.json.decode(done.stdout, type=_ExecCredential)
    except msgspec.DecodeError:
        raise wrong("printed no ExecCredential") from None
    status = printed.status
    if printed.api_version != plugin.api_version:
        raise wrong(f"printed version {printed.api_version!r}, not {plugin.api_version!r}")
    if status is None or not (status.token or status.client_certificate_data):
        raise wrong("printed neither a token nor a certificate")
    if bool(status.client_certificate_data) != bool(status.client_key_data):
        raise wrong("printed one of a certificate and its key alone")
    if not status.expiration_timestamp:
        return status, float("inf")
    try:
        until = datetime.fromisoformat(status.expiration_timestamp)
    except ValueError:
        raise wrong("printed an expirationTimestamp that is none") from None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return status, until.timestamp() - _EARLY_SECONDS


def _exec_info(plugin: Plugin, access: Access, interactive: bool) -> str:
    spec: dict[str, object] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        cluster = access.cluster
        shown = {
            "server": cluster.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
            "certificate-authority-data": base64.b64encode(authority(access) or b"").decode(),
            "proxy-url": cluster.proxy_url,
        }
        spec["cluster"] = {name: value for name, value in shown.items() if value}
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    return msgspec.json.encode(info).decode()


def authority(access: Access) -> bytes | None:
    """The certificates that the server's must be signed by, in PEM; None: those of the system.
    Raises UsageError where they cannot be read."""
    cluster = access.cluster
    found = _pem(
        cluster.certificate_authority_data, cluster.certificate_authority, "certificate-authority"
    )
    return found or None


def _pem(data: str, path: str, field: str) -> bytes:
    """What a field holds in base64, or in a file; empty where there is neither."""
    if data:
        try:
            return base64.b64decode(data, validate=True)
        except ValueError:
            raise UsageError(f"{field}-data: not base64") from None
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the {field} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "not UTF-8 text"
