"""Many scenarios on the command line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import INTERRUPTIBLE, SHOP, SHOP_CHANGE, WEB_AND_DB, command, run

SCENARIOS = """\
- name: drop the frontend's policy
  changes:
    - delete: networkpolicy/shop/frontend
- name: more carts
  changes:
    - scale: deployment/shop/cart
      replicas: 5
- name: nothing
  changes:
    - label: deployment/shop/cart
      set: {colour: blue}
"""


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_policy_deleted() -> None:
    done = run("bulk", "-f", SHOP, "--delete-each")
    assert done.status == 1
    assert done.out.splitlines()[1].startswith("delete networkpolicy/shop/frontend")
    assert "3 policies are redundant" in done.out
    assert "covered by" in done.out
    assert "note: 19 scenarios, 16 with changes, 3 redundant, 0 failed" in done.err


def test_lines_come_in_the_order_of_the_scenarios(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIOS)
    done = run("bulk", "-f", SHOP, "--scenarios", tmp_path / "s.yaml", "-o", "jsonl")
    assert done.status == 1
    found = lines(done.out)
    assert [one["name"] for one in found] == [
        "drop the frontend's policy",
        "more carts",
        "nothing",
    ]
    assert [one["changes"] for one in found] == [True, True, False]
    assert {one["schema"] for one in found} == {"kubeverdict/bulk/v2"}


def test_what_changes_nothing_is_clean(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIOS[SCENARIOS.index("- name: nothing") :])
    done = run("bulk", "-f", SHOP, "--scenarios", tmp_path / "s.yaml")
    assert done.status == 0
    assert "1 of 1 scenario changes nothing" in done.out


def test_one_bad_scenario_stops_no_other(tmp_path: Path) -> None:
    bad = "- name: bad\n  changes: [{delete: networkpolicy/shop/frontendd}]\n"
    (tmp_path / "s.yaml").write_text(bad + SCENARIOS)
    done = run("bulk", "-f", SHOP, "--scenarios", tmp_path / "s.yaml")
    assert done.status == 2
    assert "did you mean networkpolicy/shop/frontend?" in done.out
    assert "drop the frontend's policy" in done.out


def test_filters() -> None:
    everything = run("bulk", "-f", SHOP, "--delete-each", "-o", "jsonl")
    port = run("bulk", "-f", SHOP, "--delete-each", "-o", "jsonl", "--port", "5432")
    changed = [one["name"] for one in lines(port.out) if one["changes"]]
    assert 0 < len(changed) < sum(bool(one["changes"]) for one in lines(everything.out))
    assert "delete networkpolicy/data/orders-db" in changed
    opened = run("bulk", "-f", SHOP, "--apply-each", SHOP_CHANGE, "--only-opened", "-o", "jsonl")
    assert len(lines(opened.out)) == 2
    inside = run("bulk", "-f", SHOP, "--delete-each", "-o", "jsonl", "--in-namespace", "platform")
    names = [one["name"] for one in lines(inside.out) if one["changes"]]
    assert names and "delete networkpolicy/data/orders-db" not in names


def test_candidates_alone_and_a_rollout_of_them() -> None:
    done = run("bulk", "-f", SHOP, "--apply-each", SHOP_CHANGE, "--rollout", SHOP_CHANGE)
    assert done.status == 1
    assert done.out.count("apply networkpolicy/data/orders-db") == 2
    assert "no step breaks a connection" in done.out


ISOLATES = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: kube-system}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
ALLOWS = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow, namespace: kube-system}
spec:
  podSelector: {}
  ingress: [{from: [{namespaceSelector: {}}]}]
"""


