"""Policies of the whole cluster, in a tier of their own, through every verb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Done, run

CLUSTER = """\
apiVersion: v1
kind: Namespace
metadata: {name: mon, labels: {team: mon}}
---
apiVersion: v1
kind: Namespace
metadata: {name: pay, labels: {tenant: pay}}
---
apiVersion: v1
kind: Pod
metadata: {name: prom, namespace: mon, labels: {app: prom}}
spec: {containers: [{name: main}]}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: pay, labels: {app: api}}
spec: {containers: [{name: main, ports: [{name: web, containerPort: 8080}]}]}
status: {phase: Running, podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: pay, labels: {app: web}}
spec: {containers: [{name: main}]}
status: {phase: Running, podIP: 10.0.0.3}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-web, namespace: pay}
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: web}]}]
"""
ADMIN = """\
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: admin}
spec:
  priority: 10
  subject: {namespaces: {}}
  ingress:
    - action: Pass
      from: [{namespaces: {matchLabels: {team: mon}}}]
      ports: [{portNumber: {port: 8080}}]
    - action: Allow
      from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}]
      ports: [{namedPort: web}]
    - action: Deny
      from: [{namespaces: {}}]
  egress:
    - action: Deny
      to: [{networks: [203.0.113.0/24]}]
"""
ASSERTIONS = """\
assertions:
  - name: monitored
    deny: {from: pod/pay/api, to: pod/mon/prom}
