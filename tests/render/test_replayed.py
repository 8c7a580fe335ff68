from __future__ import annotations

import json

from kubeverdict.analyses.decisions import WORDS, Decision, because
from kubeverdict.manifests.loading import load_text
from kubeverdict.render import render
from kubeverdict.render.recommend import remarks
from kubeverdict.render.style import Style
from tests.render.replayed import RECOMMENDED, REPLAY


def test_replay_says_what_breaks_and_why() -> None:
    text = render("replay", "table", REPLAY, Style())
    for part in (
        "1,200 lines hold 1,000 records of connections",
        "1 malformed line was skipped: flows.jsonl:17: JSON is malformed",
        "skipped: replies (199)",
        "pods that are not in the cluster (12): a/b, a/c",
        "4 connections (9,000 records) got through when logged, and would break; "
        "0 connections (0 records) of them because of the proposed policies",
        "the present policies deny it as well",
        "not listed: 7 smaller groups of connections",
        "nothing that was seen used 2 of 5 rules",
        "others decide what it matches",
        "policies allow 8 pod pairs, 3 of them seen connecting",
    ):
        assert part in text
    rows = render("replay", "csv", REPLAY, Style()).splitlines()
    assert rows[0] == "change,source,destination,port,records,connections,egress,ingress"
    assert rows[1].startswith("breaks,shop/web[Deployment],data/db[StatefulSet],5432/TCP,9000,4,")


def test_replay_in_markdown_has_what_the_table_has() -> None:
    text = render("replay", "md", REPLAY, Style())
    for part in (
        "1 malformed line was skipped",
        "**Would break**",
        "| source | destination | port | records | connections | why |",
        "is isolated by data/allow-web",
        "as shop/web-0",
        "the present policies deny it as well",
        "**Denied when logged, allowed by the policies**",
        "egress is open: no policy isolates the pod; ingress is open: no policy is about an",
        "not listed: 7 smaller groups of connections",
        "**Rules that nothing used**",
    ):
        assert part in text
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))


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
        "  shop/off[Job]: is isolated by recommended-allow-dns",
        "shop/web[Deployment]: ingress gets no rules",
        "shop/db[StatefulSet]: egress is isolated by recommended-default-deny",
        "  12 records could not be attributed: nothing is proven of them",
        "  1 malformed line could not be read: nothing is proven of them",
        "shop/a[Job], shop/b[Job]",
        "no policies written for (use --in-namespace): kube-system",
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
    assert content["silent"][0] == {"workload": "shop/idle[Deployment]", "isolated_by": []}
    assert content["one_way"][1] == {
        "workload": "shop/db[StatefulSet]",
        "unseen": "egress",
        "isolated_by": ["recommended-default-deny"],
    }
    assert (content["proof"]["not_attributed"], content["proof"]["malformed"]) == (12, 1)
    assert "kind: NetworkPolicy" in content["yaml"]


def test_what_goes_beside_the_policies_leaves_nothing_out() -> None:
    text = "\n".join(f"{kind}: {line}" for kind, line in remarks(RECOMMENDED))
    for part in (
        "log: 1,200 lines hold 1,000 records",
        "pods that are not in the cluster (12): a/b, a/c",
        "gap: no policy of their own",
        "gap: no policies written for",
        "gap: no DNS pods were found",
        "proof: 12 records could not be attributed: nothing is proven of them",
        "proof: 4 newly blocked\n",
        "is isolated by data/allow-web",
        "written: out/shop.yaml",
        "proof: selectors without a pod\n  shop/web: app=x in shop",
    ):
        assert part in text


def test_the_sentence_of_every_reason() -> None:
    for word in WORDS.values():
        assert because(Decision(False, word)).startswith("is ")