def test_the_step_that_breaks_and_the_order_that_does_not(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(ISOLATES)
    (tmp_path / "2.yaml").write_text(ALLOWS)
    done = run("bulk", "-f", SHOP, "--rollout", tmp_path)
    assert done.status == 1
    assert "breaks" in done.out
    assert done.out.splitlines()[-2:] == [
        "  1. apply networkpolicy/kube-system/allow",
        "  2. apply networkpolicy/kube-system/deny",
    ]


def test_a_run_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    kept = tmp_path / "results.jsonl"
    arguments = ("bulk", "-f", SHOP, "--delete-each", "-o", "jsonl", "--resume", kept)
    whole = run(*arguments)
    text = kept.read_text()
    # All but five, the last of them half written.
    kept.write_text("".join(text.splitlines(keepends=True)[:-5]) + '{"scenario": "ab')
    again = run(*arguments)
    assert again.status == whole.status == 1

    def timeless(out: str) -> list[dict[str, object]]:
        return [{**one, "milliseconds": 0} for one in lines(out)]

    assert timeless(again.out) == timeless(whole.out)
    assert [json.loads(line).get("scenario") for line in kept.read_text().splitlines()] == [
        json.loads(line).get("scenario") for line in text.splitlines()
    ]


def test_results_of_another_cluster_are_refused(tmp_path: Path) -> None:
    kept = tmp_path / "results.jsonl"
    run("bulk", "-f", SHOP, "--delete-each", "--resume", kept)
    other = tmp_path / "shop"
    shutil.copytree(SHOP, other)
    done = run("bulk", "-f", other, "--delete-each", "--resume", kept)
    assert done.status == 2
    assert "holds results of another cluster" in done.err
    done = run("bulk", "-f", SHOP, "--delete-each", "--resume", kept, "--port", "80")
    assert done.status == 2
    kept.write_text("something else\n")
    done = run("bulk", "-f", SHOP, "--delete-each", "--resume", kept)
    assert done.status == 2
    assert "holds no results of kubeverdict bulk" in done.err


def test_where_clusters_differ(tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(SHOP, other)
    policies = other / "shop" / "policies.yaml"
    text = policies.read_text()
    policies.write_text(text.replace("name: frontend\n", "name: renamed\n", 1))
    clusters = (f"east={SHOP}", f"west={SHOP}", f"south={other}")
    flags = [part for text in clusters for part in ("--cluster", text)]
    done = run("bulk", *flags, "--delete-each", "-o", "jsonl")
    assert done.status == 1
    found = {one["name"]: one for one in lines(done.out)}
    assert found["delete networkpolicy/shop/frontend"]["differ"] == ["south"]
    assert found["delete networkpolicy/shop/renamed"]["differ"] == ["south"]
    assert found["delete networkpolicy/shop/checkout"]["differ"] == []
    table = run("bulk", *flags, "--delete-each").out.splitlines()
    assert table[0].split() == ["SCENARIO", "EAST", "WEST", "SOUTH", "DIFFER"]
    assert table[1].endswith("south")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-f", SHOP), "no scenarios: use --scenarios"),
        (("--delete-each",), "use -f for one cluster"),
        (("-f", SHOP, "--cluster", f"a={SHOP}", "--delete-each"), "use -f for one cluster"),
        (("--cluster", "a", "--delete-each"), "write it as NAME=PATH"),
        (("-f", SHOP, "--delete-each", "--port", "http"), "give a number"),
        (("-f", SHOP, "--relabel-each", "x"), "KEY=VALUE"),
        (("-f", SHOP, "--scenarios", "nowhere"), "nowhere"),
        (("-f", SHOP, "--delete-each", "--memory-limit", "1MiB"), "this would need about"),
        (("-f", SHOP, "--delete-each", "--memory-limit", "much"), "write it as 500MiB or 2GiB"),
        (("-f", SHOP, "--delete-each", "--scheduler", "tcp://127.0.0.1:1"), "cannot be reached"),
    ],
)
def test_wrong_usage(arguments: tuple[object, ...], message: str) -> None:
    done = run("bulk", *arguments)
    assert done.status == 2
    assert message in done.err


def test_enough_memory_is_no_matter() -> None:
    assert run("bulk", "-f", SHOP, "--delete-each", "--memory-limit", "2GiB").status == 1


def test_a_snapshot_has_to_fit_too(tmp_path: Path) -> None:
    kept = tmp_path / "shop.kvs"
    run("snapshot", "-f", SHOP, "-o", kept)
    done = run("bulk", "-f", kept, "--delete-each", "--memory-limit", "1MiB")
    assert done.status == 2 and "this would need about" in done.err


def test_an_interrupt_leaves_whole_lines(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    names = "".join(f"- name: n{n}\n  changes: [{{cni: flannel}}]\n" for n in range(400))
    (tmp_path / "s.yaml").write_text(names)
    with out.open("wb") as stream:
        process = subprocess.Popen(
            [
                *INTERRUPTIBLE,
                *command(),
                "bulk",
                "-f",
                str(SHOP),
                "--delete-each",
                "-o",
                "jsonl",
                "--scenarios",
                str(tmp_path / "s.yaml"),
            ],
            stdout=stream,
            stderr=subprocess.PIPE,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.7)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err
    assert not out.read_bytes() or out.read_bytes().endswith(b"\n")


def test_a_snapshot_answers_as_the_manifests_do(tmp_path: Path) -> None:
    kept = tmp_path / "shop.kvs"
    assert run("snapshot", "-f", SHOP, "-o", kept).status == 0
    ends = ("--from", "deployment/shop/checkout", "--to", "svc/data/orders-db", "--port", "5432")
    for arguments in (
        ("explain", *ends),
        ("list",),
        ("list", "--cni", "cilium"),
        ("whatif", "--apply", SHOP_CHANGE),
        ("bulk", "--delete-each", "-o", "csv"),
    ):
        verb, *rest = arguments
        there, here = (run(verb, "-f", path, *rest) for path in (kept, SHOP))
        assert (there.status, there.out) == (here.status, here.out)


def test_a_snapshot_goes_alone_and_must_be_one(tmp_path: Path) -> None:
    kept = tmp_path / "shop.kvs"
    run("snapshot", "-f", SHOP, "-o", kept)
    done = run("list", "-f", kept, "-f", SHOP)
    assert done.status == 2 and "no other input can be used with it" in done.err
    kept.write_bytes(kept.read_bytes()[:-100])
    done = run("list", "-f", kept)
    assert done.status == 2 and "shop.kvs" in done.err


def test_redundant_policies_that_can_go_together() -> None:
    policy = """
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: %s, namespace: data}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}]}
"""
    three = WEB_AND_DB + "".join(policy % name for name in ("p1", "p2", "p3"))
    done = run("bulk", "-f", "-", "--delete-each", stdin=three.encode())
    text = " ".join(done.out.split())
    assert done.status == 0
    assert "3 policies are redundant: removing any single one changes nothing" in text
    assert "2 policies can be removed together (checked: nothing changes without" in text
    assert "data/p2 data/p3 1 policy has to stay then" in text
    assert "data/p1: covered by data/p2, which goes" in text
    done = run("lint", "-f", "-", stdin=three.encode())
    assert "2 policies can be removed together" in done.out
