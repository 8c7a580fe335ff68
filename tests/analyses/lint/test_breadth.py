"""What is said of wide rules is true of the peers and ports that they have."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.findings import Severity
from kubeverdict.analyses.lint import lint
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.manifests.loading import load_text
from kubeverdict.model.policy import Action
from tests.analyses.lint.cases import EGRESS, NAMESPACES, WEB, found, policy

SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: data}
spec: {containers: [{name: main, ports: [{name: sql, containerPort: 5432}]}]}
status: {podIP: 10.0.0.7}
"""
EVERY_POD = "Every pod of every namespace can connect; addresses outside the cluster cannot."
EVERYBODY = "Every pod gets in, and every address that has a route."


@pytest.mark.parametrize(
    ("rule", "what", "why"),
    [
        ("from: [{namespaceSelector: {}}]", "every pod of every namespace", EVERY_POD),
        ("{}", "anybody", EVERYBODY),
        (
            "from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}]",
            "0.0.0.0/0 and ::/0",
            EVERYBODY,
        ),
        (
            "from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]",
            "0.0.0.0/0 except 10.0.0.0/8",
            "Every pod gets in, and every IPv4 address that has a route.",
        ),
    ],
)
def test_who_gets_in(rule: str, what: str, why: str) -> None:
    rule = rule if rule == "{}" else f"{{{rule}}}"
    spec = f"podSelector: {{}}, ingress: [{rule}]"
    (one,) = found("ingress-from-everywhere", WEB, SERVICE, policy("in", spec))
    assert one.message == (
        f"lets {what} into Deployment shop/web on every port; nothing outside leads there"
    )
    assert one.why == why


def test_a_block_that_matches_no_pod_lets_no_pod_in() -> None:
    spec = "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]"
    (one,) = found("ingress-from-everywhere", WEB, SERVICE, policy("in", spec), cnis=("cilium",))
    assert one.why == "Every IPv4 address that has a route gets in."


@pytest.mark.parametrize(
    ("rule", "what", "metadata"),
    [
        ("{}", "anybody on every port, as where no policy isolates them for egress", True),
        ("{to: [{namespaceSelector: {}}]}", "every pod of every namespace on every port", False),
        ("{ports: [{port: 443}]}", "anybody on TCP 443", False),
        # Only pods have names for their ports.
        ("{ports: [{port: sql}]}", "every pod of every namespace on TCP sql", False),
    ],
)
def test_where_egress_leads(rule: str, what: str, metadata: bool) -> None:
    (one,) = found("egress-to-everywhere", WEB, policy("out", f"{EGRESS}, egress: [{rule}]"))
    assert one.message == f"lets the pods reach {what}"
    assert ("metadata" in one.why) is metadata


def test_all_egress_open_weighs_the_same_by_a_rule_and_by_no_policy() -> None:
    (by_rule,) = found("egress-to-everywhere", WEB, policy("out", f"{EGRESS}, egress: [{{}}]"))
    (by_none, *_) = found("no-default-deny-egress", WEB)
    assert by_rule.severity is by_none.severity is Severity.NOTE


def by_name(*blocks: str, port: str = "sql") -> str:
    peers = ", ".join(f"{{ipBlock: {{cidr: {block}}}}}" for block in blocks)
    return policy("out", f"{EGRESS}, egress: [{{to: [{peers}], ports: [{{port: {port}}}]}}]")


def test_a_name_is_looked_up_on_pods_alone() -> None:
    (one,) = found("port-name-block", POD, by_name("203.0.113.0/24"))
    assert one.message.endswith("so that the rule permits nothing")
    assert one.severity is Severity.WARNING
    (one,) = found("port-name-block", POD, by_name("10.0.0.0/8", "192.168.0.0/16"))
    assert one.severity is Severity.NOTE
    assert one.message == (
        "TCP sql of 10.0.0.0/8, 192.168.0.0/16 is that of 1 pod inside; "
        "no address outside has the name"
    )
    (one,) = found("port-name-block", POD, by_name("0.0.0.0/0"))
    assert one.severity is Severity.WARNING
    # What the block would open with a number is not open.
    assert not found("egress-to-everywhere", POD, by_name("0.0.0.0/0"))
    assert not found("metadata-open", POD, by_name("0.0.0.0/0"))


def test_names_through_blocks_are_as_the_cni_has_them() -> None:
    (one,) = found("port-name-block", POD, by_name("10.0.0.0/8"), cnis=("cilium",))
    assert "permits nothing" in one.message
    assert not found("port-name-block", POD, by_name("10.0.0.0/8"), cnis=("ovn-kubernetes",))


def test_a_rule_that_denies_opens_nothing() -> None:
    wide = "podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]"
    loaded = load_text("a.yaml", (NAMESPACES + WEB + SERVICE + policy("all", wide)).encode())
    (written,) = loaded.cluster.policies
    rules = tuple(replace(rule, action=Action.DENY) for rule in written.rules)
    denying = replace(loaded.cluster, policies=(replace(written, rules=rules),))
    opened = {"ingress-from-everywhere", "egress-to-everywhere"}
    for cluster, expected in ((loaded.cluster, opened), (denying, set())):
        report = lint(compile_cluster(cluster), lambda key: ("a.yaml", 1))
        assert {one.id for one in report.findings} & opened == expected
