"""A real API server: what it holds means what its dump means, and what it does not tell is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeverdict import live
from kubeverdict.errors import UsageError
from kubeverdict.live import listing
from kubeverdict.live.client import ApiClient, ApiError
from kubeverdict.live.discovery import discover
from kubeverdict.model.unevaluated import Gap
from tests.kubernetes.api import Api, Object
from tests.kubernetes.loading import load

pytestmark = pytest.mark.programs

SPACE = "live-reading"


def pod(name: str, address: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE, "labels": {"app": name}},
        "spec": {"nodeName": "elsewhere", "containers": [{"name": "main", "image": "none"}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }


POLICY: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "web", "namespace": SPACE},
    "spec": {
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}],
    },
}
SERVICE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": SPACE},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}


def may_read(name: str, *resources: str) -> list[Object]:
    """A user who may list these alone, of the core group."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [{"apiGroups": [""], "resources": resources, "verbs": ["list"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": role,
            "subjects": [{"apiGroup": role["apiGroup"], "kind": "User", "name": name}],
        },
    ]


@pytest.fixture(scope="module")
def server(api_server: Api) -> Iterator[Api]:
    """An API server with three pods, a policy and a Service."""
    pods = [pod(name, f"10.9.0.{at}") for at, name in enumerate(("web", "client", "other"), 1)]
    users = may_read("pods-alone", "pods", "namespaces")
    assert load(api_server, [*pods, POLICY, SERVICE, *users]) == []
    yield api_server
    api_server.delete(f"/api/v1/namespaces/{SPACE}")


def access(server: Api, user: str = "") -> live.Access:
    whom = live.Impersonation(user) if user else None
    return live.find_access(str(server.kubeconfig), impersonation=whom)


def kubeverdict(server: Api, verb: str, *arguments: str, status: int = 0) -> tuple[str, str]:
    """What a verb says of the live cluster, on standard output and on standard error."""
    command = [sys.executable, "-m", "kubeverdict", verb, "--live"]
    command += ["--kubeconfig", str(server.kubeconfig), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout, done.stderr


def dump(server: Api, path: Path) -> Path:
    """All that counts, as kubectl writes it."""
    client = ApiClient(access(server))
    items: list[Any] = []
    for one in listing.wanted_of(discover(client).served):
        found = json.loads(client.get(one.path))["items"]
        items += [{"apiVersion": one.api_version, "kind": one.kind, **item} for item in found]
    client.close()
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return path


def test_it_means_what_its_dump_means(server: Api, tmp_path: Path) -> None:
    shown, remarks = kubeverdict(server, "list", "-o", "csv", "--pods")
    command = [sys.executable, "-m", "kubeverdict", "list", "-o", "csv", "--pods", "-f"]
    command.append(str(dump(server, tmp_path / "dump.json")))
    of_files = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown == of_files.stdout
    assert f"{SPACE}/client" in shown
    assert "the cluster of context" in remarks and "resourceVersion" in remarks


def test_a_rule_is_named_with_its_version(server: Api) -> None:
    question = ["--from", f"{SPACE}/client", "--port", "80", "--to"]
    shown, _ = kubeverdict(server, "explain", *question, f"svc/{SPACE}/web")
    policy = server.get(f"/apis/networking.k8s.io/v1/namespaces/{SPACE}/networkpolicies/web")
    assert f", resourceVersion {policy['metadata']['resourceVersion']})" in shown
    denied = ["--from", f"{SPACE}/other", "--port", "80", "--to", f"{SPACE}/web"]
    kubeverdict(server, "explain", *denied, status=1)


def test_a_snapshot_of_it(server: Api, tmp_path: Path) -> None:
    path = str(tmp_path / "now.kvs")
    kubeverdict(server, "snapshot", "-o", path)
    command = [sys.executable, "-m", "kubeverdict", "list", "-o", "csv", "--pods", "-f", path]
    kept = subprocess.run(command, capture_output=True, text=True, check=True)
    assert kept.stdout == kubeverdict(server, "list", "-o", "csv", "--pods")[0]


def test_lists_in_many_pages(server: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = live.load(access(server)).loaded.cluster
    monkeypatch.setattr(listing, "_PAGE", 2)
    told: list[tuple[str, int]] = []
    paged = live.load(access(server), progress=lambda *so_far: told.append(so_far))
    assert [(one.namespace, one.name) for one in paged.loaded.cluster.pods] == [
        (one.namespace, one.name) for one in whole.pods
    ]
    assert ("pods", 2) in told and max(count for kind, count in told if kind == "pods") > 2


def test_a_list_that_expires_is_read_again(server: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_PAGE", 2)
    asked = ApiClient.get
    expired: list[str] = []

    def get(client: ApiClient, path: str, accept: str = "application/json", **query: str) -> bytes:
        if path == "/api/v1/pods" and "continue" in query and not expired:
            expired.append(path)
            # A token that the server no longer serves.
            raise ApiError(410, "Expired", "the provided continue parameter is too old")
        return asked(client, path, accept, **query)

    monkeypatch.setattr(ApiClient, "get", get)
    found = live.load(access(server)).loaded.cluster
    assert expired and len(found.pods) >= 3


def test_what_may_not_be_read_is_named(server: Api) -> None:
    found = live.load(access(server, "pods-alone")).loaded
    missing = {one.kind: one for one in found.cluster.unevaluated}
    assert missing["NetworkPolicy"].gap is Gap.POLICY
    assert "networkpolicies could not be read" in missing["NetworkPolicy"].detail
    assert missing["Service"].gap is Gap.NOT_READ
    assert any(
        "networkpolicies.networking.k8s.io is forbidden" in str(one) for one in found.warnings
    )
    shown, _ = kubeverdict(server, "list", "--as", "pods-alone", "--in-namespace", SPACE)
    assert "networkpolicies could not be read" in shown


def test_no_answer_without_pods_and_namespaces(server: Api) -> None:
    with pytest.raises(UsageError, match=r"no answer without namespaces: .*forbidden"):
        live.load(access(server, "nobody"))
    _, errors = kubeverdict(server, "list", "--as", "nobody", status=2)
    assert "Traceback" not in errors and "forbidden" in errors


def test_a_token_that_is_not_known(server: Api, tmp_path: Path) -> None:
    config = json.loads(server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "wrong-and-secret"}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match="Unauthorized") as caught:
        live.load(live.find_access(str(path)))
    assert "wrong-and-secret" not in str(caught.value)


def test_a_server_that_others_vouch_for(server: Api, tmp_path: Path) -> None:
    config = json.loads(server.kubeconfig.read_text())
    del config["clusters"][0]["cluster"]["certificate-authority"]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"no answer: .*certificate verify failed"):
        live.load(live.find_access(str(path)))
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    path.write_text(json.dumps(config))
    assert live.load(live.find_access(str(path))).loaded.cluster.pods
