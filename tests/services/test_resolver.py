"""The resolver against its naive twin."""

from __future__ import annotations

from collections import Counter

from kubeverdict.model.ports import Protocol
from kubeverdict.services import Client, ServiceResolver
from tests.clusters.services import ASKED, PROTOCOLS, Made
from tests.services import naive


def found(
    resolver: ServiceResolver, address: str, protocol: Protocol, port: int, client: Client
) -> object:
    entry = resolver.entry(address, protocol, port)
    if entry is None:
        return "no port" if resolver.is_virtual(address) else "plain"
    choice = resolver.choice(entry, client)
    if choice.dropped:
        return "dropped"
    return {(str(one.pod) if one.pod else one.address, one.target) for one in choice.backends}


def test_it_agrees_with_its_naive_twin() -> None:
    seen: Counter[str] = Counter()
    for seed in range(24):
        cluster = Made(seed).cluster
        resolver = ServiceResolver(cluster)
        for address in ASKED:
            for protocol in PROTOCOLS:
                for port in (80, 81, 30080, 30081):
                    for node, inside in (("n1", True), ("n2", True), ("", False)):
                        expected = naive.where(cluster, address, protocol, port, node, inside)
                        got = found(resolver, address, protocol, port, Client(node, inside))
                        assert got == expected, (seed, address, protocol, port, node, inside)
                        is_word = isinstance(expected, str)
                        seen[str(expected) if is_word else "ends" if expected else "none"] += 1
    # Every kind of answer comes up.
    assert min(seen[word] for word in ("plain", "no port", "dropped", "ends", "none")) >= 5, seen
