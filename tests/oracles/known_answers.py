"""Small cases with known answers, written in files.

A question is written ``FROM -> TO PROTOCOL/PORT: EGRESS, INGRESS``; an end that is no pod has
``-`` for an answer. For ICMP the type stands in the place of the port. The family is IPv6 where an
end is an IPv6 address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.policy import Action
from kubeverdict.model.ports import Protocol, icmp_port
from kubeverdict.model.profile import CLUSTER_KIND, Profile, implements
from tests.conformance.answers import rule_name
from tests.manifests.reading import load_text
from tests.oracles.client import Client, EndVerdict, Object, WireProbe

CASES = Path(__file__).parent / "cases"
_QUESTION = re.compile(
    r"(?P<source>\S+) -> (?P<destination>\S+) (?P<protocol>\w+)(/(?P<port>\d+))?: "
    r"(?P<egress>[a-z]+|-), (?P<ingress>[a-z]+|-)"
)

# What no program can answer about the cluster of ``cluster.yaml``.
NO_ANSWERS = (
    WireProbe("shop/web", "shop/nobody", "TCP", 80),
    WireProbe("shop/web", "data/done", "TCP", 80),
    WireProbe("shop/web", "203.0.113.9", "TCP", 80, family=6),
    WireProbe("shop/web", "203.0.113.9", "QUIC", 80),
)


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``objects`` are added to the cluster of the file's cases. ``refused`` has, for each object
    that the program says something against (KIND NAME), a part of what it says."""

    title: str
    asked: tuple[str, ...]
    objects: tuple[dict[str, Any], ...] = ()
    options: dict[str, Any] = {}
    refused: dict[str, str] = {}

    def __str__(self) -> str:
        return self.title


def read_cluster(name: str) -> tuple[Object, ...]:
    """The objects in a file of ``cases/``."""
    return msgspec.convert(_read(name), tuple[dict[str, Any], ...])


def read_cases(name: str) -> list[Case]:
    return msgspec.convert(_read(name), list[Case])


def _read(name: str) -> Any:
    return yaml.load((CASES / name).read_bytes(), yaml.CSafeLoader)


def check(client: Client, cluster: Sequence[Object], case: Case) -> None:
    """Fail where the program does not answer as the case says."""
    objects = map(in_full, (*cluster, *case.objects))
    response = client.ask(objects, map(_probe, case.asked), case.options)
    answered = [
        answer.error or f"{question.rpartition(': ')[0]}: {_words(answer.egress, answer.ingress)}"
        for question, answer in zip(case.asked, response.answers, strict=True)
    ]
    said = {one.object: one.error for one in response.errors}
    assert said.keys() == case.refused.keys(), said
    for name, part in case.refused.items():
        assert part in said[name]
    assert answered == list(case.asked)


# Of kinds that are written without an API version.
_VERSIONS = {
    "AdminNetworkPolicy": "policy.networking.k8s.io/v1alpha1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "Namespace": "v1",
    "Node": "v1",
    "Pod": "v1",
    "Service": "v1",
}


def in_full(one: Object) -> Object:
    return {"apiVersion": _VERSIONS[one["kind"]], **one} if one["kind"] in _VERSIONS else one


def _probe(question: str) -> WireProbe:
    match = _QUESTION.fullmatch(question)
    assert match is not None, question
    number, is_icmp = int(match["port"] or 0), match["protocol"] == "ICMP"
    return WireProbe(
        source=match["source"],
        destination=match["destination"],
        protocol=match["protocol"],
        port=0 if is_icmp else number,
        icmp_type=number if is_icmp else None,
        family=6 if ":" in match["source"] + match["destination"] else 4,
    )


def _words(*verdicts: EndVerdict | None) -> str:
    return ", ".join("-" if one is None else one.verdict for one in verdicts)


# --- the same questions, put to the engine ---------------------------------------------------


