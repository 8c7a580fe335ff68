from __future__ import annotations

import json

from kubeverdict.manifests.loading import load_text
from kubeverdict.render import render
from kubeverdict.render.style import Style
from tests.render.replayed import RECOMMENDED, REPLAY


def test_replay_says_what_breaks_and_why() -> None:
    text = render("replay", "table", REPLAY, Style())
    for part in (
        "1,200 lines hold 1,000 records of connections",
        "1 malformed lines were skipped, the first is flows.jsonl:17: JSON is malformed",
        "skipped: 199 replies",
        "12 pods that are not in the cluster: a/b, a/c",
        "4 connections (9,000 records) got through when logged, and would break; "
        "0 connections (0 records) of them by what is proposed",
        "the present policies deny it as well",
        "7 smaller groups of connections are not listed",
        "2 of 5 rules allowed nothing that was seen",
        "another rule allows the same",
        "8 pod pairs are allowed to connect, 3 of them were seen to",
    ):
        assert part in text
    rows = render("replay", "csv", REPLAY, Style()).splitlines()
    assert rows[0] == "change,source,destination,port,records,connections,egress,ingress"
    assert rows[1].startswith("breaks,shop/web[Deployment],data/db[StatefulSet],5432/TCP,9000,4,")


def test_replay_as_a_contract() -> None:
    content = json.loads(render("replay", "json", REPLAY, Style()))
    assert content["schema"] == "kubeverdict/replay/v1"
    assert content["breaking"] == {"records": 9000, "connections": 4}
    assert content["breaks"][0]["allowed_before"] is False
    assert content["breaks"][0]["ingress"]["isolated_by"][0]["policy"] == "data/allow-web"
    assert [one["shadowed"] for one in content["unused_rules"]] == [False, True]
    assert content["log"]["not_attributed"][0]["names"] == ["a/b", "a/c"]


def test_policies_keep_what_yaml_would_change() -> None:
    text = render("recommend", "yaml", RECOMMENDED, Style())
    (policy,) = load_text("x.yaml", text.encode()).cluster.policies
    assert str(policy.pods) == "app=yes"
    assert [str(port) for port in policy.rules[0].ports or ()] == ["TCP on"]
    assert policy.rules[1].ports is None


def test_recommend_says_what_it_did_not_do() -> None:
    text = render("recommend", "table", RECOMMENDED, Style())
    for part in (
        "  shop/idle[Deployment]",
        "shop/web[Deployment]: ingress stays open",
        "shop/a[Job], shop/b[Job]",
        "say --namespace for them: kube-system",
        "no DNS pods were found",
        "  4 newly blocked",
        "  20 (pod pair, port) permitted: 5 seen, 15 beyond that",
        "  selectors without a pod",
        "and 3 more (-o json)",
        "out/shop.yaml",
    ):
        assert part in text


def test_recommend_as_a_contract() -> None:
    content = json.loads(render("recommend", "json", RECOMMENDED, Style()))
    assert content["schema"] == "kubeverdict/recommend/v1"
    assert content["proof"]["newly_blocked"] == {"records": 9000, "connections": 4}
    assert content["proof"]["by_rule"][0]["unseen"] == 15
    assert content["silent"] == ["shop/idle[Deployment]"]
    assert "kind: NetworkPolicy" in content["yaml"]
