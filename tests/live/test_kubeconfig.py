"""Kubeconfig files: which cluster, which user, and what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeverdict.errors import InputError, UsageError
from kubeverdict.live.kubeconfig import Impersonation, find_access


def config(name: str, **settings: Any) -> dict[str, Any]:
    """A file with one context ``name`` of a cluster and a user of that name."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443"}}],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}
        ],
        **settings,
    }


def written(path: Path, content: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_the_current_context(tmp_path: Path) -> None:
    access = find_access(written(tmp_path / "config", config("prod")))
    assert (access.name, access.cluster.server) == ("prod", "https://prod:6443")
    assert (access.user.token, access.namespace) == ("token-of-prod", "ns-prod")
    assert access.impersonation == Impersonation()


def test_files_are_merged_and_the_first_counts(tmp_path: Path) -> None:
    first = config("prod")
    del first["current-context"]
    second = config("stage")
    second["users"].append({"name": "prod", "user": {"token": "not this one"}})
    names = [
        written(tmp_path / "first", first),
        str(tmp_path / "not there"),
        written(tmp_path / "second", second),
    ]
    environment = {"KUBECONFIG": os.pathsep.join(names)}
    assert find_access(environment=environment).name == "stage"
    prod = find_access(context="prod", environment=environment)
    assert prod.user.token == "token-of-prod"


def test_the_home_folder_is_looked_at_last(tmp_path: Path) -> None:
    written(tmp_path / ".kube" / "config", config("home"))
    assert find_access(environment={"HOME": str(tmp_path)}).name == "home"


def test_paths_start_from_the_folder_of_their_file(tmp_path: Path) -> None:
    content = config("prod")
    content["clusters"][0]["cluster"]["certificate-authority"] = "pki/ca.crt"
    content["users"][0]["user"] = {"client-certificate": "me.crt", "client-key": "/keys/me.key"}
    access = find_access(written(tmp_path / "kube" / "config", content))
    assert access.cluster.certificate_authority == str(tmp_path / "kube" / "pki" / "ca.crt")
    assert access.user.client_certificate == str(tmp_path / "kube" / "me.crt")
    assert access.user.client_key == "/keys/me.key"


def test_somebody_else_is_asked_for(tmp_path: Path) -> None:
    content = config("prod")
    content["users"][0]["user"] |= {
        "as": "jane",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"reason": ["audit"]},
    }
    path = written(tmp_path / "config", content)
    assert find_access(path).impersonation == Impersonation(
        "jane", ("dev", "ops"), "", {"reason": ("audit",)}
    )
    assert find_access(path, impersonation=Impersonation("bob")).impersonation.groups == ()


def test_a_pod_is_told_by_its_service_account(tmp_path: Path) -> None:
    written(tmp_path / "token", "secret")
    written(tmp_path / "ca.crt", "authority")
    written(tmp_path / "namespace", "monitoring\n")
    pod = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    access = find_access(environment=pod, service_account=tmp_path)
    assert access.cluster.server == "https://[fd00::1]:443"
    assert access.user.token_file == str(tmp_path / "token")
    assert access.namespace == "monitoring"
    # A context can only be one of a file.
    with pytest.raises(UsageError, match="no kubeconfig"):
        find_access(context="prod", environment=pod, service_account=tmp_path)


@pytest.mark.parametrize(
    ("change", "context", "message"),
    [
        ({}, "stage", "no context 'stage'; there are prod"),
        ({"current-context": ""}, None, "no current-context; --context names one of prod"),
        ({"clusters": []}, None, "is of a cluster 'prod' that is not there"),
        ({"users": []}, None, "is of a user 'prod' that is not there"),
        ({"clusters": [{"name": "prod"}]}, None, "cluster 'prod' names no server"),
    ],
)
def test_what_is_not_there(
    tmp_path: Path, change: dict[str, Any], context: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        find_access(written(tmp_path / "config", config("prod", **change)), context)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clusters: [", "config:2: not YAML"),
        ("users: {a: b}", "config: users: Expected `array"),
        (
            "clusters: [{name: a, cluster: {server: 5}}]",
            r"clusters\[0\].cluster.server: Exp",
        ),
        ("a: 1\na: 2", "config:2: "),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_access(written(tmp_path / "config", text))


def test_no_kubeconfig_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no kubeconfig"):
        find_access(environment={"HOME": str(tmp_path)}, service_account=tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        find_access(str(tmp_path / "missing"))
