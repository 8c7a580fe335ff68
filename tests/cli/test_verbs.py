"""Each verb, on the example that the project ships."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import numpy
import pytest

import kubeverdict
from kubeverdict.render import FORMATS
from tests.cli.running import DENY, SHOP, SHOP_CHANGE, WEB_AND_DB, run


def test_help_and_version() -> None:
    done = run("--help")
    assert done.status == 0 and done.err == ""
    # What bulk answers about several clusters, and lint about itself.
    verbs = FORMATS.keys() - {"drift", "rules"}
    assert all(verb in done.out for verb in (*verbs, "snapshot", "warmup"))
    lines = run("--version").out.splitlines()
    assert lines[0] == f"kubeverdict {kubeverdict.__version__}"
    assert lines[1].startswith(f"Python             {platform.python_version()} (")
    shown = dict(line.split()[:2] for line in lines[2:])
    assert shown["numpy"] == numpy.__version__ and "numba" in shown and "click" in shown
    for verb in verbs:
        done = run(verb, "--help")
        assert done.status == 0
        assert all(option in done.out for option in ("--cni", "--static", "--skip-invalid"))


def test_explain_a_denial_shows_the_typo() -> None:
    done = run(
        *("explain", "-f", SHOP, "--from", "deployment/shop/checkout"),
        *("--to", "svc/data/orders-db", "--port", "5432/TCP"),
    )
    assert done.status == 1
    first = done.out.splitlines()[0]
    assert first.startswith("denied: shop/checkout[Deployment] → data/orders-db-0 on TCP 5432")
    assert "peer wants app=chekout" in done.out
    assert 'did you mean "checkout"? 1 letter off' in done.out
    assert "policies.yaml:" in done.out


def test_explain_an_allowed_connection() -> None:
    done = run(
        *("explain", "-f", SHOP, "--from", "shop/frontend", "--to", "shop/cart"),
        *("--port", "8080", "-o", "json"),
    )
    assert done.status == 0
    content = json.loads(done.out)
    assert content["schema"] == "kubeverdict/explain/v1"
    (answer,) = content["answers"]
    assert answer["allowed"] and answer["ingress"]["reason"] == "rule"


def test_list() -> None:
    done = run("list", "-f", SHOP, "-o", "json")
    assert done.status == 0
    content = json.loads(done.out)
    assert content["schema"] == "kubeverdict/list/v2"
    assert {
        "source": "shop/cart[Deployment]",
        "destination": "data/cart-cache[StatefulSet]",
        "ports": {"TCP": "6379"},
    } in content["connections"]
    pods = run("list", "-f", SHOP, "--pods", "--focus", "shop/cart", "--direction", "ingress")
    assert pods.status == 0
    rows = pods.out.splitlines()[1:]
    assert rows and all("shop/cart-" in row.split()[1] for row in rows)
    namespace = run(
        "list", "-f", SHOP, "--in-namespace", "data", "--in-namespace", "platform", "-o", "csv"
    )
    assert namespace.status == 0
    assert all("data/" in row or "platform/" in row for row in namespace.out.splitlines()[1:])


@pytest.mark.parametrize("form", FORMATS["list"])
def test_list_in_every_format(form: str) -> None:
    done = run("list", "-f", SHOP, "-o", form)
    assert done.status == 0
    assert done.out.endswith("\n") and not done.out.endswith("\n\n")
    assert "\x1b" not in done.out  # a pipe is no terminal


def test_diff(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new.yaml"
    old.mkdir()
    (old / "pods.yaml").write_text(WEB_AND_DB)
    new.write_text(WEB_AND_DB + "---" + DENY)
    done = run("diff", old, new)
    assert done.status == 1
    assert [line.split()[:3] for line in done.out.splitlines()[1:2]] == [
        ["removed", "shop/web[Pod]", "data/db[Pod]"]
    ]
    content = json.loads(run("diff", old, new, "-o", "json").out)
    assert content["schema"] == "kubeverdict/diff/v2"
    assert content["removed"][0] == {
        "source": "shop/web[Pod]",
        "destination": "data/db[Pod]",
        "ports": "all",
    }
    same = run("diff", old, old)
    assert (same.status, same.out) == (0, "no differences\n")


def test_diff_of_one_input_under_two_cnis(tmp_path: Path) -> None:
    path, kept = tmp_path / "cluster.yaml", tmp_path / "cluster.kvs"
    path.write_text(WEB_AND_DB + "---" + DENY)
    two = ("--cni-old", "calico", "--cni-new", "flannel")
    done = run("diff", path, path, *two, "-o", "json")
    assert done.status == 1
    content = json.loads(done.out)
    assert content["profiles"] == {"old": "calico", "new": "flannel"}
    assert content["added"][0]["destination"] == "data/db[Pod]" and not content["removed"]
    assert "judged as Calico" in done.err and "judged as Flannel" in done.err
    # Standard input is read once, and a snapshot is as good as what it was made of.
    assert run("diff", "-", "-", *two, "-o", "json", stdin=path.read_bytes()).out == done.out
    assert run("snapshot", "-f", path, "-o", kept, "--cni", "calico").status == 0
    assert run("diff", kept, kept, *two, "-o", "json").out == done.out
    assert run("diff", path, kept, *two, "-o", "json").out == done.out
    # One of them: the other is as --cni would be by default.
    assert json.loads(run("diff", path, path, *two[2:], "-o", "json").out)["profiles"] == {
        "old": "reference",
        "new": "flannel",
    }
    both = run("diff", path, path, *two, "--cni", "calico")
    assert both.status == 2 and "--cni is for both inputs" in both.err


def test_what_a_job_fails_on(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(WEB_AND_DB)
    new.write_text(WEB_AND_DB + "---" + DENY)

    def failing(*arguments: object, kinds: tuple[str, str]) -> list[int]:
        return [run(*arguments, "--fail-on", kind).status for kind in (*kinds, "any")]

    assert failing("diff", old, new, kinds=("added", "removed")) == [0, 1, 1]
    assert failing("diff", new, old, kinds=("added", "removed")) == [1, 0, 1]
    assert failing("diff", old, old, kinds=("added", "removed")) == [0, 0, 0]
    change = ("whatif", "-f", old, "--apply", new)
    assert failing(*change, kinds=("opened", "closed")) == [0, 1, 1]
    deletion = ("whatif", "-f", new, "--delete", "networkpolicy/data/deny")
    assert failing(*deletion, kinds=("opened", "closed")) == [1, 0, 1]
    each = ("bulk", "-f", new, "--delete-each")
    assert failing(*each, kinds=("opened", "closed")) == [1, 0, 1]
    several = ("bulk", "--cluster", f"a={new}", "--cluster", f"b={new}", "--delete-each")
    assert failing(*several, kinds=("opened", "closed")) == [1, 0, 1]


@pytest.mark.parametrize("form", FORMATS["whatif"])
def test_whatif_in_every_format(form: str) -> None:
    done = run("whatif", "-f", SHOP, "--apply", SHOP_CHANGE, "-o", form)
    assert (done.status == 1 and "orders-db" in done.out) or form == "svg"
    assert done.out.endswith("\n") and not done.out.endswith("\n\n")


@pytest.mark.parametrize("form", FORMATS["diff"])
def test_diff_in_every_format(tmp_path: Path, form: str) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(WEB_AND_DB)
    assert run("diff", SHOP, new, "-o", form).status == 1


def test_whatif() -> None:
    done = run("whatif", "-f", SHOP, "--apply", SHOP_CHANGE)
    assert done.status == 1
    assert "opens 7 connections" in done.out and "closes 2 connections" in done.out
    assert "orders-db.yaml:" in done.out
    content = json.loads(run("whatif", "-f", SHOP, "--apply", SHOP_CHANGE, "-o", "json").out)
    assert content["schema"] == "kubeverdict/whatif/v2"
    assert len(content["opened"]) == 7 and len(content["closed"]) == 2
    (pairs,) = content["pod_pairs"]
    assert pairs["after"] - pairs["before"] == 17


def test_whatif_of_a_deletion_and_of_nothing() -> None:
    done = run("whatif", "-f", SHOP, "--delete", "networkpolicy/data/orders-db")
    assert done.status == 1
    assert "closes 1 connection\n└─ data/orders-backup[CronJob] → data/orders-db" in done.out
    same = run("whatif", "-f", SHOP, "--apply", SHOP / "data" / "policies.yaml")
    assert same.status == 0 and "nothing changes" in same.out


def test_what_is_deleted_and_applied_again_is_no_change() -> None:
    policies = SHOP / "data" / "policies.yaml"
    done = run(*("whatif", "-f", SHOP, "--delete", "netpol/data/default-deny", "--apply", policies))
    assert done.status == 0


def test_warmup_tells_how_far_it_is(tmp_path: Path) -> None:
    done = run("warmup")
    assert (done.status, done.out) == (0, "")
    assert "done" in done.err.splitlines()[-1]


def test_standard_input() -> None:
    done = run(
        *("explain", "-f", "-", "--from", "shop/web", "--to", "data/db", "--port", "80"),
        stdin=(WEB_AND_DB + "---" + DENY).encode(),
    )
    assert done.status == 1
    assert "<stdin>:" in done.out
