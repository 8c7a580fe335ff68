"""Files of assertions: what they mean, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeverdict.errors import InputError
from kubeverdict.manifests.assertions import read_assertions
from kubeverdict.model.addresses import parse_block
from kubeverdict.model.assertions import Assertion, Claim, EndSpec, PortName, WorkloadName
from kubeverdict.model.policy import BlockPeer, PodPeer
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector

FILE = """\
zones:
  gateway: platform/ingress-nginx
  dev: {namespaceSelector: {matchLabels: {env: dev}}}
  inside: [gateway, dev, 10.0.0.0/8]
podRanges: [10.8.0.0/16]
assertions:
  - name: gateway only
    description: Visitors have one way in.
    only: {from: gateway}
    to: deployment/shop/frontend
    ports: http
  - name: nothing leaves dev
    deny:
      from: dev
      to:
        - 203.0.113.7
        - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}
        - {namespace: data, podSelector: {matchExpressions: [{key: tier, operator: Exists}]}}
    ports: [443, 8000-8100/UDP, dns/UDP, TCP, icmp]
    mayBeEmpty: true
  - name: dev stays inside
    from: dev
    only: {to: inside}
"""


def read(tmp_path: Path, text: str, name: str = "a.yaml") -> tuple[Assertion, ...]:
    (tmp_path / name).write_text(text)
    return read_assertions([str(tmp_path / name)]).assertions


def problems(tmp_path: Path, text: str, name: str = "a.yaml") -> list[str]:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, name)
    return [str(one).removeprefix(f"{tmp_path}/") for one in caught.value.problems]


def blocks(text: str, *excepts: str) -> BlockPeer:
    whole, *parts = (parse_block(each) for each in (text, *excepts))
    assert whole is not None
    return BlockPeer(whole, tuple(part for part in parts if part is not None))


DEV = PodPeer(None, None, Selector.of([Requirement("env", Operator.IN, ("dev",))]))
GATEWAY = WorkloadName("platform", "ingress-nginx")


def test_what_a_file_means(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(FILE)
    found = read_assertions([str(tmp_path)])
    assert found.pod_ranges == (blocks("10.8.0.0/16"),)
    first, second, third = found.assertions
    assert (first.name, first.claim) == ("gateway only", Claim.ONLY_FROM)
    assert first.description == "Visitors have one way in."
    assert first.source == EndSpec((GATEWAY,))
    assert first.destination == EndSpec((WorkloadName("shop", "frontend", "deployment"),))
    assert first.ports == (PortName("http"),)
    assert (first.origin.line, first.source_origin.line, first.destination_origin.line) == (
        7,
        9,
        10,
    )
    assert second.claim is Claim.DENY
    tier = Selector.of([Requirement("tier", Operator.EXISTS)])
    assert second.destination.parts == (
        blocks("203.0.113.7/32"),
        blocks("192.0.2.0/24", "192.0.2.128/25"),
        PodPeer(tier, "data", EVERYTHING),
    )
    assert second.ports == (
        PortRange(Protocol.TCP, 443, 443),
        PortRange(Protocol.UDP, 8000, 8100),
        PortName("dns", Protocol.UDP),
        PortRange(Protocol.TCP),
        PortRange(Protocol.ICMP, 0, 0),
    )
    assert second.may_be_empty and not first.may_be_empty
    assert (third.claim, third.ports) == (Claim.ONLY_TO, None)
    assert third.destination == EndSpec((GATEWAY, DEV, blocks("10.0.0.0/8")))


def test_json_is_read_too(tmp_path: Path) -> None:
    text = '{"assertions": [{"name": "a", "deny": {"from": "a/b", "to": "fd00::/8"}}]}'
    (one,) = read(tmp_path, text, "a.json")
    assert one.destination == EndSpec((blocks("fd00::/8"),))


def test_files_are_read_in_order_and_have_zones_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "zones: {here: a/b}\nassertions: [{name: one, deny: {from: here, to: c/d}}]\n"
    )
    (tmp_path / "b.yaml").write_text(
        "zones: {here: e/f}\nassertions: [{name: two, deny: {from: here, to: c/d}}]\n"
    )
    one, two = read_assertions([str(tmp_path)]).assertions
    assert one.source == EndSpec((WorkloadName("a", "b"),))
    assert two.source == EndSpec((WorkloadName("e", "f"),))


def asserting(body: str) -> str:
    return f"zones: {{here: a/b}}\nassertions:\n  - name: it\n    {body}\n"


PORT = "write 8080, 8000-8100/TCP, http, dns/UDP, TCP or ICMP"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("deny: {from: heer, to: c/d}", 'deny.from: Invalid value: "heer": did you mean "here"?'),
        ("deny: {from: 7, to: c/d}", "deny.from: Invalid value: 7: expected a name, a peer"),
        ("deny: {from: [], to: c/d}", "deny.from: Required value"),
        ("deny: {from: {}, to: c/d}", "deny.from: Invalid value: expected a name, a peer"),
        ("deny: {from: 10.0.0.0/33, to: c/d}", "deny.from.cidr: Invalid value"),
        ("deny: {from: {podselector: {}}, to: c/d}", 'unknown field, did you mean "podSelector"?'),
        ("deny: {from: {namespace: A_B}, to: c/d}", "deny.from.namespace: Invalid value"),
        ("deny: {from: {podSelector: {matchLabels: {a: '-'}}}, to: c/d}", "matchLabels: Invalid"),
        ("deny: {from: {namespace: a, namespaceSelector: {}}, to: c/d}", "deny.from: Forbidden"),
        ("deny: {from: here}", "deny.to: Required value"),
        ("deny: {from: here, too: c/d}", 'deny.too: unknown field, did you mean "to"?'),
        ("deny: here", "deny: Invalid value"),
        ("deny: {from: 10.0.0.1, to: '::1'}", "both ends are addresses"),
        ("deny: {from: here, to: c/d}\n    from: here", "from: belongs into deny: {from, to}"),
        ("only: {from: here}", "assertions[0].to: Required value"),
        ("only: {from: here, to: c/d}", "only: write only: {from: …} with to"),
        ("only: {}\n    to: here", "only: write only: {from: …} with to"),
        (
            "allow: {from: here, to: c/d}\n    deny: {}",
            "an assertion says one of allow, deny, only",
        ),
        ("alow: {from: here, to: c/d}", 'alow: unknown field, did you mean "allow"?'),
        ("deny: {from: here, to: c/d}\n    mayBeEmpty: maybe", "mayBeEmpty: Invalid value"),
        ("deny: {from: here, to: c/d}\n    description: [1]", "description: Invalid value"),
        ("deny: {from: here, to: c/d}\n    ports: []", "ports: Required value"),
        ("deny: {from: here, to: c/d}\n    ports: 0", "ports: Invalid value: 0: must be between"),
        ("deny: {from: here, to: c/d}\n    ports: [9-8]", "ports[0]: Invalid value"),
        ("deny: {from: here, to: c/d}\n    ports: 80/TPC", PORT),
        ("deny: {from: here, to: c/d}\n    ports: Http", PORT),
        ("deny: {from: here, to: c/d}\n    ports: true", "ports: Invalid value: true"),
    ],
)
def test_a_mistake_has_its_place(tmp_path: Path, body: str, message: str) -> None:
    found = problems(tmp_path, asserting(body))
    assert any(message in one for one in found), found
    assert all(one.startswith(("a.yaml:3: ", "a.yaml:4: ", "a.yaml:5: ")) for one in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- name: a\n", "a.yaml:1: [0]: expected an object with assertions, and perhaps zones"),
        (
            "assertions: 1\n",
            "a.yaml:1: assertions: Invalid value: 1: expected a list, got an integer",
        ),
        ("zones: {a: b/c}\n", "a.yaml: holds no assertions"),
        ("zones: [a]\n", "a.yaml:1: zones: Invalid value: expected an object, got a list"),
        ("podRanges: 10.0.0.0/8\n", "a.yaml:1: podRanges: Invalid value"),
        ("podRanges: [x]\n", "a.yaml:1: podRanges[0].cidr: Invalid value"),
        ("zones: {a/b: c/d}\n", "a.yaml:1: zones.a/b: Invalid value"),
        ("assertion: []\n", 'a.yaml:1: assertion: unknown field, did you mean "assertions"?'),
        ("assertions: [3]\n", "a.yaml:1: assertions[0]: Invalid value: 3: expected an object"),
        ("zones: {a: [b], b: [a]}\n", "is wrong, or contains itself"),
        ("a: [\n", "a.yaml:2: not YAML"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in one for one in problems(tmp_path, text))


def test_all_mistakes_of_all_files_come_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(asserting("deny: {from: heer, to: theer}"))
    (tmp_path / "b.yaml").write_text(asserting("deny: {from: here, to: c/d}\n    ports: 0"))
    with pytest.raises(InputError) as caught:
        read_assertions([str(tmp_path), str(tmp_path / "none.yaml")])
    assert len(caught.value.problems) == 4


def test_names_are_unique_over_all_files(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(asserting("deny: {from: here, to: c/d}"))
    with pytest.raises(InputError, match=r'another assertion has the name "it": .*a.yaml:3'):
        read_assertions([str(tmp_path)])


def test_an_assertion_needs_a_name(tmp_path: Path) -> None:
    text = "assertions:\n  - deny: {from: a/b, to: c/d}\n"
    assert problems(tmp_path, text) == [
        "a.yaml:2: assertions[0].name: Required value: reports are by name"
    ]
