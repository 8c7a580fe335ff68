"""Calico's own policy code: what it alone is asked.

The version is that of the recipe. Verdicts are those of the rules that Felix would give to its
dataplane; Calico's own checker, which knows less, is asked too.
"""

from __future__ import annotations

import re

import pytest

from kubeverdict.model.profile import PROFILES
from tests.clusters.generated import random_cluster
from tests.clusters.objects import objects
from tests.oracle import Oracle
from tests.oracles.admin_policies import compare_admin_policies
from tests.oracles.calico_policies import compare_calico_policies
from tests.oracles.client import Client
from tests.oracles.comparison import as_it_could_be, on_the_wire, probes_of
from tests.oracles.known_answers import NO_ANSWERS, in_full, read_cluster
from tests.programs.recipe import RECIPES

PROFILE = PROFILES["calico"]


def test_the_profile_names_the_version_that_is_asked() -> None:
    text = (RECIPES / "calico" / "felix" / "main.go").read_text()
    match = re.search(r'"v(3\.[\d.]+)"', text)
    assert match is not None
    assert PROFILE.proved == f"Calico {match[1]}"


@pytest.mark.programs
def test_what_cannot_be_asked_is_said(calico: Client) -> None:
    response = calico.ask(map(in_full, read_cluster("cluster.yaml")), NO_ANSWERS)
    assert [answer.error for answer in response.answers] == [
        "there is no pod shop/nobody",
        "pod data/done has no endpoint",
        "fd00::1 and 203.0.113.9 are of two families",
        '"QUIC" is no protocol',
    ]


@pytest.mark.programs
def test_calicos_own_checker_agrees_on_what_it_looks_at(calico: Client) -> None:
    agreed = blind = 0
    for seed in range(40):
        cluster = as_it_could_be(random_cluster(seed, 8, 6))
        asked = probes_of(cluster, Oracle(cluster, PROFILE), 60, seed)
        for answer in calico.ask(objects(cluster), map(on_the_wire, asked)).answers:
            for end in (answer.egress, answer.ingress):
                if end is not None:
                    agreed, blind = agreed + end.agree, blind + bool(end.blind)
                    assert end.agree or end.blind, end
    assert agreed > 2000 and blind


@pytest.mark.programs
def test_generated_admin_policies(calico: Client) -> None:
    compared = compare_admin_policies(calico, PROFILE, range(60))
    assert compared.clusters == 60 and compared.ends > 4000
    assert not compared.apart, compared.report()


@pytest.mark.programs
@pytest.mark.long
def test_many_generated_admin_policies(calico: Client) -> None:
    compared = compare_admin_policies(calico, PROFILE, range(1_000, 3_000))
    assert not compared.apart, compared.report()


@pytest.mark.programs
def test_generated_policies_of_its_own(calico: Client) -> None:
    compared = compare_calico_policies(calico, PROFILE, range(60))
    assert compared.clusters == 60 and compared.ends > 4000
    assert not compared.apart, compared.report()


@pytest.mark.programs
@pytest.mark.long
def test_many_generated_policies_of_its_own(calico: Client) -> None:
    compared = compare_calico_policies(calico, PROFILE, range(1_000, 6_000))
    assert not compared.apart, compared.report()


@pytest.mark.programs
def test_generated_clusters_of_all_apis(calico: Client) -> None:
    """Admin policies, NetworkPolicies and Calico's own in the same clusters."""
    compared = compare_calico_policies(calico, PROFILE, range(60), mixed=True)
    assert compared.clusters == 60 and compared.ends > 4000
    assert not compared.apart, compared.report()


@pytest.mark.programs
@pytest.mark.long
def test_many_generated_clusters_of_all_apis(calico: Client) -> None:
    compared = compare_calico_policies(calico, PROFILE, range(1_000, 4_000), mixed=True)
    assert not compared.apart, compared.report()
