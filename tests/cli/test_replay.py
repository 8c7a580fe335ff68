"""``replay`` and ``recommend`` as a user runs them, on the shop and its flows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from kubeverdict.analyses.judged_traffic import Count
from kubeverdict.analyses.recommend import proof
from kubeverdict.analyses.traffic import Traffic
from kubeverdict.cli.recommend import recommend
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.render import FORMATS
from tests.cli.running import DENY, EXAMPLES, SHOP, WEB_AND_DB, run
from tests.render.replayed import BROKEN

FLOWS = EXAMPLES / "shop-flows.jsonl"
MISTAKE = EXAMPLES / "shop-dns"
HERE = ("-f", SHOP, "-f", MISTAKE, "--flows", FLOWS)


def test_replay_finds_the_dns_mistake() -> None:
    done = run("replay", *HERE)
    assert done.status == 1
    assert "4 connections (7 records) got through when logged, and would break" in done.out
    assert "is isolated by platform/allow-dns" in done.out
    assert "whose spec.egress[0]" in done.out and "comes nearest" in done.out
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
    done = run("recommend", *HERE, "--in-namespace", "platform", "--out", out)
    assert done.status == 0
    assert "  0 newly blocked" in done.out
    assert "4 that present policies deny would be allowed" in done.out
    assert [path.name for path in out.iterdir()] == ["platform.yaml"]
    assert run("replay", *HERE, "--apply", out).status == 0
    # What it has written itself it may replace, and nothing else.
    assert run("recommend", *HERE, "--in-namespace", "platform", "--out", out).status == 0
    (out / "platform.yaml").write_text("# by hand\n")
    done = run("recommend", *HERE, "--in-namespace", "platform", "--out", out)
    assert done.status == 2 and "exists and was not written by kubeverdict" in done.err
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
    assert "1 malformed line was skipped: <stdin>:1: " in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replay", "-f", SHOP), "Missing option"),
        (("replay", "-f", SHOP, "--flows", "/does/not/exist"), "/does/not/exist"),
        (("replay", "-f", SHOP, "--flows", SHOP / "README.md"), "is not a log of"),
        (("replay", "-f", SHOP, "--flows", FLOWS, "--columns", "x=y"), "x is not a field"),
        (("replay", "-f", "-", "--flows", "-"), "only one of the inputs"),
        (
            ("recommend", "-f", SHOP, "--flows", FLOWS, "--in-namespace", "nowhere"),
            "no such namespace",
        ),
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
    assert "the record cannot be judged" in done.err
    assert "pods that are not in the cluster (1): other/a-0" in done.out


def test_nothing_is_written_where_nothing_could_be_judged(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text("source,destination,port\nother/a-0,other/b-0,80\n")
    out = tmp_path / "policies"
    for form in ("table", "yaml"):
        done = run(
            *("recommend", "-f", SHOP, "--flows", path, "--default-deny"),
            *("--baseline", "dns", "--out", out, "-o", form),
        )
        assert done.status == 2
        assert "kind: NetworkPolicy" not in done.out and not out.exists()


def test_nothing_is_written_where_nothing_got_through(tmp_path: Path) -> None:
    cluster, flows, out = tmp_path / "cluster.yaml", tmp_path / "flows.csv", tmp_path / "out"
    cluster.write_text(WEB_AND_DB)
    flows.write_text("source,destination,port,verdict\nshop/web,data/db,5432,denied\n")
    done = run("recommend", "-f", cluster, "--flows", flows, "--default-deny", "--out", out)
    assert done.status == 1 and not out.exists()
    assert "no connection got through that could be replayed: nothing is proven" in done.err
    assert "nothing was written" in done.err


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"blocked": Count(9, 4), "blocked_groups": (BROKEN,)}, "4 connections would be blocked"),
        ({"selects_nothing": ("shop/web: app=x in shop",)}, "1 selector selects no pod"),
    ],
)
def test_nothing_is_written_where_the_proof_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    changes: dict[str, object],
    why: str,
) -> None:
    """As it should never do, so it is made to."""

    def failing(*given: CompiledPolicy | Traffic) -> proof.Proof:
        return msgspec.structs.replace(real(*given), **changes)

    real: Callable[..., proof.Proof] = proof.prove
    monkeypatch.setattr(proof, "prove", failing)
    out = tmp_path / "out"
    arguments = ["-f", str(SHOP), "--flows", str(FLOWS), "--out", str(out)]
    assert recommend.main(arguments, standalone_mode=False) == 1
    assert f"error: the proof fails: {why}; nothing was written" in capfd.readouterr().err
    assert not out.exists()
    monkeypatch.undo()
    assert recommend.main(arguments, standalone_mode=False) == 0
    assert out.exists()


def test_policies_without_any_rule(tmp_path: Path) -> None:
    cluster, flows = tmp_path / "cluster.yaml", tmp_path / "flows.csv"
    cluster.write_text(f"{WEB_AND_DB}---{DENY}")
    flows.write_text("source,destination,port\nshop/web,203.0.113.9,443\n")
    done = run("replay", "-f", cluster, "--flows", flows)
    assert done.status == 0, done.err
    flows.write_text("source,destination,port\nshop/web,data/db,5432\n")
    assert run("replay", "-f", cluster, "--flows", flows).status == 1


NOBODYS = """\
source,destination,port,count
shop/web,data/db,5432,7
shop/web,10.0.0.77,5432,500
shop/web,nonsense,5432,1
"""


def test_formats_without_room_say_beside_it_what_is_not_in_them(tmp_path: Path) -> None:
    cluster, flows = tmp_path / "cluster.yaml", tmp_path / "flows.csv"
    cluster.write_text(WEB_AND_DB)
    flows.write_text(NOBODYS)
    lost = "500 records could not be attributed"
    for verb, form in (("recommend", "yaml"), ("replay", "csv")):
        done = run(verb, "-f", cluster, "--flows", flows, "-o", form)
        assert done.status == 0
        assert f"  {lost}" in done.err and "10.0.0.77" in done.err
        assert f"1 malformed line was skipped: {flows}:4: " in done.err
        assert lost not in done.out
    done = run("recommend", "-f", cluster, "--flows", flows, "-o", "yaml")
    assert f"proof: {lost}: nothing is proven of them" in done.err
    assert "gap: no DNS pods were found" in done.err
    assert "gap: traffic in one direction only" in done.err
    done = run("recommend", "-f", cluster, "--flows", flows)
    assert f"  {lost}: nothing is proven of them" in done.out
