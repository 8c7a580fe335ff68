"""Who connects with whom, and on which ports: by the oracle, and as the JSON of a verb has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import BlockPeer, Direction, parts_of
from kubeverdict.model.ports import Protocol
from tests.analyses.reading import Addresses
from tests.oracle import Oracle, Way, decides_to_allow
from tests.oracle_parts import End, Flow
from tests.verbs.plain import Plain

IPV4: tuple[Family, ...] = (4,)
Port = tuple[Protocol, int]
Pair = tuple[str, str]
"""The names of source and destination: NAMESPACE/NAME of a pod, or an address."""
Open = dict[Pair, frozenset[Port]]
_POD = re.compile(r"(?P<namespace>[^/]+)/(?P<name>.+)\[(?P<kind>\w+)\](?:\{(?P<pods>.+)\})?")


def address(text: str) -> End:
    """An address as such, also where it is a pod's."""
    return End(None, {4: IPv4Address(text)})


class Connected:
    """What connects on one or several versions of a cluster, on an address and a port of each part
    into which all of them cut addresses and ports. IPv4 only."""

    def __init__(self, *plains: Plain) -> None:
        self._oracles = [plain.oracle for plain in plains]
        self._plains = plains

    @cached_property
    def ports(self) -> list[Port]:
        return list(dict.fromkeys(port for plain in self._plains for port in plain.ports))

    @cached_property
    def addresses(self) -> list[str]:
        """Where a part begins; addresses of nodes are parts of their own."""
        found = {0}
        for oracle in self._oracles:
            texts = [text for pod in oracle.host_pods for text in pod.addresses]
            texts += [text for node in oracle.cluster.nodes for text in node.addresses]
            for text in texts:
                found |= {int(ip_address(text)), int(ip_address(text)) + 1}
            for policy in oracle.policies:
                for rule in policy.rules:
                    for part in (part for peer in rule.peers or () for part in parts_of(peer)):
                        if isinstance(part, BlockPeer):
                            for block in (part.block, *part.excepts):
                                if block.family == 4:
                                    found |= {block.first, block.last + 1}
        return [str(IPv4Address(number)) for number in sorted(found) if number < 1 << 32]

    def on(self, plain: Plain) -> Open:
        """The pairs that connect: different pods, or a pod and an address."""
        oracle = plain.oracle
        pods = {str(pod): oracle.end(pod) for pod in oracle.managed}
        ends = pods | {text: address(text) for text in self.addresses}
        asked = [(one, other) for one in ends for other in ends if one != other]
        found = {
            (one, other): self._open(oracle, ends[one], ends[other])
            for one, other in asked
            if one in pods or other in pods
        }
        return {pair: ports for pair, ports in found.items() if ports}

    def _open(self, oracle: Oracle, source: End, destination: End) -> frozenset[Port]:
        if not (source.has(4) and destination.has(4)):
            return frozenset()
        return frozenset(
            (protocol, port)
            for protocol, port in self.ports
            if all(
                decides_to_allow(oracle._direction(direction, flow).decided)
                for flow in (Flow(source, destination, protocol, port, 4),)
                for direction in Direction
            )
        )

    # -- what a verb says ------------------------------------------------------------------------

    def listed(self, rows: Iterable[Mapping[str, Any]], field: str = "ports") -> Open:
        """The same as the ``field`` of ``rows`` has it. Fails where a pair is listed twice, or
        without ports."""
        found: Open = {}
        for row in rows:
            ports = self.read_ports(row[field])
            for source in self.read_end(row["source"]):
                for destination in self.read_end(row["destination"]):
                    if source == destination:
                        continue
                    assert (source, destination) not in found, (source, destination)
                    found[source, destination] = ports
        return {pair: ports for pair, ports in found.items() if ports}

    def read_end(self, name: str) -> list[str]:
        """The pods or addresses that the name of an end stands for."""
        match = _POD.fullmatch(name)
        if match is None:
            block = Addresses(name)
            return [text for text in self.addresses if ip_address(text) in block]
        named = match["pods"].split(",") if match["pods"] else None
        found = [pod for pod in self._pods if is_of(pod, match["namespace"], match["name"])]
        assert match["kind"] in {pod.workload.kind for pod in found} | {"Pod"}
        return [str(pod) for pod in found if named is None or pod.name in named]

    @cached_property
    def _pods(self) -> list[Pod]:
        pods = [pod for oracle in self._oracles for pod in oracle.managed]
        return list({str(pod): pod for pod in pods}.values())

    def read_ports(self, content: Any) -> frozenset[Port]:
        return frozenset(port for port in self.ports if content == "all" or _has(content, *port))


def is_of(pod: Pod, namespace: str, name: str) -> bool:
    """Whether a pod is of a workload, or is the pod, of this name."""
    return pod.namespace == namespace and name in (pod.workload.name, pod.name)


def _has(content: Mapping[str, str], protocol: Protocol, port: int) -> bool:
    text = content.get(protocol.name, "")
    if not protocol.has_ports or text == "all":
        return text == "all"
    return any(first <= port <= last for first, last in _ranges(text))


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield int(first), int(last or first)


def first_address(name: str) -> End:
    """The first of the addresses that an end is named by."""
    block = ip_network(re.split("[,; ]", name)[0])
    assert isinstance(block.network_address, IPv4Address)
    return address(str(block.network_address))


def decider(way: Way) -> tuple[str, str, str] | None:
    """The rule that decides, as reports name it: kind and name of its policy, and its field."""
    if not isinstance(way.decided, tuple):
        return None
    policy, rule = way.decided
    return policy.kind, str(policy), f"spec.{rule.direction.word}[{rule.index}]"
