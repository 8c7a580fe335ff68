"""Cilium's own policy code: what it alone is asked. The version is that of the recipe."""

from __future__ import annotations

import re

import pytest

from kubeverdict.model.profile import PROFILES
from tests.oracles.cilium_policies import compare_cilium_policies
from tests.oracles.client import Client
from tests.oracles.known_answers import NO_ANSWERS, read_cluster
from tests.programs.recipe import RECIPES


def test_the_profile_names_the_version_that_is_asked() -> None:
    modules = (RECIPES / "cilium-oracle" / "go.mod").read_text()
    match = re.search(r"github\.com/cilium/cilium v(\S+)", modules)
    assert match is not None
    assert PROFILES["cilium"].proved == f"Cilium {match[1]}"


@pytest.mark.programs
def test_what_cannot_be_asked_is_said(cilium: Client) -> None:
    cluster = (*read_cluster("cluster.yaml"), *read_cluster("cilium-cluster.yaml"))
    response = cilium.ask(cluster, NO_ANSWERS)
    assert [answer.error for answer in response.answers] == [
        '"shop/nobody" is no pod of the cluster and no address',
        "pod data/done has finished",
        "203.0.113.9 is not of family 6",
        'no protocol: "QUIC"',
    ]


@pytest.mark.programs
def test_generated_policies_of_its_own(cilium: Client) -> None:
    compared = compare_cilium_policies(cilium, PROFILES["cilium"], range(120))
    assert not compared.apart, compared.report()
    assert compared.ends > 8_000 and compared.refused > 10 and compared.conditional > 10
    assert compared.named > 200


@pytest.mark.programs
@pytest.mark.long
def test_many_generated_policies_of_its_own(cilium: Client) -> None:
    compared = compare_cilium_policies(cilium, PROFILES["cilium"], range(10_000, 25_000))
    assert not compared.apart, compared.report()


@pytest.mark.programs
def test_generated_clusters_of_all_apis(cilium: Client) -> None:
    """ClusterNetworkPolicies, NetworkPolicies and Cilium's own in the same clusters."""
    compared = compare_cilium_policies(cilium, PROFILES["cilium"], range(120), mixed=True)
    assert not compared.apart, compared.report()
    assert compared.ends > 8_000 and compared.refused > 10


@pytest.mark.programs
@pytest.mark.long
def test_many_generated_clusters_of_all_apis(cilium: Client) -> None:
    compared = compare_cilium_policies(cilium, PROFILES["cilium"], range(10_000, 15_000), True)
    assert not compared.apart, compared.report()