"""
FLOWS = "source,destination,protocol,port\n10.0.0.3,10.0.0.2,TCP,8080\n10.0.0.3,10.0.0.1,TCP,80\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("admin")
    (found / "cluster.yaml").write_text(CLUSTER)
    (found / "admin.yaml").write_text(ADMIN)
    for name, peer in (("nodes", "nodes: {}"), ("names", "domainNames: [example.com]")):
        text = ADMIN.replace("networks: [203.0.113.0/24]", peer)
        (found / f"{name}.yaml").write_text(text)
    (found / "assertions.yaml").write_text(ASSERTIONS)
    (found / "flows.csv").write_text(FLOWS)
    return found


BOTH = ("-f", "cluster.yaml", "-f", "admin.yaml")


def explained(folder: Path, source: str, destination: str, port: str, *options: str) -> Done:
    ends = ("--from", source, "--to", destination, "--port", port)
    return run("explain", *BOTH, *ends, *options, folder=folder)


def test_explain_shows_what_passed_and_names_the_kind(folder: Path) -> None:
    done = explained(folder, "mon/prom", "pay/api", "8080")
    assert done.status == 1
    assert "pass by policy AdminNetworkPolicy admin spec.ingress[0] (admin.yaml:8)" in done.out
    assert "policy pay/allow-web (cluster.yaml:26) isolates it" in done.out
    done = explained(folder, "pay/web", "pay/api", "8080")
    assert done.status == 0
    assert "allow by policy AdminNetworkPolicy admin spec.ingress[1] (admin.yaml:11)" in done.out
    done = explained(folder, "pay/web", "203.0.113.9", "443")
    assert "deny by policy AdminNetworkPolicy admin spec.egress[0] (admin.yaml:17)" in done.out


def test_a_plug_in_without_the_api_ignores_it(folder: Path) -> None:
    done = explained(folder, "pay/web", "203.0.113.9", "443", "--cni", "kube-router")
    assert done.status == 0
    note = "kube-router does not implement AdminNetworkPolicy: 1 policy has no effect"
    assert note in done.out + done.err


def test_list(folder: Path) -> None:
    done = run("list", *BOTH, "-o", "csv", folder=folder)
    assert [line.split(",")[:2] for line in done.out.splitlines()[1:]] == [
        ["mon/prom[Pod]", "0.0.0.0/0 except 203.0.113.0/24"],
        ["pay/api[Pod]", "0.0.0.0/0 except 203.0.113.0/24"],
        ["pay/web[Pod]", "pay/api[Pod]"],
        ["pay/web[Pod]", "0.0.0.0/0 except 203.0.113.0/24"],
        ["0.0.0.0/0", "mon/prom[Pod]"],
    ]


def test_bulk_takes_rules_about_nodes_in_pairs_and_in_rollouts(folder: Path) -> None:
    other = ADMIN.replace("name: admin", "name: other").replace("priority: 10", "priority: 9")
    (folder / "two.yaml").write_text(
        (folder / "nodes.yaml").read_text()
        + "---\n"
        + other.replace("action: Allow", "action: Deny")
    )
    done = run("bulk", "-f", "cluster.yaml", "--apply-each", "two.yaml", folder=folder)
    assert done.status == 1
    pair = "apply adminnetworkpolicy/admin / apply adminnetworkpolicy/other: both change "
    assert pair in done.out
    done = run("bulk", "-f", "cluster.yaml", "--rollout", "two.yaml", folder=folder)
    assert done.status == 1
    assert "no step breaks a connection" in done.out


@pytest.mark.parametrize("word", ["adminnetworkpolicy", "AdminNetworkPolicies", "anp"])
def test_whatif_deletes_it_by_name_alone(folder: Path, word: str) -> None:
    done = run("whatif", *BOTH, "--delete", f"{word}/admin", "-o", "json", folder=folder)
    (pairs,) = json.loads(done.out)["pod_pairs"]
    assert (pairs["opened"], pairs["closed"]) == (2, 0)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("anp/pay/admin", "write it as adminnetworkpolicy/NAME"),
        ("anp/admn", "it does not exist, did you mean adminnetworkpolicy/admin?"),
    ],
)
def test_whatif_says_what_is_wrong_with_a_name(folder: Path, reference: str, message: str) -> None:
    done = run("whatif", *BOTH, "--delete", reference, folder=folder)
    assert done.status == 2 and message in done.err


def test_whatif_applies_it(folder: Path) -> None:
    done = run("whatif", "-f", "cluster.yaml", "--apply", "admin.yaml", "-o", "json", folder=folder)
    (pairs,) = json.loads(done.out)["pod_pairs"]
    assert (pairs["opened"], pairs["closed"]) == (0, 2)


def bulk(folder: Path, *options: str) -> dict[str, tuple[int, int]]:
    done = run("bulk", *options, "-o", "jsonl", folder=folder)
    assert done.status in (0, 1), done.err
    reports = [json.loads(line) for line in done.out.splitlines()]
    return {
        one["name"]: (one["figures"]["pairs_opened"], one["figures"]["pairs_closed"])
        for one in reports
    }


def test_bulk_deletes_each_whatever_its_kind(folder: Path) -> None:
    assert bulk(folder, *BOTH, "--delete-each") == {
        "delete adminnetworkpolicy/admin": (2, 0),
        "delete networkpolicy/pay/allow-web": (2, 0),
    }


def test_bulk_applies_each_whatever_its_kind(folder: Path) -> None:
    (folder / "new").mkdir()
    (folder / "new/all.yaml").write_text(f"{CLUSTER}---\n{ADMIN}")
    assert bulk(folder, "-f", "cluster.yaml", "--apply-each", "new") == {
        "apply networkpolicy/pay/allow-web": (0, 0),
        "apply adminnetworkpolicy/admin": (0, 2),
    }


def test_scenarios_name_it(folder: Path) -> None:
    scenarios = [
        {"name": "gone", "changes": [{"delete": "anp/admin"}]},
        {"name": "there", "changes": [{"delete": "anp/admin"}, {"apply": "admin.yaml"}]},
    ]
    (folder / "scenarios.json").write_text(json.dumps(scenarios))
    assert bulk(folder, *BOTH, "--scenarios", "scenarios.json") == {
        "gone": (2, 0),
        "there": (0, 0),
    }


def test_bulk_does_not_label_it(folder: Path) -> None:
    scenario = [{"name": "a", "changes": [{"label": "anp/admin", "set": {"a": "b"}}]}]
    (folder / "label.json").write_text(json.dumps(scenario))
    done = run("bulk", *BOTH, "--scenarios", "label.json", folder=folder)
    assert "cannot label 'anp/admin': only pods, workloads and namespaces" in done.out + done.err


def test_verify_holds_and_does_not_claim_what_is_not_certain(folder: Path) -> None:
    options = ("--assertions", "assertions.yaml", "-o", "json")
    done = run("verify", *BOTH, *options, folder=folder)
    assert (done.status, json.loads(done.out)["assertions"][0]["status"]) == (0, "holds")
    done = run("verify", "-f", "cluster.yaml", "-f", "names.yaml", *options, folder=folder)
    report = json.loads(done.out)
    assert (done.status, report["assertions"][0]["status"]) == (1, "unknown")
    (gap,) = report["not_evaluated"]
    assert gap["kind"] == "AdminNetworkPolicy" and gap["names"] == ["admin"]
    assert "spec.egress[0].to[0].domainNames" in gap["message"]


NODE = """\
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
"""


def test_nodes_are_peers(folder: Path) -> None:
    (folder / "node.yaml").write_text(NODE)
    inputs = ("-f", "cluster.yaml", "-f", "nodes.yaml")
    ends = ("--from", "pay/web", "--to", "192.168.0.1", "--port", "443")
    done = run("explain", *inputs, "-f", "node.yaml", *ends, folder=folder)
    assert done.status == 1
    assert "deny by policy AdminNetworkPolicy admin spec.egress[0] (nodes.yaml:17)" in done.out
    done = run("explain", *inputs, *ends, folder=folder)
    assert done.status == 0
    assert "no Node object in the input: nothing matches a peer by node" in done.out + done.err


def test_replay_names_it(folder: Path) -> None:
    done = run("replay", *BOTH, "--flows", "flows.csv", folder=folder)
    assert "ingress denied by AdminNetworkPolicy admin spec.ingress[2]" in done.out


def test_a_snapshot_answers_alike(folder: Path) -> None:
    assert run("snapshot", *BOTH, "-o", "snapshot.kv", folder=folder).status == 0
    ends = ("--from", "mon/prom", "--to", "pay/api", "--port", "8080")
    kept = run("explain", "-f", "snapshot.kv", *ends, folder=folder)
    assert kept.out == explained(folder, "mon/prom", "pay/api", "8080").out
    assert bulk(folder, "-f", "snapshot.kv", "--delete-each") == bulk(
        folder, *BOTH, "--delete-each"
    )


def test_lint_and_recommend_take_it(folder: Path) -> None:
    done = run("lint", *BOTH, folder=folder)
    assert done.status in (0, 1), done.err
    assert "AdminNetworkPolicy admin" not in done.out
    done = run("recommend", *BOTH, "--flows", "flows.csv", folder=folder)
    assert done.status == 0, done.err
    assert "1 connection (1 record) that policies of another tier deny" in done.out
    assert "ingress denied by AdminNetworkPolicy admin spec.ingress[2]" in done.out
    options = ("--flows", "flows.csv", "-o", "yaml")
    done = run("recommend", *BOTH, *options, folder=folder)
    assert "# 1 record allowed by AdminNetworkPolicy admin before any NetworkPolicy" in done.out
    assert "name: recommended-prom" not in done.out
    # A plug-in that does not have the API lets it all through.
    done = run("recommend", *BOTH, *options, "--cni", "kube-router", folder=folder)
    assert "allowed by AdminNetworkPolicy" not in done.out
    assert "name: recommended-prom" in done.out
