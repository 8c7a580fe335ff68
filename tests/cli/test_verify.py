"""Assertions on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.running import DENY, EXAMPLES, SHOP, WEB_AND_DB, Done, run

ASSERTIONS = """\
assertions:
  - name: web-to-db
    description: The shop has to work.
    allow: {from: shop/web, to: data/db}
    ports: 5432
  - name: db-to-web
    deny: {from: data/db, to: shop/web}
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "cluster.yaml").write_text(WEB_AND_DB)
    (tmp_path / "deny.yaml").write_text(DENY)
    (tmp_path / "assertions.yaml").write_text(ASSERTIONS)
    return tmp_path


def verify(files: Path, *options: object) -> Done:
    cluster = ("-f", files / "cluster.yaml", "-f", files / "deny.yaml")
    return run("verify", *cluster, "--assertions", files / "assertions.yaml", *options)


def test_a_violation(files: Path) -> None:
    done = verify(files)
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[1].split() == ["web-to-db", "allow", "violated", "1"]
    assert "shop/web[Pod] → data/db[Pod] TCP 5432 is denied" in lines[2]
    assert f"data/deny ({files}/deny.yaml:1)" in lines[3]
    assert "db-to-web" in done.out
    assert "2 assertions for the pods that exist: 2 violated" in done.out


def test_what_holds_is_clean(files: Path) -> None:
    (files / "assertions.yaml").write_text(
        ASSERTIONS.replace("allow", "deny")[
            : -len("  - name: db-to-web\n    deny: {from: data/db, to: shop/web}\n")
        ]
    )
    done = verify(files)
    assert (done.status, "1 assertion for the pods that exist: 1 holds" in done.out) == (0, True)


def test_what_cannot_be_judged_is_wrong_input_and_the_others_are_judged(files: Path) -> None:
    (files / "assertions.yaml").write_text(ASSERTIONS.replace("shop/web, to", "shop/wbe, to"))
    done = verify(files)
    assert done.status == 2
    assert (
        'assertions.yaml:4: from: no pod or workload shop/wbe in the input (did you mean "web"?'
        in done.out
    )
    assert "1 violated, 1 could not be judged" in done.out


def test_a_file_that_is_wrong(files: Path) -> None:
    (files / "assertions.yaml").write_text(ASSERTIONS.replace("ports: 5432", "ports: 0"))
    done = verify(files)
    assert done.status == 2
    assert done.out == ""
    assert f"{files}/assertions.yaml:5: assertions[0].ports: Invalid value: 0" in done.err
    # That is for manifests: no assertion is skipped.
    assert "--skip-invalid" not in done.err
    (files / "deny.yaml").write_text("kind: NetworkPolicy\n")
    (files / "assertions.yaml").write_text(ASSERTIONS)
    assert "--skip-invalid goes on without these documents" in verify(files).err


def test_json(files: Path) -> None:
    report = json.loads(verify(files, "-o", "json").out)
    assert report["schema"] == "kubeverdict/verify/v2"
    first, second = report["assertions"]
    assert (first["name"], first["claim"], first["status"]) == ("web-to-db", "allow", "violated")
    assert (first["line"], first["complete"], first["pod_pairs"]) == (2, True, 1)
    (violation,) = first["violations"]
    assert violation["source"] == "shop/web[Pod]"
    assert violation["ports"] == {"TCP": "5432"}
    assert violation["example"] == {
        "source": "shop/web",
        "destination": "data/db",
        "port": "TCP 5432",
    }
    assert violation["egress"] == {"allowed": True, "reason": "not-isolated"}
    assert violation["ingress"]["isolated_by"][0]["policy"] == "data/deny"
    assert second["violations"][0]["ports"] == "all"


def test_junit_has_a_case_for_each_assertion(files: Path) -> None:
    root = ElementTree.fromstring(verify(files, "-o", "junit").out)
    cases = list(root.iter("testcase"))
    assert [case.get("name") for case in cases] == ["web-to-db", "db-to-web"]
    assert [case.get("line") for case in cases] == ["2", "6"]
    failure = cases[0].find("failure")
    assert failure is not None
    assert failure.text is not None
    assert f"{files}/deny.yaml:1: shop/web[Pod] -> data/db[Pod] TCP 5432 is denied" in failure.text


def test_sarif_and_annotations_point_at_the_policy(files: Path) -> None:
    (run_,) = json.loads(verify(files, "-o", "sarif").out)["runs"]
    first, second = run_["tool"]["driver"]["rules"]
    assert first["shortDescription"] == {"text": "web-to-db"}
    assert first["fullDescription"] == {"text": "The shop has to work."}
    assert second["shortDescription"] == {"text": "db-to-web"}
    place = run_["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("deny.yaml")
    assert place["region"] == {"startLine": 1}
    first, second = verify(files, "-o", "github").out.splitlines()
    assert first.startswith(
        f"::error file={files}/deny.yaml,line=1,title=kubeverdict verify%3A web"
    )
    # No rule lets this through: the assertion is all there is to point at.
    assert second.startswith(f"::error file={files}/assertions.yaml,line=6,")


def test_markdown(files: Path) -> None:
    done = verify(files, "-o", "md")
    assert "| web-to-db | allow | violated | 1 |" in done.out
    assert "- shop/web\\[Pod\\] → data/db\\[Pod\\] TCP 5432 is denied" in done.out


def test_any_pod_that_could_be_created(files: Path) -> None:
    (files / "assertions.yaml").write_text(
        "assertions:\n"
        "  - name: closed\n"
        "    deny: {from: {namespace: shop}, to: {namespace: data}}\n"
    )
    assert verify(files, "--any").status == 0
    (files / "deny.yaml").write_text(DENY.replace("{}", "{matchLabels: {app: db}}"))
    assert verify(files).status == 0
    done = verify(files, "--any")
    assert done.status == 1
    assert "a new pod in shop without labels → a new pod in data without labels" in done.out
    report = json.loads(verify(files, "--any", "-o", "json").out)
    (violation,) = report["assertions"][0]["violations"]
    assert report["any"] is True
    assert violation["new_destination"]["labels"] == {}


def statuses(*options: object) -> dict[str, str]:
    where = ("-f", SHOP, "--assertions", EXAMPLES / "shop-assertions.yaml", "-o", "json")
    report = json.loads(run("verify", *where, *options).out)
    return {one["name"]: one["status"] for one in report["assertions"]}


def test_the_shop_keeps_its_promises() -> None:
    assert set(statuses().values()) == {"holds"}


def test_names_do_not_resolve_with_a_policy_that_misses_dns(tmp_path: Path) -> None:
    change = EXAMPLES / "shop-dns" / "platform-egress.yaml"
    before = statuses("-f", change)
    assert [name for name, status in before.items() if status != "holds"] == ["names-resolve"]
    repaired = tmp_path / change.name
    repaired.write_text(change.read_text().replace("k8s-app: coredns", "k8s-app: kube-dns"))
    assert set(statuses("-f", repaired).values()) == {"holds"}


def test_new_pods_of_the_shop_could_break_two_of_its_promises() -> None:
    broken = [name for name, status in statuses("--any").items() if status != "holds"]
    assert broken == ["money-is-taken-by-the-checkout", "databases-connect-to-nothing-outside"]
