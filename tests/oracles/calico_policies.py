"""Generated clusters with Calico's policies, and what the engine says of each end of a probe: the
verdict, and which rule of which tier decides, in the words of Calico's own code.

Mixed clusters have admin policies too. Calico leaves out rules of these and counts what is left, so
of them the policy is compared and not the number of its rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random

import msgspec

from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.addresses import Family
from kubeverdict.model.policy import Action, Direction
from kubeverdict.model.ports import Protocol, icmp_port
from kubeverdict.model.profile import ADMIN_KINDS, Profile
from tests.clusters.calico_documents import OUTSIDE, CalicoMaker
from tests.clusters.generated_documents import Object
from tests.manifests.reading import load_text
from tests.oracles.client import Client, EndVerdict, WireAnswer, WireProbe
from tests.oracles.comparison import Comparison
from tests.oracles.known_answers import end_of

_PORTS = [
    *product(("TCP", "TCP", "UDP", "SCTP"), (79, 80, 81, 90, 91)),
    *((word, None) for word in ("ICMP", "ICMP", "47")),
]
_ICMP = (0, 3, 8, 128, 129)


# The tiers and the names that Calico gives to what it makes of admin policies.
_CONVERTED = dict(
    zip(
        ADMIN_KINDS,
        (
            "adminnetworkpolicy kanp.adminnetworkpolicy.",
            "baselineadminnetworkpolicy kbanp.baselineadminnetworkpolicy.",
        ),
        strict=True,
    )
)


def made_up(random: Random, mixed: bool = False) -> list[Object]:
    """The objects of a cluster; ``mixed``: with admin policies."""
    pods, policies = random.choice((2, 3, 5)), random.choice((1, 2, 4, 7))
    make = CalicoMaker(random.choice)
    # To Calico the peer ``namespaces`` of an admin policy is network sets too. That is not
    # evaluated, and said.
    objects = make.calico_cluster(pods, policies, random.choice((0, 1, 3)), 0 if mixed else 3)
    if mixed:
        objects += [make.admin(number) for number in range(random.choice((1, 2, 3)))]
        objects += [make.baseline()] * random.choice((0, 1))
    return objects


def probes_of(random: Random, objects: Sequence[Object], count: int) -> Iterator[WireProbe]:
    names = [
        f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        for one in objects
        if one["kind"] == "Pod"
    ]
    for _ in range(count):
        family: Family = random.choice((4, 4, 6))
        source, destination = (
            random.choice(random.choice((names, names, OUTSIDE[family]))) for _ in range(2)
        )
        if source == destination:
            continue
        protocol, port = random.choice(_PORTS)
        icmp_type = random.choice(_ICMP) if protocol == "ICMP" else None
        yield WireProbe(source, destination, protocol, port or 0, icmp_type, family)


def engine_says(
    objects: Sequence[Object], profile: Profile, asked: Sequence[WireProbe]
) -> list[WireAnswer]:
    text = "".join(f"---\n{msgspec.json.encode(one).decode()}\n" for one in objects)
    compiled = compile_cluster(load_text(text).cluster, profile)
    found: dict[int, WireAnswer] = {}
    for family in (4, 6):
        numbers = [number for number, one in enumerate(asked) if one.family == family]
        some = [asked[number] for number in numbers]
        ends = [[end_of(compiled, one.source), end_of(compiled, one.destination)] for one in some]
        verdicts = judge(
            compiled,
            [one for one, _ in ends],
            [other for _, other in ends],
            [Protocol.__members__.get(one.protocol, Protocol.OTHER) for one in some],
            [_port(one) for one in some],
            family=family,
        )
        for at, number in enumerate(numbers):
            found[number] = WireAnswer(
                _said(compiled, ends[at][0], int(verdicts.egress[at])),
                _said(compiled, ends[at][1], int(verdicts.ingress[at])),
            )
    return [found[number] for number in range(len(asked))]


def _port(probe: WireProbe) -> int:
    if probe.icmp_type is None:
        return probe.port
    return icmp_port(probe.family, probe.icmp_type, 0)


def _said(compiled: CompiledPolicy, end: int, decided: int) -> EndVerdict | None:
    if end >= len(compiled.pods):
        return None
    if decided < 0:
        denied = Reason(decided) is Reason.NO_RULE_MATCHES
        return EndVerdict("deny", "end of tier") if denied else EndVerdict("allow", "profile")
    ref = compiled.rules[decided]
    policy, rule = ref.policy, ref.rule
    denied = rule.action is Action.DENY
    if policy.kind in _CONVERTED:
        return EndVerdict("deny" if denied else "allow", _CONVERTED[policy.kind] + policy.name)
    by = f"{policy.tier.name} {policy.tiebreak} rule {rule.index}"
    # What stands for the end of a tier comes behind all rules of its policy.
    if rule.index > 1000:
        by = "end of tier"
    return EndVerdict("deny" if denied else "allow", by)


def compare_calico_policies(
    client: Client,
    profile: Profile,
    seeds: Sequence[int],
    probes: int = 100,
    mixed: bool = False,
) -> Comparison:
    """The clusters of these seeds, each with so many random probes, at each end of which the
    verdict and what decides are compared with what Calico's own code says."""
    made = Comparison()
    for seed in seeds:
        random = Random(seed)
        objects = made_up(random, mixed)
        asked = list(probes_of(random, objects, probes))
        response = client.ask(objects, asked)
        # Rules that Calico leaves out of an admin policy are errors, and the others count.
        refused = [one for one in response.errors if not (mixed and one.applied)]
        assert not refused, refused
        ours = engine_says(objects, profile, asked)
        theirs = [WireAnswer(_short(one.egress), _short(one.ingress)) for one in response.answers]
        pairs = [
            (probe, direction, first, second)
            for probe, one, other in zip(asked, ours, theirs, strict=True)
            for direction, first, second in (
                (Direction.EGRESS, one.egress, other.egress),
                (Direction.INGRESS, one.ingress, other.ingress),
            )
            if first is not None or second is not None
        ]
        made.clusters += 1
        made.probes += len(asked)
        made.ends += len(pairs)
        made.apart += [
            f"{direction.word} of {probe}: {one}, but the CNI: {other}\n"
            f"{msgspec.json.encode(objects).decode()}"
            for probe, direction, one, other in pairs
            if one != other
        ]
    return made


def _short(said: EndVerdict | None) -> EndVerdict | None:
    """Without which tier it is that ends, and without the second opinion."""
    if said is None:
        return None
    by = said.by
    for word in ("end of tier", "profile"):
        by = word if by.startswith(word) else by
    if by.startswith(tuple(_CONVERTED.values())):
        by = by.partition(" rule ")[0]
    return EndVerdict(said.verdict, by)


__all__ = ["compare_calico_policies", "engine_says", "made_up", "probes_of"]
