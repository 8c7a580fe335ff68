"""What our reader says of a NetworkPolicy is what API servers of Kubernetes say of it.

Each policy is created with a dry run and strict validation of fields; what is refused must be
refused by both, for the same fields and with the same messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import given, settings

from kubeverdict.errors import InputError, Problem
from tests.kubernetes.api import Api, ApiError, Object
from tests.manifests import test_networkpolicy_checks as checks
from tests.manifests.made_up import ODD_CIDRS, head, odd_metadata, odd_specs, specs
from tests.manifests.reading import load_text, policy_text

pytestmark = pytest.mark.programs

FIXTURES = Path(__file__).parents[1] / "fixtures"
DRY_RUN = "?dryRun=All&fieldValidation=Strict"
PATH = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"
NAMESPACE = "validation"
# From this version on, CIDRs that were only warned of are refused.
_STRICT_CIDRS = " (an error from Kubernetes 1.36)"
_UNKNOWN = "unknown field"


# Where we differ from the server on purpose: findings ("field: message") that are not compared,
# and where.
JUSTIFIED = {
    # The server shows the value of port, we that of endPort, which is the one to change.
    "endPort": re.compile(
        r"spec\..*\.endPort: Invalid value: -?\d+: must be greater than or equal to `port`"
    ),
    # Of a generateName that is wrong, the server also refuses the name that it makes of it.
    "made name": re.compile(r"metadata\.name: Invalid value: \".*[a-z0-9]{5}\": .*"),
    # Where the CIDR of a block is none, the server does not look at what is taken out of it.
    "no block": re.compile(r"(spec\..*\.ipBlock)\.cidr: .*(Required value|a valid CIDR value).*"),
}


class Opinion(NamedTuple):
    """What somebody thinks of a policy: ``findings`` ("field: message") has what is wrong with what
    it holds; None where it is refused before that, as no such object."""

    refused: bool
    findings: frozenset[str] | None = frozenset()


def opinion(found: Iterable[tuple[str, str]], *, generated: bool) -> Opinion:
    told = {f"{field}: {message}" for field, message in found}
    left_out = {text for text in told if JUSTIFIED["endPort"].fullmatch(text)}
    if generated:
        left_out |= {text for text in told if JUSTIFIED["made name"].fullmatch(text)}
    for block in filter(None, map(JUSTIFIED["no block"].fullmatch, told)):
        left_out |= {text for text in told if text.startswith(f"{block[1]}.except[")}
    return Opinion(bool(told), frozenset(told - left_out))


def ours(document: Object) -> Opinion:
    try:
        warnings = load_text(json.dumps(document)).warnings
        errors: tuple[Problem, ...] = ()
    except InputError as error:
        errors, warnings = error.problems, error.warnings
    if any("expected a" in problem.message for problem in errors):
        return Opinion(True, None)
    if any(_UNKNOWN in problem.message for problem in warnings):
        return Opinion(True, None)
    found = [(problem.field, problem.message) for problem in errors]
    found += [
        (problem.field, problem.message.removesuffix(_STRICT_CIDRS))
        for problem in warnings
        if problem.message.endswith(_STRICT_CIDRS)
    ]
    return opinion(found, generated=is_generated(document))


def is_generated(document: Object) -> bool:
    metadata = document.get("metadata") or {}
    return not metadata.get("name") and bool(metadata.get("generateName"))


def theirs(api: Api, document: Object) -> Opinion:
    try:
        api.create(PATH.format(NAMESPACE), document, DRY_RUN)
    except ApiError as refused:
        if refused.status == 400:
            return Opinion(True, None)
        assert refused.status == 422, refused
        return opinion(refused.causes, generated=is_generated(document))
    return Opinion(False)


@pytest.fixture(scope="session", params=["api_server", "next_api_server"])
def server(request: pytest.FixtureRequest) -> Api:
    """Of two versions of Kubernetes."""
    api: Api = request.getfixturevalue(request.param)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    api.apply(api.path_of(space), space)
    return api


def check(api: Api, document: Object) -> None:
    # Each lies in the one namespace that is there.
    metadata = document.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("namespace"), str | None):
        document = {**document, "metadata": {**metadata, "namespace": NAMESPACE}}
    assert ours(document) == theirs(api, document), document


def policies(value: Any) -> Iterator[Object]:
    """The NetworkPolicies in a document, or in a list."""
    if isinstance(value, dict):
        for item in value.get("items") or ():
            yield from policies(item)
        if str(value.get("apiVersion")).startswith("networking.k8s.io/") and (
            value.get("kind") == "NetworkPolicy"
        ):
            yield value


def fixtures() -> list[Object]:
    found: dict[str, Object] = {}
    for path in sorted(FIXTURES.rglob("*.yaml")):
        for document in yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader):
            for policy in policies(document):
                found[json.dumps(policy, sort_keys=True)] = policy
    assert len(found) > 100
    return list(found.values())


def test_every_fixture(server: Api) -> None:
    for document in fixtures():
        check(server, document)


_OF_OUR_TESTS = [
    *(spec for spec, _ in checks.REJECTED),
    *checks.ACCEPTED,
    *(checks.block(text) for text, *_ in checks.STRICT),
]


@pytest.mark.parametrize("spec", _OF_OUR_TESTS, ids=lambda value: str(value)[:60])
def test_what_the_readers_tests_hold(server: Api, spec: object) -> None:
    check(server, json.loads(policy_text(spec)))


@pytest.mark.parametrize("metadata", [parts for parts, _ in checks.METADATA], ids=str)
def test_metadata_of_the_readers_tests(server: Api, metadata: dict[str, object]) -> None:
    check(server, json.loads(policy_text({}, **metadata)))


_HEAD = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}


@settings(max_examples=1000)
@given(head("NetworkPolicy", _HEAD["apiVersion"], spec=specs))
def test_generated_policies(server: Api, document: Object) -> None:
    """Of every shape, most of them wrong at first sight."""
    check(server, document)


@settings(max_examples=3000)
@given(odd_specs)
def test_generated_policies_with_odd_values(server: Api, spec: Object) -> None:
    check(server, {**_HEAD, "metadata": {"name": "odd"}, "spec": spec})


@settings(max_examples=500)
@given(odd_metadata)
def test_generated_metadata(server: Api, metadata: Object) -> None:
    check(server, {**_HEAD, "metadata": metadata, "spec": {}})


@pytest.mark.parametrize("text", ODD_CIDRS)
def test_each_odd_cidr(server: Api, text: str) -> None:
    for block in ({"cidr": text}, {"cidr": "0.0.0.0/0", "except": [text]}):
        spec = {"egress": [{"to": [{"ipBlock": block}]}]}
        check(server, {**_HEAD, "metadata": {"name": "odd"}, "spec": spec})
