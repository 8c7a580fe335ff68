"""The policy code of CNIs and the engine under their profiles: small cases with known answers, and
generated clusters.

What a profile says is confirmed by them but for what only packets show (``hairpin``, ``deny``,
``established``, ``service_egress``).
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from kubeverdict.model.profile import PROFILES, Profile
from tests.clusters.generated import (
    NOT_OF_FLOWS,
    OF_ADMIN_POLICIES,
    OF_CLUSTER_POLICIES,
    OF_DENIALS,
    knob_positions,
)
from tests.oracles.admin_policies import compare_admin_policies
from tests.oracles.cilium_policies import compare_cilium_policies
from tests.oracles.client import Client, Object
from tests.oracles.comparison import Judges
from tests.oracles.known_answers import Case, check, check_engine, read_cases, read_cluster


@dataclass(frozen=True)
class Cni:
    """``asked`` are cases that the engine answers too, ``own`` are about kinds of its own.
    ``not_told`` are the knobs about which its program is not asked, and its answers to
    ``clusters`` generated ones tell the positions of every other."""

    name: str
    cluster: tuple[Object, ...]
    asked: tuple[Case, ...]
    own: tuple[Case, ...]
    not_told: tuple[str, ...]
    clusters: int

    @property
    def profile(self) -> Profile:
        return PROFILES[self.name]

    def __str__(self) -> str:
        return self.name


CLUSTER = read_cluster("cluster.yaml")
CALICO = Cni(
    "calico",
    CLUSTER,
    (*read_cases("calico-networkpolicy.yaml"), *read_cases("calico-adminnetworkpolicy.yaml")),
    tuple(read_cases("calico-own-kinds.yaml")),
    (*NOT_OF_FLOWS, *OF_CLUSTER_POLICIES, *OF_DENIALS),
    400,
)
CILIUM = Cni(
    "cilium",
    (*CLUSTER, *read_cluster("cilium-cluster.yaml")),
    (*read_cases("cilium-networkpolicy.yaml"), *read_cases("cilium-own-kinds.yaml")),
    (),
    # No ipBlock of it reaches a pod, by the name of a port or otherwise, and it has no
    # AdminNetworkPolicy.
    (*NOT_OF_FLOWS, "named_port_through_ipblock", *OF_ADMIN_POLICIES, *OF_DENIALS),
    300,
)
CNIS = (CALICO, CILIUM)
# What a server answers and files do not show: a tier or a namespace may only not be among them, and
# an unknown field is a warning, as for other policies.
NOT_OF_FILES = (
    "a policy of a tier that is not there is refused, and in the stored form comes last",
    "a pod is denied where its namespace is missing",
    "what is not valid is refused in Calico's words",
)


@pytest.fixture
def client(cni: Cni, request: pytest.FixtureRequest) -> Client:
    started: Client = request.getfixturevalue(cni.name)
    return started


@pytest.mark.parametrize(
    ("cni", "case"),
    # The profile is that of the agent as it is by default.
    [
        *(
            (cni, case)
            for cni in CNIS
            for case in cni.asked
            if case.options.keys() <= {"apiServers"}
        ),
        *((CALICO, case) for case in CALICO.own if case.title not in NOT_OF_FILES),
    ],
    ids=str,
)
def test_the_engine_answers_as_the_cni_does(cni: Cni, case: Case) -> None:
    check_engine(cni.cluster, case, cni.profile)


@pytest.mark.programs
@pytest.mark.parametrize(
    ("cni", "case"), [(cni, case) for cni in CNIS for case in (*cni.asked, *cni.own)], ids=str
)
def test_known_answers(client: Client, cni: Cni, case: Case) -> None:
    check(client, cni.cluster, case)


@pytest.mark.programs
@pytest.mark.parametrize("cni", CNIS, ids=str)
def test_generated_clusters(client: Client, cni: Cni) -> None:
    compared = Judges(client, cni.profile).compare(range(60))
    assert compared.clusters == 60 and compared.ends > 4000
    assert not compared.apart, compared.report()


@pytest.mark.programs
@pytest.mark.parametrize(
    ("cni", "knob", "value"),
    [
        (cni, knob, value)
        for cni in CNIS
        for knob, positions in knob_positions().items()
        for value in positions
        if knob not in cni.not_told and value != getattr(cni.profile, knob)
    ],
    ids=str,
)
def test_no_other_position_of_a_knob_would_do(
    client: Client, cni: Cni, knob: str, value: object
) -> None:
    other = replace(cni.profile, **{knob: value})
    if knob in OF_ADMIN_POLICIES:
        assert compare_admin_policies(client, other, range(60)).apart
    elif knob in OF_CLUSTER_POLICIES:
        assert compare_cilium_policies(client, other, range(120), mixed=True).apart
    else:
        judges = Judges(client, other, asked_as=cni.profile)
        assert judges.first_apart(range(cni.clusters)) is not None


@pytest.mark.programs
@pytest.mark.long
@pytest.mark.parametrize("cni", CNIS, ids=str)
def test_many_generated_clusters(client: Client, cni: Cni) -> None:
    compared = Judges(client, cni.profile).compare(range(1_000, 6_000))
    assert not compared.apart, compared.report()
