"""``kubeverdict lint`` as a user runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from shutil import copytree
from xml.etree.ElementTree import fromstring

import pytest

from tests.cli.running import DENY, EXAMPLES, SHOP, WEB_AND_DB, Done, run

SHOP_DNS = EXAMPLES / "shop-dns"
EMPTY_PEER = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: db
  namespace: data
  annotations: {%s}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
    - from: [{podSelector: {matchLabels: {app: wbe}}}]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a folder of its own, and with it a kubeverdict.toml of its own or none."""
    paths = os.environ.get("PYTHONPATH", "")
    if paths:  # as seen from here
        found = (str(Path(path).resolve()) for path in paths.split(os.pathsep))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(found))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lint(text: str, *arguments: str) -> Done:
    return run("lint", "-f", "-", *arguments, stdin=text.encode())


def found(done: Done) -> list[str]:
    return [one["id"] for one in json.loads(done.out)["findings"]]


def test_the_mistakes_of_the_shop() -> None:
    done = run("lint", "-f", SHOP, "-f", SHOP_DNS, "-o", "json")
    assert (done.status, done.err) == (1, "")
    report = json.loads(done.out)
    assert report["schema"] == "kubeverdict/lint/v1"
    errors = [one for one in report["findings"] if one["severity"] == "error"]
    assert [(one["id"], one["objects"][0], one["line"]) for one in errors] == [
        ("dns-selector", "NetworkPolicy platform/allow-dns", 28),
        ("selector-typo", "NetworkPolicy data/orders-db", 77),
    ]
    assert report["summary"] == {"error": 2, "warning": 0, "note": 3, "suppressed": 0}
    assert errors[0]["fix"] == "Select pods with k8s-app: kube-dns in namespace kube-system."
    assert errors[1]["fix"] == 'Write "checkout".'


def test_the_table_puts_the_worst_first_and_sums_up() -> None:
    done = run("lint", "-f", SHOP)
    assert done.status == 1
    lines = done.out.rstrip().split("\n")
    assert lines[0].startswith("error  selector-typo: ")
    place = f"NetworkPolicy data/orders-db {SHOP / 'data' / 'policies.yaml'}:77"
    assert place in " ".join(done.out.split())
    assert lines[-1] == "1 error, 0 warnings, 2 notes in 2 files"
    assert "\x1b" not in done.out


def test_a_baseline_adopts_what_is_there(folder: Path) -> None:
    done = run("lint", "-f", SHOP, "--write-baseline", "known.json")
    assert (done.status, done.out) == (0, "")
    assert "3 findings written to known.json" in done.err
    done = run("lint", "-f", SHOP, "--baseline", "known.json")
    assert (done.status, done.out) == (0, "no new findings; 3 known\n")
    # Neither other paths nor other lines make a finding new.
    moved = folder / "moved"
    copytree(SHOP, moved)
    policies = moved / "data" / "policies.yaml"
    policies.write_text("# moved\n\n" + policies.read_text())
    done = run("lint", "-f", str(moved), "-f", SHOP_DNS, "--baseline", "known.json", "-o", "json")
    report = json.loads(done.out)
    assert done.status == 1
    assert report["findings"][0]["id"] == "dns-selector"
    assert report["baseline"]["known"] == 3 - len(report["baseline"]["gone"])
    policies.write_text(policies.read_text().replace("chekout", "checkout"))
    done = run("lint", "-f", str(moved), "--baseline", "known.json")
    assert done.status == 0
    assert "known and gone: 1 finding\n  selector-typo  NetworkPolicy data/orders-db" in done.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "known.json:1: not JSON"),
        ('{"schema": "x"}', "known.json:1: schema: a baseline has the schema"),
        ('{"schema": "%s",\n"findings": {}}', "known.json:2: findings: must be a list"),
        (
            '{"schema": "%s", "findings": [\n{"id": "a"}]}',
            "known.json:2: findings[0].fingerprint: is missing",
        ),
        (
            '{"schema": "%s", "findings": [\n{"id": 3}]}',
            "known.json:2: findings[0].id: must be a string",
        ),
        (
            '{"schema": "%s", "findings": [\n{"idd": "a"}]}',
            "known.json:2: findings[0].idd: unknown field; there are fingerprint, id",
        ),
        ('{"schema": "%s", "findings": [3]}', "known.json:1: findings[0]: must be an object"),
    ],
)
def test_a_baseline_that_cannot_be_used(folder: Path, text: str, message: str) -> None:
    text = text.replace("%s", "kubeverdict/lint-baseline/v1")
    (folder / "known.json").write_text(text)
    done = run("lint", "-f", SHOP, "--baseline", "known.json")
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_a_baseline_that_is_not_there() -> None:
    done = run("lint", "-f", SHOP, "--baseline", "none.json")
    assert (done.status, done.out) == (2, "")
    assert "none.json: cannot be read: No such file" in done.err
    done = run("lint", "-f", SHOP, "--write-baseline", "no/such/folder.json")
    assert (done.status, done.out) == (2, "")
    assert "no/such/folder.json: cannot be written" in done.err


def test_notes_alone_are_clean() -> None:
    done = run("lint", "-f", SHOP, "--disable", "selector-typo", "-o", "json")
    assert done.status == 0
    assert {one["severity"] for one in json.loads(done.out)["findings"]} == {"note"}


def test_a_rule_is_turned_off_by_a_file_too(folder: Path) -> None:
    (folder / "kubeverdict.toml").write_text('[lint]\ndisable = ["selector-typo"]\n')
    assert run("lint", "-f", SHOP).status == 0