def check_engine(cluster: Sequence[Object], case: Case, profile: Profile) -> None:
    """Fail where the engine does not answer under a profile as the case says. What a proxy judges
    is conditional for it, and what is only dropped is no error."""
    servers = [api_servers(addresses)] if (addresses := case.options.get("apiServers")) else []
    written = [in_full(one) for one in (*cluster, *case.objects, *servers)]
    text = "".join(f"---\n{msgspec.json.encode(one).decode()}\n" for one in written)
    loaded = load_text(text, skip_invalid=True)
    refused = {name for name, part in case.refused.items() if part not in ("unknown", _IN_PART)}
    compiled = compile_cluster(loaded.cluster, profile)
    skipped = {one.subject for one in loaded.skipped} | refused_by_profile(compiled)
    assert {*map(_bare, skipped)} == {*map(_bare, refused)}
    assert [_answered(compiled, question) for question in case.asked] == list(case.asked)


def refused_by_profile(compiled: CompiledPolicy) -> set[str]:
    """The ClusterNetworkPolicies that the profile does not take, though it has their kind."""
    if not implements(compiled.profile, CLUSTER_KIND):
        return set()
    known, written = (
        {str(one) for one in policies if one.kind == CLUSTER_KIND}
        for policies in (compiled.policies, compiled.cluster.policies)
    )
    return {f"{CLUSTER_KIND} {name}" for name in written - known}


# What Calico says of a policy whose other rules it applies.
_IN_PART = "none of supported fields in 'To' is set"


def _bare(name: str) -> str:
    """Kind and name, without a group, and a namespace that may be one too many."""
    kind, _, path = name.partition(" ")
    return f"{kind.partition('.')[0]} {path.rpartition('/')[2]}"


def api_servers(addresses: Sequence[str]) -> Object:
    """The API servers, as a cluster has them."""
    return {
        "apiVersion": _VERSIONS["EndpointSlice"],
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "default",
            "name": "kubernetes",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


def _answered(compiled: CompiledPolicy, question: str) -> str:
    most, least = (_judged(compiled.bound(at_least), question) for at_least in (False, True))
    asked, _, words = most.rpartition(": ")
    both = zip(words.split(", "), least.rpartition(": ")[2].split(", "), strict=True)
    return f"{asked}: {', '.join(one if one == other else 'redirect' for one, other in both)}"


def _judged(compiled: CompiledPolicy, question: str) -> str:
    probe = _probe(question)
    ends = [end_of(compiled, text) for text in (probe.source, probe.destination)]
    protocol = Protocol.__members__.get(probe.protocol, Protocol.OTHER)
    port = probe.port
    if protocol is Protocol.ICMP:
        assert probe.icmp_type is not None
        port = icmp_port(probe.family, probe.icmp_type, 0)
    verdicts = judge(compiled, [ends[0]], [ends[1]], [protocol], [port], family=probe.family)
    decided = int(verdicts.egress[0]), int(verdicts.ingress[0])
    assert Reason.NO_ADDRESS not in decided
    said = (verdict_at(compiled, *each) for each in zip(ends, decided, strict=True))
    return f"{question.rpartition(': ')[0]}: {_words(*said)}"


def verdict_at(compiled: CompiledPolicy, end: int, decided: int) -> EndVerdict | None:
    """What a rule or a reason decides at an end; None where it is no pod."""
    if end >= len(compiled.pods):
        return None
    if decided < 0:
        reason = Reason(decided)
        denied = reason in (Reason.NO_RULE_MATCHES, Reason.NO_ADDRESS)
        return EndVerdict("deny" if denied else "allow", reason.name)
    ref = compiled.rules[decided]
    denied = ref.rule.counted(compiled.at_least) is Action.DENY
    return EndVerdict("deny" if denied else "allow", rule_name(ref.policy, ref.rule))


def end_of(compiled: CompiledPolicy, text: str) -> int:
    """The endpoint id of a pod, or of an address; a pod that is on its node's is that one."""
    namespace, _, name = text.partition("/")
    known = compiled.pod_ids.get((namespace, name))
    if known is not None:
        return known
    pods = (pod for pod in compiled.cluster.pods if str(pod) == text)
    addresses = [address for pod in pods for address in pod.addresses] or [text]
    return int(address_ids(compiled, addresses[:1])[0])
