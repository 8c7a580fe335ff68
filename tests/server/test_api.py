"""What the page asks for is what the verbs say."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import EXAMPLES, SHOP, SHOP_CHANGE, run_here
from tests.server.serving import Served, served

KEY = "NetworkPolicy/data/orders-db"
CHANGE = (SHOP_CHANGE / "orders-db.yaml").read_text()
DRAFT = [{"name": KEY, "replaces": KEY, "text": CHANGE}]


@pytest.fixture(scope="module")
def overview(shop: Served) -> Any:
    return shop.ask("/api/overview").json


def names(overview: Any) -> list[str]:
    return [one[0] for one in overview["workloads"]]


def test_the_overview_has_every_workload_and_policy(overview: Any) -> None:
    assert len(overview["workloads"]) == 12 and overview["pods"] == 23
    assert names(overview) == sorted(names(overview), key=lambda one: one.split("/"))
    assert [one["name"] for one in overview["namespaces"]] == [
        *("data", "kube-system", "platform", "shop", ""),
    ]
    assert KEY in [one["key"] for one in overview["policies"]]


def test_cells_are_the_connections_that_list_lists(shop: Served, overview: Any) -> None:
    report = json.loads(run_here("list", "-f", SHOP, "-o", "json").out)
    known = names(overview)
    listed = {
        tuple(known.index(end) if end in known else len(known) for end in ends)
        for one in report["connections"]
        for ends in [(one["source"], one["destination"])]
    }
    size = len(known) + 1
    cells = shop.ask(f"/api/map/cells?sources=0-{size}&destinations=0-{size}").body
    shown = {divmod(place, size) for place, state in enumerate(cells) if state}
    # A workload of one pod is listed with itself nowhere.
    alone = {(place, place) for place, one in enumerate(overview["workloads"]) if one[2] == 1}
    assert shown - alone == listed


def test_counts_are_the_sums_of_cells(shop: Served, overview: Any) -> None:
    size, first = len(overview["workloads"]) + 1, [one["first"] for one in overview["namespaces"]]
    cells = shop.ask(f"/api/map/cells?sources=0-{size}&destinations=0-{size}").body
    content = memoryview(shop.ask("/api/map/counts").body).cast("I").tolist()
    number = len(first)
    for which, state in ((0, 2), (1, 3), (2, 1)):
        expected = [0] * number**2
        for place, found in enumerate(cells):
            if found == state:
                source, destination = (
                    max(index for index, start in enumerate(first) if start <= one)
                    for one in divmod(place, size)
                )
                expected[source * number + destination] += 1
        assert content[which * number**2 : (which + 1) * number**2] == expected
    assert sum(content[3 * number**2 :]) == size**2


def test_a_cell_tells_its_ports_now_and_with_a_draft(shop: Served, overview: Any) -> None:
    known = names(overview)
    question = {
        "source": known.index("shop/checkout[Deployment]"),
        "destination": known.index("data/orders-db[StatefulSet]"),
    }
    now = shop.ask("/api/map/cell", question).json
    assert now["ports"] == [{"family": "", "ports": {}}]
    assert {"port": "5432/TCP", "name": "postgres"} in now["ask"]
    then = shop.ask("/api/map/cell", {**question, "draft": DRAFT}).json
    assert then["ports"] == [{"family": "", "ports": {"TCP": "5432"}}]
    for wrong in ({**question, "source": -1}, {**question, "destination": 999}):
        assert shop.ask("/api/map/cell", wrong).status == 400


def test_explain_is_the_report_of_the_verb(shop: Served) -> None:
    asked = {"source": "shop/checkout", "destination": "svc/data/orders-db", "port": "5432/TCP"}
    told = run_here(
        *("explain", "-f", SHOP, "--from", asked["source"], "--to", asked["destination"]),
        *("--port", asked["port"], "-o", "json"),
    )
    assert shop.ask("/api/explain", asked).json == json.loads(told.out)
    with_draft = shop.ask("/api/explain", {**asked, "draft": DRAFT}).json
    assert with_draft["allowed"] is True
    assert with_draft["answers"][0]["ingress"]["rule"]["file"] == KEY


def test_what_is_wrong_with_a_question_is_said(shop: Served) -> None:
    asked = {"source": "shop/chekout", "destination": "data/orders-db", "port": "1"}
    reply = shop.ask("/api/explain", asked)
    assert reply.status == 400 and "checkout" in reply.json["error"]
    broken = [{"name": "x", "replaces": "", "text": "a: {"}]
    reply = shop.ask("/api/lint", {"draft": broken})
    assert reply.status == 400 and reply.json["problems"][0]["file"] == "x"
    missing = [{"name": "x", "replaces": "NetworkPolicy/data/no", "text": None}]
    assert shop.ask("/api/lint", {"draft": missing}).status == 400
    assert shop.ask("/api/lint", {"other": 1}).status == 400


def test_lint_and_verify_are_the_reports_of_the_verbs(shop: Served, overview: Any) -> None:
    told = json.loads(run_here("lint", "-f", SHOP, "-o", "json").out)
    assert shop.ask("/api/lint", {}).json == told
    drafted = shop.ask("/api/lint", {"draft": DRAFT}).json
    assert {one["id"] for one in drafted["findings"]} - {one["id"] for one in told["findings"]} == {
        "peer-split"
    }
    path = EXAMPLES / "shop-assertions.yaml"
    told = json.loads(run_here("verify", "-f", SHOP, "--assertions", path, "-o", "json").out)
    found = shop.ask("/api/verify", {"assertions": overview["assertions"]}).json
    statuses = [[one["status"] for one in report["assertions"]] for report in (told, found)]
    assert statuses[0] == statuses[1]


def test_a_policy_comes_with_its_text_and_the_lines_of_its_rules(shop: Served) -> None:
    found = shop.ask(f"/api/policy?key={KEY}").json
    lines = found["text"].splitlines()
    assert lines[0] == "apiVersion: networking.k8s.io/v1"
    assert lines[found["lines"]["spec.ingress[0]"] - 1].strip().startswith("- from:")
    (selected,) = found["selected"]
    assert selected["pods"] == 2 and [one["pods"] for one in selected["rules"]] == [1]
    assert lines[selected["line"] - 1] == "  podSelector:"
    assert [one["line"] for one in selected["rules"]] == [found["lines"]["spec.ingress[0]"]]


def test_a_patch_applies_to_the_files(shop: Served, tmp_path: Path) -> None:
    text = shop.ask(f"/api/policy?key={KEY}").json["text"]
    other = "NetworkPolicy/data/allow-dns"
    draft = [
        {"name": KEY, "replaces": KEY, "text": text.replace("chekout", "checkout")},
        {"name": other, "replaces": other, "text": None},
        {"name": "new-1", "replaces": "", "text": CHANGE.replace("name: orders-db", "name: n")},
    ]
    patch = shop.ask("/api/patch", {"draft": draft}).json["patch"]
    copy = tmp_path / str(SHOP).lstrip("/")
    copy.mkdir(parents=True)
    subprocess.run(["cp", "-r", f"{SHOP}/.", str(copy)], check=True)
    (tmp_path / "draft.patch").write_text(patch)
    subprocess.run(["git", "apply", "-p1", "draft.patch"], cwd=tmp_path, check=True)
    report = json.loads(run_here("whatif", "-f", SHOP, "--apply", copy, "-o", "json").out)
    opened = {(one["source"], one["destination"]) for one in report["opened"]}
    assert ("shop/checkout[Deployment]", "data/orders-db[StatefulSet]") in opened
    assert "-  name: allow-dns" in patch and "+  name: n" in patch
    assert shop.ask("/api/patch", {"draft": []}).json["patch"] == ""


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A dump as JSON, in which policies are items of a list and have what a cluster adds."""
    from tests.cli.running import DENY, WEB_AND_DB

    item = {
        "metadata": {
            "name": "deny",
            "namespace": "data",
            "uid": "1",
            "managedFields": [{"manager": "x"}],
        },
        "spec": {"podSelector": {}, "ingress": []},
        "status": {},
    }
    folder = tmp_path_factory.mktemp("dump")
    dump = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": [item]}
    (folder / "policies.json").write_text(json.dumps(dump))
    (folder / "pods.yaml").write_text(WEB_AND_DB)
    assert "deny" in DENY
    with served("-f", folder) as found:
        yield found


def test_a_policy_of_a_dump_is_written_as_yaml(dumped: Served) -> None:
    key = "NetworkPolicy/data/deny"
    found = dumped.ask(f"/api/policy?key={key}").json
    assert found["text"] == (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: deny\n"
        "  namespace: data\nspec:\n  podSelector: {}\n  ingress: []\n"
    )
    draft = [{"name": key, "replaces": key, "text": found["text"]}]
    assert dumped.ask("/api/patch", {"draft": draft}).json["patch"] == ""
