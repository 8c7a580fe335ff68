"""``replay`` and ``recommend`` as a user runs them, on the shop and its flows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubeverdict.render import FORMATS
from tests.cli.running import EXAMPLES, SHOP, run

FLOWS = EXAMPLES / "shop-flows.jsonl"
MISTAKE = EXAMPLES / "shop-dns"
HERE = ("-f", SHOP, "-f", MISTAKE, "--flows", FLOWS)


def test_replay_finds_the_dns_mistake() -> None:
    done = run("replay", *HERE)
    assert done.status == 1
    assert "4 connections (7 records) got through when logged, and would break" in done.out
    assert "nearest is platform/allow-dns spec.egress[0]" in done.out
    assert run("replay", "-f", SHOP, "--flows", FLOWS).status == 0


@pytest.mark.parametrize("verb", ["replay", "recommend"])
def test_every_format(verb: str) -> None:
    for form in FORMATS[verb]:
        done = run(verb, *HERE, "-o", form)
        assert done.status == (1 if verb == "replay" else 0) and done.out
        if form == "json":
            content = json.loads(done.out)
            assert content["schema"] == f"kubeverdict/{verb}/v1"
            assert content["log"]["lines"] == 35


def test_what_is_recommended_repairs_it(tmp_path: Path) -> None:
    out = tmp_path / "policies"
    done = run("recommend", *HERE, "--namespace", "platform", "--out", out)
    assert done.status == 0
    assert "  0 newly blocked" in done.out
    assert "4 that the present policies deny are allowed again" in done.out
    assert [path.name for path in out.iterdir()] == ["platform.yaml"]
    assert run("replay", *HERE, "--apply", out).status == 0
    # What it has written itself it may replace, and nothing else.
    assert run("recommend", *HERE, "--namespace", "platform", "--out", out).status == 0
    (out / "platform.yaml").write_text("# by hand\n")
    done = run("recommend", *HERE, "--namespace", "platform", "--out", out)
    assert done.status == 2 and "is there and not from here" in done.err
    assert (out / "platform.yaml").read_text() == "# by hand\n"


def test_policies_on_standard_output() -> None:
    done = run("recommend", *HERE, "--default-deny", "-o", "yaml")
    assert done.status == 0
    assert "proof: 0 newly blocked" in done.err
    assert "name: recommended-default-deny" in done.out
    again = run("replay", *HERE, "--apply", "-", stdin=done.out.encode())
    assert again.status == 0


def test_flows_from_standard_input_and_malformed_lines() -> None:
    text = b"not json\n" + FLOWS.read_bytes()
    done = run("replay", "-f", SHOP, "--flows", "-", stdin=text)
    assert done.status == 0
    assert "1 malformed lines were skipped, the first is <stdin>:1: " in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replay", "-f", SHOP), "Missing option"),
        (("replay", "-f", SHOP, "--flows", "/does/not/exist"), "/does/not/exist"),
        (("replay", "-f", SHOP, "--flows", SHOP / "README.md"), "is no log of"),
        (("replay", "-f", SHOP, "--flows", FLOWS, "--columns", "x=y"), "x is no field"),
        (("replay", "-f", "-", "--flows", "-"), "only one of the inputs"),
        (("recommend", "-f", SHOP, "--flows", FLOWS, "-n", "nowhere"), "no such namespace"),
        (("recommend", "-f", SHOP, "--flows", FLOWS, "--max-cidrs", "0"), "Invalid value"),
    ],
)
def test_mistakes(arguments: tuple[object, ...], message: str) -> None:
    done = run(*arguments)
    assert done.status == 2
    assert message in done.err and done.out == ""


def test_a_log_without_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    path.write_text('{"node_status": {}}\n{"flow": {"verdict": 1}}\n')
    done = run("replay", "-f", SHOP, "--flows", path)
    assert done.status == 2
    assert "no connection in 2 lines" in done.err and f"{path}:2: " in done.err


@pytest.mark.parametrize("verb", ["replay", "recommend"])
def test_a_log_of_another_cluster_is_not_clean(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text("source,destination,port\nother/a-0,other/b-0,80\n")
    done = run(verb, "-f", SHOP, "--flows", path)
    assert done.status == 2
    assert "none of the 1 records could be judged" in done.err
    assert "pods that are not in the cluster: other/a-0" in done.out
