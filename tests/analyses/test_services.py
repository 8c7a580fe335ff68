"""Questions about Services by every name and address that they have."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.explain import Explanation, explain
from kubeverdict.analyses.questions import parse_port
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import UsageError
from kubeverdict.model.cluster import Service, ServicePort
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE
from tests.clusters.records import allow, block, policy_of
from tests.services import inputs


def ask(names: tuple[str, ...], source: str, destination: str, port: str | None) -> Explanation:
    question = parse_port(port) if port else None
    return explain(inputs.compiled(names), source, destination, question)


def ends(report: Explanation) -> set[tuple[str, int, bool]]:
    return {
        (name, answer.port, answer.allowed)
        for answer in report.answers
        for name in answer.destinations
    }


@pytest.mark.parametrize(
    ("destination", "port", "service", "via"),
    [
        ("svc/shop/db", "80", "db", ""),
        ("svc/shop/db", None, "db", ""),
        ("db.shop.svc.cluster.local", "80", "db", ""),
        ("db.shop.svc", None, "db", ""),
        ("10.96.0.20", "80", "db", "cluster IP"),
        ("10.96.0.20", None, "db", "cluster IP"),
        ("198.51.100.9", "80", "public", "external IP"),
        ("203.0.113.50", "80", "public", "load balancer address"),
        ("192.168.1.1", "30080", "public", "node port"),
        ("svc/shop/alias", "80", "db", ""),
    ],
)
def test_a_service_is_judged_at_its_backends(
    destination: str, port: str | None, service: str, via: str
) -> None:
    report = ask(inputs.BALANCER, "shop/web", destination, port)
    assert report.destination == f"svc/shop/{service}" and report.via == via
    assert ends(report) == {("shop/db-0", 8080, True)}
    source_is_told = any("source address" in note for note in report.notes)
    assert source_is_told == (service == "public")


def test_a_balancer_that_opens_connections_of_its_own() -> None:
    report = ask(inputs.BALANCER, "shop/web", "203.0.113.51", "80")
    # The policy lets web out to the database alone, and the balancer is none.
    (answer,) = report.answers
    assert not answer.egress.allowed and answer.ingress.allowed
    (miss,) = answer.egress.isolated_by
    assert miss.nearest and "203.0.113.51" in miss.nearest.failures[0].message
    assert any("ipMode Proxy" in note for note in report.notes)


def test_an_address_of_a_service_on_another_port_is_no_question_about_policies() -> None:
    for port in ("81", "80/UDP", "icmp", "nowhere"):
        with pytest.raises(UsageError, match=r"cluster IP of.*has no port .*; it has 80/TCP"):
            ask(inputs.DATABASE, "shop/web", "10.96.0.20", port)


def test_a_node_is_itself_on_ports_that_are_no_node_ports() -> None:
    report = ask(inputs.BALANCER, "shop/web", "192.168.1.1", "22")
    assert report.destination == "192.168.1.1" and not report.allowed


def test_only_backends_on_the_node_of_the_client() -> None:
    dropped = ask(inputs.BALANCER, "shop/web", "10.96.0.22", "80")
    (answer,) = dropped.answers
    assert not answer.allowed and answer.egress.reason == "no-local-backend"
    beside = ask(inputs.BALANCER, "shop/db-0", "svc/shop/local", "80")
    assert ends(beside) == {("shop/db-0", 8080, True)}
    # Where a client is has to be known.
    assert any("own node only" in note for note in _without_nodes("svc/shop/local").notes)


def _without_nodes(destination: str) -> Explanation:
    known = inputs.cluster(inputs.BALANCER)
    pods = tuple(replace(pod, node="") for pod in known.pods)
    compiled = compile_cluster(replace(known, pods=pods), REFERENCE)
    return explain(compiled, "shop/web", destination, parse_port("80"))


def test_nothing_translates_the_ports_of_a_headless_service() -> None:
    assert ends(ask(inputs.BALANCER, "shop/web", "svc/shop/each", "8080")) == {
        ("shop/db-0", 8080, True)
    }
    direct = ask(inputs.BALANCER, "shop/web", "svc/shop/each", "80")
    assert ends(direct) == {("shop/db-0", 80, False)}
    assert any("headless" in note for note in direct.notes)
    assert ends(ask(inputs.BALANCER, "shop/web", "svc/shop/each", "9000")) == {
        ("shop/db-0", 9000, False)
    }


@pytest.mark.parametrize("listed", ["apiserver-slice", "apiserver-endpoints"])
@pytest.mark.parametrize("destination", ["svc/default/kubernetes", "10.96.0.1"])
def test_the_api_server_is_judged_at_its_endpoints(listed: str, destination: str) -> None:
    report = ask(("apiserver", listed, "apiserver-policy"), "ops/controller", destination, "443")
    assert ends(report) == {("172.18.0.2", 6443, True), ("172.18.0.3", 6443, True)}
    assert report.answers[0].egress.rule is not None


def test_without_a_list_of_endpoints_it_is_said_what_to_add() -> None:
    with pytest.raises(UsageError, match=r"get endpointslices -n default -l .*=kubernetes"):
        ask(("apiserver",), "ops/controller", "10.96.0.1", "443")


def test_egress_on_the_cluster_ip_needs_no_backend_to_be_matched() -> None:
    compiled = inputs.compiled(inputs.APISERVER, PROFILES["aws-vpc-cni"])
    report = explain(compiled, "ops/controller", "10.96.0.1", parse_port("443"))
    assert not report.allowed  # the rule names the endpoints, and the address is another


@pytest.mark.parametrize(
    ("name", "targets", "message"),
    [
        ("elsewhere", {}, "a name for db.example.com outside the cluster"),
        ("one", {"one": "two.shop.svc", "two": "one.shop.svc"}, "in a circle: svc/shop/one → svc/"),
        ("one", {"one": "gone.shop.svc.cluster.local"}, "svc/shop/gone, which is not in the input"),
    ],
)
def test_names_that_lead_to_no_service(name: str, targets: dict[str, str], message: str) -> None:
    known = inputs.cluster(inputs.BALANCER)
    names = tuple(
        Service("shop", one, {}, type="ExternalName", external_name=target)
        for one, target in targets.items()
    )
    compiled = compile_cluster(replace(known, services=(*known.services, *names)), REFERENCE)
    with pytest.raises(UsageError, match=message):
        explain(compiled, "shop/web", f"svc/shop/{name}", parse_port("80"))


def test_a_service_over_one_family_is_judged_on_it() -> None:
    known = inputs.cluster(inputs.DATABASE)
    both = {"web": "fd00::5", "db-0": "fd00::6"}
    pods = tuple(replace(pod, addresses=(*pod.addresses, both[pod.name])) for pod in known.pods)
    six = Service(
        *("shop", "six", {"app": "db"}),
        ports=(ServicePort(Protocol.TCP, 80, 8080),),
        addresses=("fd00:96::20",),
    )
    four = replace(six, name="four", addresses=("10.96.0.20",))
    # Pods are reached over IPv4 alone.
    out = policy_of("shop/out", allow(Direction.EGRESS, (block("10.244.0.0/16"),)))
    changed = replace(known, pods=pods, services=(four, six), policies=(out,))
    compiled = compile_cluster(changed, REFERENCE)
    for address, allowed in (("10.96.0.20", True), ("fd00:96::20", False)):
        report = explain(compiled, "shop/web", address, parse_port("80"))
        assert [answer.allowed for answer in report.answers] == [allowed]
    assert not explain(compiled, "shop/web", "svc/shop/six", None).allowed
