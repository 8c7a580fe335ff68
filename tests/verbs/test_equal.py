"""Whether two sets of policies are equal, against what the oracle says of each connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.equal import DIFFERENT, EQUAL, UNKNOWN, Equality, equal
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import (
    METADATA_NAME,
    Cluster,
    ContainerPort,
    Namespace,
    Pod,
    WorkloadRef,
)
from kubeverdict.model.policy import Action, Direction, PodPeer, Policy, parts_of
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.selectors import Selector
from kubeverdict.render.json import ports_of
from tests.clusters.records import allow, pod, policy_of, xy_cluster
from tests.verbs.connected import Connected, Open
from tests.verbs.plain import Plain, small_versions

SEEDS = range(60)
Clusters = tuple[Cluster, Cluster]


def versions(seed: int) -> Clusters:
    """Two sets of policies over the same pods. Of every other one the second set is the first one
    in another order."""
    before, after = small_versions(seed, pods=4, policies=4)
    if seed % 2:
        return before, replace(before, policies=tuple(reversed(before.policies)))
    return before, replace(before, policies=after.policies)


def compared(clusters: Clusters, *, any_pod: bool = False) -> Equality:
    first, second = map(compile_cluster, clusters)
    return equal(first, second, any_pod=any_pod)


def opened(clusters: Clusters) -> tuple[Open, Open, Connected]:
    plains = [Plain(one) for one in clusters]
    connected = Connected(*plains)
    first, second = (connected.on(plain) for plain in plains)
    return first, second, connected


def with_pods(
    clusters: Clusters, pods: Iterable[Pod], namespaces: tuple[Namespace, ...]
) -> Clusters:
    more = tuple(pods)
    first, second = (
        replace(one, pods=more, namespaces=(*one.namespaces, *namespaces)) for one in clusters
    )
    return first, second


def check(report: Equality, clusters: Clusters) -> int:
    """Each counterexample between pods that exist is one for the oracle; how many there were."""
    first, second, connected = opened(clusters)
    checked = 0
    for one in report.counterexamples:
        assert one.before is not None and one.after is not None
        ports = connected.read_ports(ports_of(one.ports))
        try:
            ends = [connected.read_end(end.name) for end in (one.source, one.destination)]
        except AssertionError:
            continue  # of pods of the other kind
        for pair in ((source, other) for source in ends[0] for other in ends[1]):
            if pair[0] != pair[1]:
                was, now = (side.get(pair, frozenset()) & ports for side in (first, second))
                assert (was == ports, now == ports) == (one.before.allowed, one.after.allowed)
                assert not (was and now)
                checked += 1
    return checked


@pytest.mark.parametrize("seed", SEEDS)
def test_pods_that_exist(seed: int) -> None:
    clusters = versions(seed)
    report = compared(clusters)
    first, second, _ = opened(clusters)
    if report.verdict == UNKNOWN:
        assert report.doubts
        return
    assert (report.verdict == EQUAL) is (first == second)
    assert bool(check(report, clusters)) is (report.verdict == DIFFERENT)


def made_up(seed: int, clusters: Clusters) -> tuple[list[Pod], tuple[Namespace, ...]]:
    """Pods and namespaces with labels that the policies ask for, and with others."""
    choose = Random(seed).choice
    policies = [policy for one in clusters for policy in one.policies]
    peers = [
        part
        for policy in policies
        for rule in policy.rules
        for peer in (*(rule.peers or ()), *((rule.subject,) if rule.subject else ()))
        for part in parts_of(peer)
        if isinstance(part, PodPeer)
    ]
    of_pods = [policy.pods for policy in policies] + [one.pods for one in peers if one.pods]
    of_spaces = [policy.namespaces for policy in policies] + [one.namespaces for one in peers]
    spaces = tuple(
        Namespace(f"made-{at}", {METADATA_NAME: f"made-{at}", **labels(choose, of_spaces)})
        for at in range(2)
    )
    names = [one.name for one in (*clusters[0].namespaces, *spaces)]
    pods = []
    for at in range(8):
        space, name = choose(names), f"made-{at}"
        ports = choose(((), (ContainerPort("http", Protocol.TCP, choose((80, 8080, 9999))),)))
        pods.append(
            Pod(
                space,
                name,
                labels(choose, of_pods),
                WorkloadRef(space, name, "Pod"),
                (choose(("10.0.0.1", "10.0.0.2", "10.0.0.3")),) if at < 3 else (f"10.9.0.{at}",),
                ports,
            )
        )
    # Of pods with one address the last.
    return list({pod.addresses: pod for pod in pods}.values()), spaces


def labels(
    choose: Callable[[list[str | None]], str | None], selectors: list[Selector]
) -> dict[str, str]:
    wanted: dict[str, list[str]] = {}
    for selector in selectors:
        for one in selector.terms():
            if one.key != METADATA_NAME:
                wanted.setdefault(one.key, ["something-else"]).extend(one.values)
    found = {key: choose([None, *values]) for key, values in sorted(wanted.items())}
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize("seed", SEEDS)
def test_pods_that_could_be_created(seed: int) -> None:
    clusters = versions(seed)
    report = compared(clusters, any_pod=True)
    if report.verdict == UNKNOWN:
        assert report.doubts
        return
    check(report, clusters)
    created = with_pods(clusters, report.created, report.namespaces)
    if report.verdict == EQUAL:
        for other in range(5):
            pods, spaces = made_up(seed * 100 + other, clusters)
            first, second, _ = opened(with_pods(clusters, pods, spaces))
            assert first == second
    elif not compared(clusters).different:
        assert check(report, created), "none of the counterexamples is one"


# --- conditions -----------------------------------------------------------------------------------

WEB = xy_cluster(
    (pod("x/web", "app=web", "10.0.0.1"), pod("y/db", "app=db", "10.0.0.2")),
)
GET, PUT = "for HTTP GET only", "for HTTP PUT only"


def conditional(name: str, condition: str, port: int = 80, action: Action = Action.ALLOW) -> Policy:
    rule = allow(Direction.INGRESS, None, (PortRange(Protocol.TCP, port, port),), action)
    return policy_of(f"x/{name}", replace(rule, condition=condition))


def between(first: Iterable[Policy], second: Iterable[Policy]) -> Equality:
    one, other = (replace(WEB, policies=tuple(each)) for each in (first, second))
    return compared((one, other), any_pod=True)


def test_equal_conditions_are_equal() -> None:
    once, again = conditional("a", GET), conditional("b", GET)
    assert between([once], [again]).verdict == EQUAL
    both = [conditional("a", GET), conditional("b", PUT)]
    assert between(both, reversed(both)).verdict == EQUAL


def test_other_conditions_leave_it_open() -> None:
    report = between([conditional("a", GET)], [conditional("a", PUT)])
    assert report.verdict == UNKNOWN
    (doubt,) = report.doubts
    assert GET in doubt and PUT in doubt and "x/web" in doubt
    report = between([conditional("a", GET)], [conditional("a", GET, port=81)])
    assert report.verdict == UNKNOWN


def test_what_differs_for_certain_is_different_whatever_conditions_there_are() -> None:
    always = conditional("c", "", port=443)
    report = between([conditional("a", GET), always], [conditional("a", GET)])
    assert report.verdict == DIFFERENT and not report.doubts


def test_a_condition_that_decides_nothing() -> None:
    wide = policy_of("x/wide", allow(Direction.INGRESS, None, None))
    assert between([conditional("a", GET), wide], [wide]).verdict == EQUAL


def test_too_many_conditions() -> None:
    many = [conditional(f"p{number}", f"if {number}", port=80 + number) for number in range(5)]
    report = between(many, many)
    assert report.verdict == UNKNOWN
    assert report.doubts == ("rules have 5 conditions: more than 4",)
