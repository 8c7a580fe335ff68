"""Generated policies of Cilium beside NetworkPolicy, judged by Cilium's own code and by the engine.

As :mod:`tests.oracles.admin_policies`, from documents. What a proxy judges, and what has to be
proved besides, is conditional for the engine. Where a rule that is certain allows the same, it is
allowed for the engine, and the program may still send it to the proxy, which then lets it pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random

import msgspec

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.flows import judge
from kubeverdict.manifests import Loaded
from kubeverdict.model.addresses import Family
from kubeverdict.model.ports import Protocol, icmp_port
from kubeverdict.model.profile import CLUSTER_KIND, Profile
from tests.clusters.cilium_documents import API_SERVER, OUTSIDE, CiliumMaker
from tests.clusters.generated import Probe
from tests.clusters.generated_documents import Object
from tests.manifests.reading import load_text
from tests.oracles.client import Client, EndVerdict, WireAnswer
from tests.oracles.comparison import on_the_wire
from tests.oracles.known_answers import (
    api_servers,
    end_of,
    refused_by_profile,
    verdict_at,
)

OPTIONS = {"apiServers": [API_SERVER]}
_PORTS = [
    *product((Protocol.TCP, Protocol.TCP, Protocol.UDP), (79, 80, 81, 85, 90, 91)),
    (Protocol.SCTP, 80),
    (Protocol.OTHER, 0),
]


@dataclass
class Agreement:
    """What was compared, and where the two disagree, with what is needed to ask again.

    ``refused`` counts policies that both refuse, ``named`` the denials by a rule whose policy both
    name, ``shadowed`` what is certain for the engine and sent to a proxy by the program, and
    ``open`` what depends for the engine on whether a policy isolates the pod.
    """

    clusters: int = 0
    ends: int = 0
    policies: int = 0
    refused: int = 0
    conditional: int = 0
    named: int = 0
    shadowed: int = 0
    open: int = 0
    apart: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.clusters} clusters, {self.policies} policies ({self.refused} refused), "
            f"{self.ends} ends, {self.conditional} conditional, {self.named} denials by the same "
            f"policy, {self.shadowed} shadowed, {self.open} open, {len(self.apart)} disagreements"
        )

    def report(self, shown: int = 3) -> str:
        return "\n\n".join([str(self), *self.apart[:shown]])


def made_up(seed: int, mixed: bool = False, probes: int = 80) -> tuple[list[Object], list[Probe]]:
    """The cluster of a seed, as documents, and what is asked about it; ``mixed``: with
    ClusterNetworkPolicies."""
    random = Random(seed)
    make = CiliumMaker(random.choice)
    objects = make.cilium_cluster(
        random.choice((2, 4, 6)), random.choice((1, 2, 4)), random.choice((0, 0, 1, 2))
    )
    if mixed:
        objects += [make.tiered(number) for number in range(random.choice((1, 2, 4)))]
    return objects, list(_probes(random, objects, probes))


def compare_cilium_policies(
    client: Client, profile: Profile, seeds: Sequence[int], mixed: bool = False
) -> Agreement:
    """The clusters of these seeds, each with so many random probes."""
    made = Agreement()
    for seed in seeds:
        objects, asked = made_up(seed, mixed)
        _compare(client, profile, objects, asked, made)
    return made


def engine_says(
    objects: Sequence[Object], profile: Profile, asked: Sequence[Probe]
) -> tuple[list[WireAnswer], list[WireAnswer]]:
    """What the engine says in both of its bounds, of what is allowed at most and at least."""
    compiled = _compiled(objects, profile)
    return _judged(compiled, asked), _judged(compiled.bound(at_least=True), asked)


def _compiled(objects: Sequence[Object], profile: Profile) -> CompiledPolicy:
    return compile_cluster(_loaded(objects)[1].cluster, profile)


def _loaded(objects: Sequence[Object]) -> tuple[str, Loaded]:
    """The documents with the API servers that the program is told of, and what they hold."""
    text = "".join(
        f"---\n{msgspec.json.encode(one).decode()}\n"
        for one in (*objects, api_servers([API_SERVER]))
    )
    return text, load_text(text, skip_invalid=True)


def _compare(
    client: Client,
    profile: Profile,
    objects: Sequence[Object],
    asked: Sequence[Probe],
    made: Agreement,
) -> None:
    response = client.ask(objects, map(on_the_wire, asked), OPTIONS)
    text, loaded = _loaded(objects)
    compiled = compile_cluster(loaded.cluster, profile)
    theirs = {one.object for one in response.errors}
    ours = {one.subject for one in loaded.skipped} | refused_by_profile(compiled)
    made.clusters += 1
    made.policies += sum(one["kind"].startswith(("Cilium", CLUSTER_KIND)) for one in objects)
    made.refused += len(theirs & ours)
    if theirs != ours:
        errors = [one.message for one in loaded.skipped], [one.error for one in response.errors]
        made.apart.append(f"refused: {ours} {theirs} {errors}\n{text}")
        return
    bounds = [_judged(compiled.bound(at_least), asked) for at_least in (False, True)]
    for probe, most, least, answer in zip(asked, *bounds, response.answers, strict=True):
        assert not answer.error, (probe, answer.error)
        for side in ("egress", "ingress"):
            above, below, theirs = (getattr(one, side) for one in (most, least, answer))
            if above is None or below is None or theirs is None:
                assert above is below is theirs, (probe, side)
                continue
            _compare_end(made, f"{probe} {side}", above, below, theirs, text)


def _compare_end(
    made: Agreement, where: str, most: EndVerdict, least: EndVerdict, theirs: EndVerdict, text: str
) -> None:
    made.ends += 1
    certain = most.verdict == least.verdict
    judged = theirs.verdict == "redirect" or bool(theirs.authentication)
    made.conditional += not certain
    if certain and most.verdict == "allow" and judged:
        made.shadowed += 1
        return
    if not certain and not judged and passes_in_baseline(text):
        # Whether a policy isolates the pod is a condition for the engine.
        made.open += 1
        return
    said = "conditional" if judged else theirs.verdict
    if (most.verdict if certain else "conditional") != said:
        made.apart.append(f"{where}: {most} {least}, but Cilium: {theirs}\n{text}")
    elif said == "deny" and "[" in most.by and theirs.by:
        policy = most.by.partition("[")[0]
        made.named += policy in theirs.by


def passes_in_baseline(text: str) -> bool:
    """Whether a ClusterNetworkPolicy of the baseline passes something on."""
    return '"tier":"Baseline"' in text and '"action":"Pass"' in text


def _probes(random: Random, objects: Sequence[Object], count: int) -> Iterator[Probe]:
    """Ends are NAMESPACE/NAME of a pod, or addresses."""
    names = {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": one["status"]["podIPs"]
        for one in objects
        if one["kind"] == "Pod"
    }
    for _ in range(count):
        family: Family = random.choice((4, 4, 6))
        pods = [name for name, addresses in names.items() if len(addresses) == 2 or family == 4]
        nodes = ("192.168.0.1",) if family == 4 else ()
        crowds = [crowd for crowd in (pods, pods, (*OUTSIDE[family], *nodes)) if crowd]
        source, destination = (random.choice(random.choice(crowds)) for _ in range(2))
        protocol, port = random.choice(_PORTS)
        if random.random() < 0.1:
            protocol, port = Protocol.ICMP, icmp_port(family, random.choice((8, 0, 3, 13, 128)), 0)
        if source != destination:
            yield Probe(source, destination, protocol, port, family)


def _judged(compiled: CompiledPolicy, asked: Sequence[Probe]) -> list[WireAnswer]:
    """What one bound of the engine says of each end."""
    found: dict[int, WireAnswer] = {}
    for family in (4, 6):
        numbers = [number for number, one in enumerate(asked) if one.family == family]
        some = [asked[number] for number in numbers]
        sources = [end_of(compiled, str(one.source)) for one in some]
        destinations = [end_of(compiled, str(one.destination)) for one in some]
        protocols, ports = [one.protocol for one in some], [one.port for one in some]
        verdicts = judge(compiled, sources, destinations, protocols, ports, family=family)
        for at, number in enumerate(numbers):
            found[number] = WireAnswer(
                verdict_at(compiled, sources[at], int(verdicts.egress[at])),
                verdict_at(compiled, destinations[at], int(verdicts.ingress[at])),
            )
    return [found[number] for number in range(len(asked))]
