"""The table of policy APIs, and that nobody else names a kind of policy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeverdict.errors import UsageError
from kubeverdict.manifests import delete, policies
from kubeverdict.manifests.policies import EVALUATED, POLICIES, PolicyApi
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Direction, Policy
from kubeverdict.model.profile import PROFILES
from tests.clusters.records import allow, policy_of

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "engine" / "kubeverdict" / "manifests" / "policies"


def test_each_api_has_a_name_of_its_own() -> None:
    names = [policies.policy_name(*resource) for resource in POLICIES]
    assert len(names) == len(set(names))
    assert policies.policy_name("networking.k8s.io", "NetworkPolicy") == "NetworkPolicy"
    antrea = policies.policy_name("crd.antrea.io", "NetworkPolicy")
    assert antrea == "NetworkPolicy.crd.antrea.io"


@pytest.mark.parametrize("name", EVALUATED)
def test_each_api_that_is_evaluated_has_a_reader(name: str) -> None:
    assert callable(policies.reader_of(name))
    for version in policies.api_versions(name):
        kind = EVALUATED[name][0][1]
        assert policies.read_as(version, kind) == name


def test_a_document_is_told_by_group_and_kind() -> None:
    assert policies.evaluated_as("networking.k8s.io", "NetworkPolicy") == "NetworkPolicy"
    assert policies.evaluated_as("extensions", "NetworkPolicy") == "NetworkPolicy"
    stored = policies.evaluated_as("crd.projectcalico.org", "NetworkPolicy")
    assert stored == "NetworkPolicy.projectcalico.org"
    assert policies.read_as("crd.projectcalico.org/v1", "NetworkPolicy") == stored
    assert policies.read_as("crd.projectcalico.org/v3", "NetworkPolicy") is None
    assert policies.read_as("projectcalico.org/v3", "NetworkPolicy") == stored
    assert policies.evaluated_as("example.com", "NetworkPolicy") is None
    assert policies.read_as("networking.k8s.io/v2", "NetworkPolicy") is None
    assert policies.read_as(None, "NetworkPolicy") is None


def test_every_api_that_a_profile_names_is_in_the_table() -> None:
    names = {policies.policy_name(*resource) for resource in POLICIES}
    for profile in PROFILES.values():
        assert names.issuperset(profile.policy_apis or ())


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("netpol", ["NetworkPolicy"]),
        ("NetworkPolicies", ["NetworkPolicy"]),
        ("networkpolicies.networking.k8s.io", ["NetworkPolicy"]),
        ("networkpolicy.crd.antrea.io", ["NetworkPolicy.crd.antrea.io"]),
        ("ciliumnp", ["CiliumNetworkPolicy"]),
        (
            "cnp",
            [
                "ClusterNetworkPolicy",
                "ClusterNetworkPolicy.networking.k8s.aws",
                "NetworkPolicy.projectcalico.org",
                "CiliumNetworkPolicy",
            ],
        ),
        ("pods", []),
    ],
)
def test_words_are_those_of_kubectl(word: str, kinds: list[str]) -> None:
    assert [policies.policy_name(*one) for one in policies.named(word)] == kinds


def test_marks_are_as_few_as_can_be() -> None:
    assert policies.marks(["BNetworkPolicy", "NetworkPolicy", "Firewall"]) == (
        "Firewall",
        "NetworkPolicy",
    )


# --- a second and a third API, with one short name -------------------------------------------

EASTERN, WESTERN = ("east.example.com", "Fence"), ("west.example.com", "Fence")


@pytest.fixture
def fences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two APIs of one kind, one of them for the whole cluster."""
    row = POLICIES["networking.k8s.io", "NetworkPolicy"]
    assert isinstance(row, PolicyApi)
    rows = {
        EASTERN: row._replace(namespaced=False, short=("fc",)),
        WESTERN: row._replace(short=("fc", "wf")),
    }
    for resource, one in rows.items():
        monkeypatch.setitem(POLICIES, resource, one)
    monkeypatch.setitem(policies._FIRST, "Fence", EASTERN)
    for resource, one in rows.items():
        monkeypatch.setitem(EVALUATED, policies.policy_name(*resource), (resource, one))


