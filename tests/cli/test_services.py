"""Questions about Services from the command line."""

from __future__ import annotations

from pathlib import Path

from tests.cli.running import run
from tests.services import inputs


def files(*names: str) -> list[str]:
    return [part for path in inputs.paths(names) for part in ("-f", path)]


def test_policies_from_a_log_let_a_pod_reach_the_api_server(tmp_path: Path) -> None:
    log = tmp_path / "flows.csv"
    log.write_text("source,destination,protocol,port\n10.244.0.5,10.96.0.1,TCP,443\n")
    asked = (*files("apiserver", "apiserver-slice"), "--flows", log)
    written = run("recommend", *asked, "-o", "yaml")
    assert written.status == 0, written.err
    assert 'cidr: "172.18.0.2/31"' in written.out and "port: 6443" in written.out
    # Without the endpoints it is said that they are missing.
    unknown = run("recommend", *files("apiserver"), "--flows", log, "-o", "yaml")
    assert unknown.status == 2 and "whose endpoints the input does not have" in unknown.err


def test_an_address_of_a_service_is_the_service() -> None:
    asked = ("--from", "shop/web", "--to", "203.0.113.50", "--port", 80)
    told = run("explain", *files("database", "balancer"), *asked, "-o", "json")
    assert told.status == 0
    assert '"destination": "svc/shop/public"' in told.out
    assert '"via": "load balancer address"' in told.out
    assert "source address" in told.err


def test_what_a_node_drops_is_no_denial(tmp_path: Path) -> None:
    asked = ("--from", "shop/web", "--to", "10.96.0.22", "--port", 80)
    told = run("explain", *files("database", "balancer"), *asked)
    assert told.status == 1
    first, second = told.out.splitlines()
    assert first == "dropped: shop/web → svc/shop/local on TCP 80"
    assert second.endswith("(internalTrafficPolicy Local) and drops it, whatever policies say")
