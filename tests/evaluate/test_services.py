"""Connections through a Service, with what CNIs do differently."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.compile.compiled import Reason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.ends import pod_id
from kubeverdict.evaluate.services import BackendVerdict, judge_backend
from kubeverdict.model.cluster import Cluster, Service, ServicePort
from kubeverdict.model.policy import Direction, PodPeer, Policy
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from kubeverdict.services import Frontend
from tests.clusters.records import allow, block, label, pod, policy_of, xy_cluster

WEB = pod("x/web", "app=web", "10.0.0.1")
CLIENT = pod("x/client", "app=client", "10.0.0.2")
PORT = ServicePort(Protocol.TCP, 80, 8080)
SERVICE = Service("x", "web", {"app": "web"}, (PORT,), addresses=("10.96.0.1",))
HEADLESS = Service("x", "web", {"app": "web"}, (PORT,))
TARGET = (PortRange(Protocol.TCP, 8080, 8080),)
LISTEN = (PortRange(Protocol.TCP, 80, 80),)
TO_WEB = (PodPeer(label("app", "web"), "x"),)
DENY_IN = policy_of("x/deny-in", isolates=(Direction.INGRESS,))
DENY_OUT = policy_of("x/deny-out", isolates=(Direction.EGRESS,))


def with_service(*policies: Policy, service: Service = SERVICE) -> Cluster:
    return replace(xy_cluster((WEB, CLIENT), *policies), services=(service,))


def ask(known: Cluster, profile: Profile = REFERENCE, source: object = CLIENT) -> BackendVerdict:
    compiled = compile_cluster(known, profile)
    from_pod = WEB if source is WEB else CLIENT
    (service,) = known.services
    entry = Frontend(service, PORT)
    return judge_backend(compiled, entry, pod_id(compiled, from_pod), pod_id(compiled, WEB), 8080)


def test_the_backend_and_its_port_are_judged() -> None:
    egress = policy_of("x/out", allow(Direction.EGRESS, TO_WEB, TARGET))
    assert ask(with_service(egress)) == BackendVerdict(True, 0, Reason.NOT_ISOLATED)
    listen = policy_of("x/out", allow(Direction.EGRESS, TO_WEB, LISTEN))
    assert ask(with_service(listen)).egress == Reason.NO_RULE_MATCHES


def test_egress_on_the_cluster_ip() -> None:
    aws = PROFILES["aws-vpc-cni"]
    by_labels = policy_of("x/out", allow(Direction.EGRESS, TO_WEB, TARGET))
    assert ask(with_service(by_labels), aws).allowed
    by_address = policy_of("x/out", allow(Direction.EGRESS, (block("10.96.0.0/12"),), LISTEN))
    assert ask(with_service(by_address), aws).allowed
    assert not ask(with_service(by_address)).allowed
    backend_only = policy_of("x/out", allow(Direction.EGRESS, (block("10.0.0.0/24"),), TARGET))
    assert not ask(with_service(backend_only), aws).allowed
    assert ask(with_service(backend_only)).allowed
    # A headless Service has no cluster IP: the client connects to the pod.
    assert ask(with_service(backend_only, service=HEADLESS), aws).allowed


def test_ingress_is_judged_at_the_backend_all_the_same() -> None:
    verdict = ask(with_service(DENY_IN), PROFILES["aws-vpc-cni"])
    assert verdict == BackendVerdict(False, Reason.NOT_ISOLATED, Reason.NO_RULE_MATCHES)


@pytest.mark.parametrize(
    ("hairpin", "expected"),
    [
        ("judged", BackendVerdict(False, Reason.NO_RULE_MATCHES, Reason.NO_RULE_MATCHES)),
        ("ingress-allowed", BackendVerdict(False, Reason.NO_RULE_MATCHES, Reason.HAIRPIN)),
        ("allowed", BackendVerdict(True, Reason.HAIRPIN, Reason.HAIRPIN)),
    ],
)
def test_a_pod_that_reaches_itself(hairpin: str, expected: BackendVerdict) -> None:
    profile = Profile(name="test", title="test", hairpin=hairpin)  # type: ignore[arg-type]
    known = with_service(DENY_IN, DENY_OUT)
    assert ask(known, profile, source=WEB) == expected
    # Only the pod itself, not everyone.
    assert not ask(known, profile).allowed


def test_nothing_is_denied_where_nothing_is_enforced() -> None:
    known = with_service(DENY_IN, DENY_OUT)
    assert ask(known, PROFILES["flannel"], source=WEB).allowed
