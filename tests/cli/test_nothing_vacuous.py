"""An answer about nothing says so, and every answer names what it does not take into account."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.running import WEB_AND_DB, Done, run

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]
"""
DENY_ALL = """\
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: deny-all}
spec: {priority: 1, appliedTo: [{namespaceSelector: {}}], ingress: [{action: Drop}]}
"""
MESH = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: shop}
spec: {}
"""
SAID = "1 ClusterNetworkPolicy.crd.antrea.io not evaluated: could change any verdict"
NO_PODS = "there are no pods to judge in the input"
FLOW = "source,destination,protocol,port\n10.0.0.1,10.0.0.2,TCP,80\n"


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a/policy.yaml").write_text(POLICY)
    (tmp_path / "b/policy.yaml").write_text(POLICY.split("  ingress")[0] + "  ingress: [{}]\n")
    (tmp_path / "flows.csv").write_text(FLOW)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ("list", "-f", "a"),
        ("diff", "a", "b"),
        ("whatif", "-f", "a", "--apply", "b"),
        ("bulk", "-f", "a", "--delete-each"),
        ("explain", "-f", "a", "--from", "10.0.0.1", "--to", "10.0.0.2", "--port", "80"),
        ("replay", "-f", "a", "--flows", "flows.csv"),
        ("recommend", "-f", "a", "--flows", "flows.csv"),
    ],
)
def test_without_pods_there_is_nothing_to_judge(policies: Path, command: tuple[str, ...]) -> None:
    done = run(*command, folder=policies)
    assert (done.status, done.out) == (2, "")
    assert f"error: {NO_PODS}" in done.err


def test_the_error_says_what_the_input_held_instead(tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text(DENY_ALL)
    done = run("list", "-f", "in.yaml", folder=tmp_path)
    assert (done.status, f"error: {NO_PODS}; {SAID}" in done.err) == (2, True)


def test_lint_says_what_it_did_not_check(policies: Path) -> None:
    done = run("lint", "-f", "b", folder=policies)
    assert " rules were not checked: there is no pod in the input" in done.out
    found = json.loads(run("lint", "-f", "b", "-o", "json", folder=policies).out)
    assert {"id": "policy-redundant", "why": "no pod in the input"} in found["not_checked"]


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    (tmp_path / "in.yaml").write_text(f"{WEB_AND_DB}---\n{DENY_ALL}")
    (tmp_path / "mesh.yaml").write_text(f"{WEB_AND_DB}---\n{MESH}")
    (tmp_path / "policy.yaml").write_text(POLICY.replace("app: api", "app: web"))
    (tmp_path / "flows.csv").write_text(FLOW)
    assertions = """\
