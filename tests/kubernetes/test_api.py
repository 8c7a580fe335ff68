"""The client of API servers, where there is none."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

import pytest

from tests.kubernetes.api import Api


def test_a_server_that_does_not_listen_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kubeconfig, authority = tmp_path / "kubeconfig", tmp_path / "authority.pem"
    anyone, *_ = ssl.create_default_context().get_ca_certs(binary_form=True)
    authority.write_text(ssl.DER_cert_to_PEM_cert(anyone))
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}
    users = [{"user": {"token": "none"}}]
    kubeconfig.write_text(json.dumps({"clusters": [{"cluster": cluster}], "users": users}))
    api = Api(kubeconfig)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            api.get("/readyz")
