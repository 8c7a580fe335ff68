"""Tokens, files with tokens, and programs that print them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubeverdict.errors import UsageError
from kubeverdict.live import credentials
from kubeverdict.live.credentials import Credentials
from kubeverdict.live.kubeconfig import Access, ClusterEntry, Impersonation, Plugin, UserEntry

V1 = "client.authentication.k8s.io/v1"


def access(user: UserEntry, folder: Path = Path(), **cluster: Any) -> Access:
    entry = ClusterEntry(server="https://prod:6443", **cluster)
    return Access("prod", entry, user, "", Impersonation(), folder)


def plugin(folder: Path, prints: str, **settings: Any) -> UserEntry:
    """A user whose plug-in runs ``prints``, and counts its runs in the file ``runs``."""
    path = folder / "login"
    path.write_text(f"#!/bin/sh\necho run >> {folder}/runs\n{prints}\n")
    path.chmod(0o755)
    settings.setdefault("api_version", V1)
    return UserEntry(plugin=Plugin(command="./login", **settings))


def credential(version: str = V1, **status: Any) -> str:
    content = {"apiVersion": version, "kind": "ExecCredential", "status": status}
    return f"cat <<'END'\n{json.dumps(content)}\nEND"


def runs(folder: Path) -> int:
    return (folder / "runs").read_text().count("run")


def test_what_is_written_in_the_kubeconfig() -> None:
    assert Credentials(access(UserEntry(token="abc"))).authorization() == "Bearer abc"
    basic = Credentials(access(UserEntry(username="me", password="secret"))).authorization()
    assert basic == f"Basic {base64.b64encode(b'me:secret').decode()}"
    assert Credentials(access(UserEntry())).authorization() == ""
    assert not Credentials(access(UserEntry(token="abc"))).refuse()


def test_a_token_in_a_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    found = Credentials(access(UserEntry(token="never", token_file=str(path))))
    assert found.authorization() == "Bearer first"
    path.write_text("second")
    assert found.authorization() == "Bearer first"
    assert found.refuse()
    assert found.authorization() == "Bearer second"
    # What was read last serves where the file is gone for a moment.
    path.unlink()
    found.refuse()
    assert found.authorization() == "Bearer second"


def test_a_token_file_that_never_was(tmp_path: Path) -> None:
    found = Credentials(access(UserEntry(token_file=str(tmp_path / "token"))))
    with pytest.raises(UsageError, match="token: the token cannot be read: No such file"):
        found.authorization()


def test_a_plugin_is_asked_until_what_it_said_expires(tmp_path: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    user = plugin(tmp_path, credential(token="abc", expirationTimestamp=soon))
    found = Credentials(access(user, tmp_path))
    assert found.authorization() == found.authorization() == "Bearer abc"
    assert runs(tmp_path) == 1
    assert found.refuse()
    found.authorization()
    assert runs(tmp_path) == 2
    user = plugin(tmp_path, credential(token="abc", expirationTimestamp="2020-01-01T00:00:00Z"))
    found = Credentials(access(user, tmp_path))
    found.authorization(), found.authorization()
    assert runs(tmp_path) == 4


def test_a_plugin_knows_for_which_cluster_it_is_asked(tmp_path: Path) -> None:
    user = plugin(
        tmp_path,
        f'echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; echo "$EXTRA $1" >> {tmp_path}/info\n'
        + credential(token="abc"),
        args=("--prod",),
        provide_cluster_info=True,
    )
    raw = msgspec.to_builtins(user.plugin) | {"env": [{"name": "EXTRA", "value": "more"}]}
    user = UserEntry(plugin=msgspec.convert(raw, Plugin))
    authority = base64.b64encode(b"PEM").decode()
    Credentials(access(user, tmp_path, certificate_authority_data=authority)).authorization()
    info, rest = (tmp_path / "info").read_text().splitlines()
    assert json.loads(info) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {"server": "https://prod:6443", "certificate-authority-data": authority},
        },
    }
    assert rest == "more --prod"


def test_a_plugin_may_give_a_certificate(tmp_path: Path) -> None:
    user = plugin(tmp_path, credential(clientCertificateData="CERT", clientKeyData="KEY"))
    found = Credentials(access(user, tmp_path))
    assert found.certificate() == (b"CERT", b"KEY")
    assert found.authorization() == ""


@pytest.mark.parametrize(
    ("prints", "settings", "message"),
    [
        ("exit 3", {}, "ended with status 3"),
        ("echo nothing", {}, "printed no ExecCredential"),
        (credential(), {}, "printed neither a token nor a certificate"),
        (
            credential(clientCertificateData="C"),
            {},
            "one of a certificate and its key alone",
        ),
        (credential("client.authentication.k8s.io/v1beta1", token="t"), {}, "printed version"),
        (
            credential(token="t", expirationTimestamp="soon"),
            {},
            "expirationTimestamp that is none",
        ),
        (credential(token="t"), {"api_version": "v1"}, "is of version 'v1'"),
        (credential(token="t"), {"interactive_mode": "Always"}, "needs a terminal to log in"),
        ("sleep 10", {}, "took more than 0 seconds"),
    ],
)
def test_plugins_that_fail(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prints: str,
    settings: dict[str, Any],
    message: str,
) -> None:
    if "sleep" in prints:
        monkeypatch.setattr(credentials, "_PLUGIN_SECONDS", 0.2)
        prints = "exec sleep 10"
    user = plugin(tmp_path, prints, **settings)
    with pytest.raises(UsageError, match=message) as caught:
        Credentials(access(user, tmp_path)).authorization()
    assert "context 'prod': the credential plug-in ./login" in str(caught.value)


def test_a_plugin_that_is_not_installed(tmp_path: Path) -> None:
    user = UserEntry(
        plugin=Plugin("no-such-login", api_version=V1, install_hint="see https://example.com\n")
    )
    with pytest.raises(UsageError, match=r"is not installed; see https://example\.com$"):
        Credentials(access(user, tmp_path)).authorization()


def test_certificates_and_keys_go_together(tmp_path: Path) -> None:
    data = base64.b64encode(b"CERT").decode()
    with pytest.raises(UsageError, match="go together"):
        Credentials(access(UserEntry(client_certificate_data=data))).certificate()
    with pytest.raises(UsageError, match="client-certificate-data: not base64"):
        Credentials(access(UserEntry(client_certificate_data="%"))).certificate()
    with pytest.raises(UsageError, match="the client-key cannot be read"):
        user = UserEntry(client_certificate_data=data, client_key=str(tmp_path / "key"))
        Credentials(access(user)).certificate()


def test_what_kubernetes_removed_is_refused() -> None:
    with pytest.raises(UsageError, match=r"auth-provider, which Kubernetes 1\.26 removed"):
        Credentials(access(UserEntry(auth_provider={"name": "gcp"})))
