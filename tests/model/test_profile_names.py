"""Names of profiles, with and without the version of the plug-in."""

from __future__ import annotations

import pytest

from kubeverdict.model.profile import PROFILES, profile_name


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("calico", "calico"),
        ("calico@3.31", "calico"),
        ("calico@3.31.0", "calico"),
        ("cilium@1", "cilium"),
        ("kube-router", "kube-router"),
        ("kube-router@2.1", "kube-router@2.1"),
        ("kube-router@2.1.0", "kube-router@2.1"),
    ],
)
def test_a_version_that_was_proved(asked: str, name: str) -> None:
    assert profile_name(asked) == name


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("calico@3.3", "calico was proved for 3.31.0, not for 3.3: leave the version out"),
        ("weave@2.8", "weave was proved for no version, not for 2.8: leave the version out"),
        ("calico@", "'calico@' is not one of 'reference', 'calico'"),
        ("calicos@3.31", "'calicos@3.31' is not one of"),
    ],
)
def test_a_version_that_was_not(asked: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        profile_name(asked)


def test_every_name_stands_for_itself() -> None:
    assert {profile_name(name) for name in PROFILES} == PROFILES.keys()
