"""Which of the kinds that a server serves are listed."""

from __future__ import annotations

import pytest

from kubeverdict.live.discovery import Served
from kubeverdict.live.listing import wanted_of


@pytest.mark.parametrize("first", [False, True])
def test_what_is_served_in_two_forms_is_listed_once(first: bool) -> None:
    """Calico's policies, as its API server has them and as stored; endpoints of Services."""
    served = [
        Served("projectcalico.org", "v3", "NetworkPolicy", "networkpolicies"),
        Served("crd.projectcalico.org", "v1", "NetworkPolicy", "networkpolicies"),
        Served("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
        Served("", "v1", "Endpoints", "endpoints"),
    ]
    found = wanted_of(tuple(served if first else served[::-1]))
    assert {one.group for one in found} == {"projectcalico.org", "discovery.k8s.io"}
    # Either alone is listed.
    assert wanted_of((served[1],)) == [served[1]] and wanted_of((served[3],)) == [served[3]]


def test_the_version_that_is_read_is_listed() -> None:
    old = Served("policy.networking.k8s.io", "v1alpha1", "ClusterNetworkPolicy", "cnps")
    new = old._replace(version="v1alpha2")
    assert wanted_of((old, new)) == [new]
    assert wanted_of((old,)) == [old], "its objects are named as not read"


def test_secrets_are_never_listed() -> None:
    assert wanted_of((Served("", "v1", "Secret", "secrets"),)) == []
