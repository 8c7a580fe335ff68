"""Generated admin policies beside NetworkPolicy, judged by a CNI's own code and by the engine.

As :mod:`tests.oracles.comparison`, but from documents: what no NetworkPolicy says is written by no
other generator. What is asked, and what is not, is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from random import Random

import msgspec

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.addresses import Family
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import Profile
from tests.clusters.generated import Probe
from tests.clusters.generated_documents import ON_NODE, Maker, Object
from tests.manifests.reading import load_text
from tests.oracles.client import Client, WireAnswer
from tests.oracles.comparison import Comparison, JudgedEnd, judged_ends, on_the_wire
from tests.oracles.known_answers import end_of, verdict_at

_OUTSIDE: dict[Family, tuple[str, ...]] = {
    4: ("203.0.113.9", "198.51.100.7", ON_NODE),
    6: ("2001:db8::9", "2001:4860::8"),
}
_PORTS = [
    *product((Protocol.TCP, Protocol.UDP, Protocol.SCTP), (79, 80, 81, 90, 91)),
    (Protocol.ICMP, 0),
    (Protocol.OTHER, 0),
]


def compare_admin_policies(
    client: Client, profile: Profile, seeds: Sequence[int], probes: int = 100
) -> Comparison:
    """The clusters of these seeds, each with so many random probes."""
    made = Comparison()
    for seed in seeds:
        random = Random(seed)
        objects = _cluster(random)
        asked = list(_probes(random, objects, probes))
        made.add(len(asked), _ends(client, profile, objects, asked), partial(_shown, objects))
    return made


def _ends(
    client: Client, profile: Profile, objects: Sequence[Object], asked: Sequence[Probe]
) -> Iterator[JudgedEnd]:
    response = client.ask(objects, map(on_the_wire, asked))
    for each in zip(asked, _judged(objects, profile, asked), response.answers, strict=True):
        yield from judged_ends(*each)


def _shown(objects: Sequence[Object], end: JudgedEnd) -> str:
    return f"{end}\n{msgspec.json.encode(objects).decode()}"


def _cluster(random: Random) -> list[Object]:
    """Pods of two families, some of them on the network of their node."""
    make = Maker(random.choice)
    objects = make.cluster(
        random.choice((2, 4, 6)), random.choice((1, 2, 4)), random.choice((0, 2))
    )
    for number, pod in enumerate(one for one in objects if one["kind"] == "Pod"):
        pod["spec"]["nodeName"] = random.choice(("n1", "n2"))
        addresses = [pod["status"]["podIP"], f"2001:db8:1::{number + 1}"]
        if random.random() < 0.2:
            pod["spec"] |= {"nodeName": "n1", "hostNetwork": True}
            addresses = [ON_NODE]
        pod["status"] |= {"podIP": addresses[0], "podIPs": [{"ip": one} for one in addresses]}
    return objects


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
        crowds = [crowd for crowd in (pods, pods, _OUTSIDE[family]) if crowd]
        source, destination = (random.choice(random.choice(crowds)) for _ in range(2))
        if source != destination:
            yield Probe(source, destination, *random.choice(_PORTS), family)


def _judged(
    objects: Sequence[Object], profile: Profile, asked: Sequence[Probe]
) -> list[WireAnswer]:
    """What the engine says of each end."""
    text = "".join(f"---\n{msgspec.json.encode(one).decode()}\n" for one in objects)
    compiled = compile_cluster(load_text(text).cluster, profile)
    found: dict[int, WireAnswer] = {}
    for family in (4, 6):
        numbers = [number for number, one in enumerate(asked) if one.family == family]
        some = [asked[number] for number in numbers]
        sources = [end_of(compiled, str(one.source)) for one in some]
        destinations = [end_of(compiled, str(one.destination)) for one in some]
        verdicts = judge(
            compiled,
            sources,
            destinations,
            [one.protocol for one in some],
            [one.port for one in some],
            family=family,
        )
        for at, number in enumerate(numbers):
            found[number] = WireAnswer(
                verdict_at(compiled, sources[at], int(verdicts.egress[at])),
                verdict_at(compiled, destinations[at], int(verdicts.ingress[at])),
            )
    return [found[number] for number in range(len(asked))]
