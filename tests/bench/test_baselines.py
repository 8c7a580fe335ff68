"""Each baseline gives the engine's verdict on every probe: real packets through its real rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.baselines import BASELINES, Baseline
from bench.baselines.__main__ import main
from bench.baselines.loading import run
from bench.baselines.node import view
from bench.comparison import probing
from bench.comparison.scenarios import (
    NODE,
    NODE_ADDRESS,
    SCENARIOS,
    TrafficScenario,
    rewritten,
    with_pod,
    with_policy,
)
from bench.lab import Lab, LabPod, Layout, missing
from kubeverdict import PROFILES, Protocol, compile_cluster

needs_root = pytest.mark.skipif(missing() is not None, reason=str(missing()))

LAYOUTS: tuple[Layout, ...] = ("routed", "bridged")
PROOFS = tuple(SCENARIOS[name] for name in ("proof", "proof-wide"))
ENFORCING = tuple(baseline for baseline in BASELINES.values() if baseline.enforces)


def node_lab(layout: Layout, scenario: TrafficScenario) -> Iterator[tuple[Lab, LabPod]]:
    with Lab(layout, node_ipv4=NODE_ADDRESS) as lab:
        for pod in scenario.local_pods:
            lab.add_pod(pod.namespace, pod.name, ipv4=pod.addresses[0])
        yield lab, lab.add_outside()


@needs_root
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scenario", PROOFS, ids=lambda scenario: scenario.name)
def test_every_baseline_gives_the_verdicts_of_the_engine(
    layout: Layout, scenario: TrafficScenario
) -> None:
    for lab, outside in node_lab(layout, scenario):
        for baseline in ENFORCING:
            if layout == "bridged" and baseline.name.startswith("calico"):
                continue  # Calico routes its pods: a bridge hides their interfaces from it.
            compiled = scenario.compiled(baseline.profile)
            node = view(compiled, NODE)
            probes = probing.choose(compiled, node, NODE_ADDRESS, 400)
            rules = baseline.render(node)
            run(lab.node_netns, rules.install())
            results = probing.arrived(lab, outside, probes)
            run(lab.node_netns, rules.remove())
            lab.forget_connections()
            assert probing.wrong(probes, results) == [], baseline.name


@needs_root
def test_the_proof_notices_rules_that_are_not_reached() -> None:
    """Over a bridge Calico's rules never match an interface, so nothing is denied."""
    scenario = SCENARIOS["proof"]
    compiled = scenario.compiled("calico")
    node = view(compiled, NODE)
    probes = probing.choose(compiled, node, NODE_ADDRESS, 100)
    for lab, outside in node_lab("bridged", scenario):
        run(lab.node_netns, BASELINES["calico-iptables"].render(node).install())
        results = probing.arrived(lab, outside, probes)
    denied = [probe for probe in probes if not probe.allowed]
    assert len(probing.wrong(probes, results)) == len(denied) > 0


def test_probes_are_of_every_kind() -> None:
    scenario = SCENARIOS["proof"]
    for baseline in ENFORCING:
        compiled = scenario.compiled(baseline.profile)
        node = view(compiled, NODE)
        probes = probing.choose(compiled, node, NODE_ADDRESS, 400)
        local = {pod.address for pod in node.pods}
        kinds = {(probe.protocol, probe.allowed) for probe in probes}
        always = {Protocol.ICMP} if compiled.profile.icmp == "always" else set()
        for protocol in Protocol:
            assert (protocol, True) in kinds
            assert protocol in always or (protocol, False) in kinds
        for verdict in (True, False):
            flows = [probe for probe in probes if probe.allowed is verdict]
            assert any(flow.source in local and flow.destination in local for flow in flows)
            assert any(flow.source not in local for flow in flows)
            assert any(flow.destination not in local for flow in flows)


@needs_root
@pytest.mark.parametrize("baseline", BASELINES.values(), ids=BASELINES)
def test_an_update_leaves_what_an_install_would(baseline: Baseline) -> None:
    """After a policy, then a pod, then every rule changed in place, verdicts are the engine's."""
    before = SCENARIOS["proof"]
    for lab, outside in node_lab("routed", before):
        compiled = before.compiled(baseline.profile)
        rules = baseline.render(view(compiled, NODE))
        run(lab.node_netns, rules.install())
        for cluster in (with_policy(before), with_pod(before), rewritten(before), before.cluster):
            compiled = compile_cluster(cluster, PROFILES[baseline.profile])
            node = view(compiled, NODE)
            changed = baseline.render(node)
            run(lab.node_netns, changed.update(rules))
            rules = changed
            lab.forget_connections()
            if baseline.enforces:
                probes = probing.choose(compiled, node, NODE_ADDRESS, 200)
                assert probing.wrong(probes, probing.arrived(lab, outside, probes)) == []


@pytest.mark.parametrize("name", BASELINES)
def test_the_rules_of_a_baseline_can_be_printed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--print", "policies-10"]) == 0
    printed = capsys.readouterr().out
    baseline = BASELINES[name]
    rules = baseline.render(view(SCENARIOS["policies-10"].compiled(baseline.profile), NODE))
    for command in rules.install():
        assert f"# {' '.join(command.argv)}\n{command.text}" in printed
