"""The addresses of a cluster, in one or both families."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

Family = Literal["ipv4", "ipv6", "dual"]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# By IP version: where services, pods and nodes have their addresses. None of it is routed outside.
_SERVICES = {4: "10.96.0.0/16", 6: "fd00:10:96::/112"}
_PODS = {4: "10.244.0.0/16", 6: "fd00:10:244::/56"}
_NODES = {4: "172.18.0.0/16", 6: "fd00:172:18::/64"}
_PODS_OF_A_NODE = {4: 24, 6: 64}


@dataclass(frozen=True)
class Addresses:
    """What a cluster of a family uses; each list has one value for each IP version."""

    family: Family

    @property
    def versions(self) -> list[int]:
        return {"ipv4": [4], "ipv6": [6], "dual": [4, 6]}[self.family]

    @property
    def services(self) -> list[str]:
        return [_SERVICES[version] for version in self.versions]

    @property
    def pods(self) -> list[str]:
        return [_PODS[version] for version in self.versions]

    @property
    def nodes(self) -> list[Network]:
        return [ip_network(_NODES[version]) for version in self.versions]

    def pods_of(self, node: int) -> list[Network]:
        """Those of the pods of a node, counted from 0."""
        found: list[Network] = []
        for version in self.versions:
            size = _PODS_OF_A_NODE[version]
            of_all = ip_network(_PODS[version])
            # The branches differ in type alone.
            if isinstance(of_all, IPv4Network):
                found.append(list(of_all.subnets(new_prefix=size))[node])
            else:
                found.append(list(of_all.subnets(new_prefix=size))[node])
        return found

    def node(self, number: int) -> list[Address]:
        """Those of a node, counted from 0."""
        return [network[11 + number] for network in self.nodes]

    def control_plane(self) -> list[Address]:
        """Those of the control plane, which is the way out for nodes too."""
        return [network[2] for network in self.nodes]

    def sizes_of_pods(self) -> dict[int, int]:
        """The length of the prefix that a node's pods have, by IP version."""
        return {version: _PODS_OF_A_NODE[version] for version in self.versions}