def test_required_annotations(folder: Path) -> None:
    (folder / "kubeverdict.toml").write_text('[lint]\nrequired-annotations = ["owner"]\n')
    assert "annotation-missing" in found(lint(WEB_AND_DB + "---" + DENY, "-o", "json"))
    done = run("lint", "-f", SHOP, "--disable", "selector-typo")
    assert done.status == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[lint", "kubeverdict.toml: is not TOML"),
        ("lint = 3", "kubeverdict.toml: lint: must be a table"),
        ('disable = ["dns-blocked"]', "kubeverdict.toml: disable: stands outside of a table"),
        ("[lnt]\ndisable = []", "kubeverdict.toml: lnt: unknown table; there is [lint]"),
        ("[lint]\ndisabel = []", "kubeverdict.toml: lint.disabel: unknown key"),
        ('[lint]\ndisable = "dns"', "kubeverdict.toml: lint.disable: must be a list of strings"),
        ('[lint]\ndisable = ["peer-splt"]', "no rule 'peer-splt' (did you mean \"peer-split\"?"),
    ],
)
def test_a_file_that_cannot_be_used(folder: Path, text: str, message: str) -> None:
    (folder / "kubeverdict.toml").write_text(text)
    done = run("lint", "-f", SHOP)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "skip-invalid" not in done.err


def test_an_unknown_rule_is_wrong_usage() -> None:
    done = run("lint", "-f", SHOP, "--disable", "dns-blockt")
    assert done.status == 2
    assert 'did you mean "dns-blocked"?' in done.err


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("", ["peer-selects-nothing"]),
        ('kubeverdict.io/lint-disable.peer-selects-nothing: "no web here yet"', []),
        (
            'kubeverdict.io/lint-disable.peer-selects-nothing: " "',
            ["suppression", "peer-selects-nothing"],
        ),
        ('kubeverdict.io/lint-disable.peer: "why"', ["suppression", "peer-selects-nothing"]),
    ],
)
def test_an_annotation_turns_a_rule_off_if_it_says_why(
    annotation: str, expected: list[str]
) -> None:
    done = lint(WEB_AND_DB + "---" + EMPTY_PEER % annotation, "-o", "json")
    ids = [one for one in found(done) if not one.startswith("no-default")]
    assert ids == expected
    suppressed = json.loads(done.out)["summary"]["suppressed"]
    assert suppressed == (not expected)


def test_formats_of_ci() -> None:
    sarif = json.loads(run("lint", "-f", SHOP, "-o", "sarif").out)
    results = sarif["runs"][0]["results"]
    assert [one["ruleId"] for one in results if one["level"] == "error"] == ["selector-typo"]
    (suite,) = fromstring(run("lint", "-f", SHOP, "-o", "junit").out.encode())
    failed = [case.attrib["name"] for case in suite if case.find("failure") is not None]
    assert [name.partition(":")[0] for name in failed] == ["selector-typo"]
    github = run("lint", "-f", SHOP, "-o", "github").out.rstrip().split("\n")
    assert [line.partition(" ")[0] for line in github] == ["::notice", "::error", "::notice"]
    markdown = run("lint", "-f", SHOP, "-o", "md").out
    assert markdown.startswith("| severity | rule |")


def test_every_result_in_sarif_has_a_file_though_the_namespace_has_none() -> None:
    """GitHub refuses a report as a whole for one result without a physical location."""
    sarif = json.loads(lint(WEB_AND_DB, "-o", "sarif").out)
    results = sarif["runs"][0]["results"]
    assert results
    for result in results:
        (location,) = result["locations"]
        assert location["physicalLocation"]["region"]["startLine"] > 0


def test_several_cnis() -> None:
    done = run("lint", "-f", SHOP, "--cni", "calico", "--cni", "weave", "-o", "json")
    differs = [one for one in json.loads(done.out)["findings"] if one["id"] == "cni-differs"]
    assert any("Weave Net refuses it" in one["message"] for one in differs)
    done = run("lint", "-f", SHOP, "--cni", "flannel", "-o", "json")
    assert "cni-not-enforced" in found(done)


def test_a_snapshot_is_linted_as_its_manifests_are(folder: Path) -> None:
    run("snapshot", "-f", SHOP, "-o", "shop.kvs")
    plain = run("lint", "-f", SHOP, "-o", "json", "--disable", "no-default-deny-egress")
    kept = run("lint", "-f", "shop.kvs", "-o", "json", "--disable", "no-default-deny-egress")
    ids = [(one["id"], one["objects"]) for one in json.loads(plain.out)["findings"]]
    assert [(one["id"], one["objects"]) for one in json.loads(kept.out)["findings"]] == ids


def test_the_rules_are_listed_without_an_input() -> None:
    done = run("lint", "--list-rules")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("error    dns-blocked\n  pods cannot reach")
    assert json.loads(run("lint", "--list-rules", "-o", "json").out)["rules"]
    for wrong in (("--list-rules", "-o", "sarif"), ("--list-rules", "-f", SHOP), ()):
        done = run("lint", *wrong)
        assert (done.status, done.out) == (2, "")
        assert "--list-rules" in done.err


def test_an_empty_input_is_clean_and_says_what_was_not_checked() -> None:
    done = lint("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
    said = "no findings; 32 rules were not checked: there is no pod in the input\n"
    assert (done.status, done.out) == (0, said)