assertions:
- {name: open, allow: {from: shop/web, to: data/db}, ports: 80}
- {name: shut, deny: {from: shop/web, to: data/db}, ports: 80}
- {name: only, only: {from: shop/web}, to: 203.0.113.9}
"""
    (tmp_path / "assertions.yaml").write_text(assertions)
    return tmp_path


VERBS = {
    "explain": ("--from", "shop/web", "--to", "data/db", "--port", "80"),
    "list": (),
    "whatif": ("--apply", "policy.yaml"),
    "bulk": ("--relabel-each", "tier=x"),
    "lint": (),
    "verify": ("--assertions", "assertions.yaml"),
    "replay": ("--flows", "flows.csv"),
    "recommend": ("--flows", "flows.csv"),
}
FORMS = [
    *(
        (verb, form)
        for verb, forms in {
            "explain": "tree json",
            "list": "table json csv md dot matrix svg",
            "whatif": "tree json",
            "bulk": "table jsonl csv md",
            "lint": "table json md sarif junit github",
            "verify": "table json md sarif junit github",
            "replay": "table json csv md",
            "recommend": "table yaml json md",
        }.items()
        for form in forms.split()
    )
]


@pytest.mark.parametrize(("verb", "form"), FORMS)
def test_every_answer_names_what_was_not_evaluated(cluster: Path, verb: str, form: str) -> None:
    done = run(verb, "-f", "in.yaml", *VERBS[verb], "-o", form, folder=cluster)
    if form == "csv":  # its readers would take a comment for data
        assert f"note: {SAID}" in done.err
    else:
        assert SAID in done.out.replace("\\", "")
    if form in ("json", "jsonl"):
        (found,) = json.loads(done.out.splitlines()[0] if form == "jsonl" else done.out)[
            "not_evaluated"
        ]
        assert (found["kind"], found["decides"], found["names"], found["line"]) == (
            "ClusterNetworkPolicy",
            True,
            ["deny-all"],
            found["line"],
        )
    if form in ("svg", "junit"):
        ElementTree.fromstring(done.out)


def test_diff_names_what_either_side_leaves_out(cluster: Path) -> None:
    done = run("diff", "in.yaml", "mesh.yaml", folder=cluster)
    assert f"note: {SAID}" in done.out
    mesh = "1 AuthorizationPolicy.security.istio.io not evaluated: could deny what is allowed"
    assert f"note: {mesh}" in done.out


def test_a_snapshot_keeps_it(cluster: Path) -> None:
    assert run("snapshot", "-f", "in.yaml", "-o", "c.kvs", folder=cluster).status == 0
    found = json.loads(run("list", "-f", "c.kvs", "-o", "json", folder=cluster).out)
    assert [one["message"] for one in found["not_evaluated"]] == [SAID]


def test_what_a_change_brings_is_named_too(cluster: Path) -> None:
    (cluster / "base.yaml").write_text(WEB_AND_DB)
    (cluster / "admin.yaml").write_text(DENY_ALL)
    done = run("whatif", "-f", "base.yaml", "--apply", "admin.yaml", folder=cluster)
    assert f"note: {SAID}" in done.out
    scenario = "- {name: s, changes: [{apply: admin.yaml}]}\n"
    (cluster / "scenarios.yaml").write_text(scenario)
    options = ("--scenarios", "scenarios.yaml", "-o", "jsonl")
    done = run("bulk", "-f", "base.yaml", *options, folder=cluster)
    assert [one["message"] for one in json.loads(done.out)["not_evaluated"]] == [SAID]


def statuses(done: Done) -> list[str]:
    return [one["status"] for one in json.loads(done.out)["assertions"]]


def test_nothing_holds_beside_a_policy_that_could_decide(cluster: Path) -> None:
    """A policy that can allow and deny leaves nothing certain; one that can only deny leaves what
    must not be reachable certain."""
    options = ("--assertions", "assertions.yaml")
    done = run("verify", "-f", "in.yaml", *options, "-o", "json", folder=cluster)
    assert (done.status, statuses(done)) == (1, ["unknown", "violated", "violated"])
    done = run("verify", "-f", "in.yaml", "-f", "policy.yaml", *options, folder=cluster)
    assert f"    {SAID}" in done.out
    (cluster / "deny.yaml").write_text(
        "assertions:\n- {name: out, deny: {from: 203.0.113.9, to: shop/web}}\n"
    )
    guarded = ("-f", "policy.yaml", "--assertions", "deny.yaml")
    admin = run("verify", "-f", "in.yaml", *guarded, folder=cluster)
    assert (admin.status, "1 unknown" in admin.out) == (1, True)
    mesh = run("verify", "-f", "mesh.yaml", *guarded, folder=cluster)
    assert (mesh.status, "1 holds" in mesh.out) == (0, True)
    mesh = run("verify", "-f", "mesh.yaml", *options, "-o", "json", folder=cluster)
    assert (mesh.status, statuses(mesh)[0]) == (1, "unknown")


def test_unknown_fails_a_job(cluster: Path) -> None:
    options = ("-f", "in.yaml", "--assertions", "assertions.yaml")
    suite = ElementTree.fromstring(run("verify", *options, "-o", "junit", folder=cluster).out)
    failure = suite.find("./testsuite/testcase[@name='open']/failure")
    assert failure is not None
    assert failure.get("message") == f"not known to hold: {SAID}"
    sarif = json.loads(run("verify", *options, "-o", "sarif", folder=cluster).out)
    (result,) = (one for one in sarif["runs"][0]["results"] if one["ruleId"] == "open")
    assert result["level"] == "warning"


@pytest.mark.parametrize("word", ["acnp", "securitygrouppolicies", "fqdnnp"])
def test_deleting_a_policy_of_another_api_says_that_it_is_not_evaluated(
    cluster: Path, word: str
) -> None:
    done = run("whatif", "-f", "in.yaml", "--delete", f"{word}/x", folder=cluster)
    assert done.status == 2
    assert "policies of this kind are known and not evaluated" in done.err


def test_bulk_refuses_a_namespace_that_is_not_there(cluster: Path) -> None:
    done = run(
        "bulk",
        "-f",
        "in.yaml",
        "--relabel-each",
        "a=b",
        "--in-namespace",
        "nowhere",
        folder=cluster,
    )
    assert done.status == 2
    assert "--in-namespace nowhere: there is no such namespace in the input" in done.err


KINDS = """\
apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {name: api, namespace: x}
spec: {template: {metadata: {labels: {app: api}}, spec: {containers: [{name: c}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: x}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c}]}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: x}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: all, namespace: x}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}
"""
UNKNOWN_KIND = """\
---
apiVersion: acme.org/v1
kind: Shop
metadata: {name: shop, namespace: x}
"""


def test_pods_of_other_workload_kinds_take_part(tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text(KINDS)
    options = ("--from", "dc/x/api", "--to", "deploy/x/db", "--port", "80")
    done = run("explain", "-f", "in.yaml", *options, folder=tmp_path)
    assert (done.status, "allow by policy x/all" in done.out) == (0, True)


def test_no_policy_is_unneeded_where_pods_are_not_known(tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text(KINDS)
    (tmp_path / "more.yaml").write_text(KINDS + UNKNOWN_KIND)
    bulk = ("bulk", "--delete-each", "-f")
    known = run(*bulk, "in.yaml", folder=tmp_path)
    assert "1 policy is redundant: removing it changes nothing" in known.out
    unsure = run(*bulk, "more.yaml", folder=tmp_path)
    assert "redundant" not in unsure.out
    said = "it may select pods of 1 Shop.acme.org, which are not modelled"
    assert said in unsure.out
    assert "1 policy changes nothing for the pods that are known" in unsure.out
    shadowed = "all that it does is done by x/all"
    assert shadowed in run("lint", "-f", "in.yaml", folder=tmp_path).out
    assert shadowed not in run("lint", "-f", "more.yaml", folder=tmp_path).out


def test_a_selector_of_a_label_value_that_nobody_knows_yet(tmp_path: Path) -> None:
    """What it decides is not certain for the pods that have the label, and certain for others."""
    selector = "matchLabels: {pod-template-hash: abc}"
    text = KINDS.replace("podSelector: {}, ingress", f"podSelector: {{{selector}}}, ingress")
    (tmp_path / "in.yaml").write_text(text)
    assertions = """\
assertions:
- {name: db, allow: {from: dc/x/api, to: deploy/x/db}}
- {name: api, allow: {from: 203.0.113.9, to: dc/x/api}}
"""
    (tmp_path / "assertions.yaml").write_text(assertions)
    options = ("--assertions", "assertions.yaml", "-o", "json")
    done = run("verify", "-f", "in.yaml", *options, folder=tmp_path)
    assert (done.status, statuses(done)) == (1, ["unknown", "holds"])
    (gap,) = json.loads(done.out)["not_evaluated"]
    assert (gap["gap"], gap["names"]) == ("label-value", ["x/db-0"])
    assert "NetworkPolicy x/all spec.podSelector tests the value of" in gap["message"]
    lint = run("lint", "-f", "in.yaml", folder=tmp_path)
    assert "selects nothing" not in lint.out