def fence(kind: str, name: str) -> Policy:
    found = policy_of(name, allow(Direction.INGRESS))
    return Policy(**{**{f: getattr(found, f) for f in found.__struct_fields__}, "kind": kind})


EAST, WEST = fence("Fence", "wall"), fence("Fence.west.example.com", "shop/wall")
SAME = policy_of("shop/wall", allow(Direction.INGRESS))


def left(cluster: Cluster) -> list[str]:
    return [f"{one.kind} {one}" for one in cluster.policies]


@pytest.mark.usefixtures("fences")
@pytest.mark.parametrize(
    ("reference", "gone"),
    [
        ("fence/wall", EAST),
        ("fences.east.example.com/wall", EAST),
        ("fence.west.example.com/shop/wall", WEST),
        ("wf/shop/wall", WEST),
        ("netpol/shop/wall", SAME),
    ],
)
def test_policies_of_one_kind_and_name_are_distinguished(reference: str, gone: Policy) -> None:
    base = Cluster(policies=(EAST, WEST, SAME))
    after = delete(base, [reference])
    assert left(after) == [f"{one.kind} {one}" for one in base.policies if one is not gone]


@pytest.mark.usefixtures("fences")
def test_a_short_name_of_several_kinds_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError) as caught:
        delete(Cluster(policies=(EAST, WEST)), ["fc/shop/wall"])
    assert str(caught.value) == (
        "cannot delete 'fc/shop/wall': 'fc' is short for several kinds: write fence or "
        "fence.west.example.com"
    )


@pytest.mark.usefixtures("fences")
def test_a_short_name_means_the_only_kind_that_there_is_any_of() -> None:
    assert left(delete(Cluster(policies=(WEST, SAME)), ["fc/shop/wall"])) == [
        "NetworkPolicy shop/wall"
    ]


@pytest.mark.usefixtures("fences")
@pytest.mark.parametrize(
    ("reference", "form"),
    [
        ("fence/shop/wall", "fence/NAME"),
        ("wf/wall", "fence.west.example.com/NAMESPACE/NAME"),
    ],
)
def test_scope_says_how_a_reference_is_written(reference: str, form: str) -> None:
    with pytest.raises(UsageError, match=f"write it as {form}"):
        delete(Cluster(policies=(EAST, WEST)), [reference])


# --- nobody else names a kind ----------------------------------------------------------------

# What is about one API alone, and why it may say so.
ALLOWED = {
    "kubeverdict/model/policy.py",  # the tier that others are placed around
    "kubeverdict/model/profile.py",  # which APIs a CNI implements
    "kubeverdict/analyses/lint/examples.py",  # manifests to show
    "kubeverdict/cli/whatif.py",  # the example in a help text
    "kubeverdict/server/workspace.py",  # the draft that is judged ahead of the first one
}


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The string literals of a module that are not docstrings."""
    silent = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }  # docstrings, and strings that stand for themselves
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in silent
        ):
            yield node.lineno, node.value


def test_kinds_of_policy_are_named_in_the_table_alone() -> None:
    short = {word for one in POLICIES.values() for word in one.short if word.endswith("np")}
    words = {"netpol", *short}
    found = []
    for folder in (ROOT / "engine", ROOT / "bpf"):
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder).as_posix()
            if path.is_relative_to(TABLE) or name in ALLOWED:
                continue
            for line, text in strings(ast.parse(path.read_bytes())):
                if "networkpolic" in text.lower() or text in words:
                    found.append(f"{name}:{line}: {text}")
    assert found == []


def test_what_may_name_a_kind_does() -> None:
    for name in ALLOWED:
        assert "etworkpolicy" in (ROOT / "engine" / name).read_text().lower()
