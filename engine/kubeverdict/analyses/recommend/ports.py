"""Ports as rules write them: by name where every pod means the same number by it."""

from __future__ import annotations

from kubeverdict.analyses.recommend.groups import Group
from kubeverdict.model.cluster import ContainerKind
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import Profile

# A port of a rule: protocol, and a number or a name.
PortSpec = tuple[Protocol, int | str]


class GroupPortNames:
    """Names of ports, by the group whose pods resolve them."""

    def __init__(self, profile: Profile) -> None:
        # Where a CNI does something else with names, numbers are what was meant.
        self._usable = profile.named_ports == "resolve" and not profile.named_port_union
        self._known: dict[tuple[Group, PortSpec], PortSpec] = {}

    def spec(self, group: Group, protocol: Protocol, number: int) -> PortSpec:
        if not self._usable:
            return protocol, number
        key = (group, (protocol, number))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = (protocol, _name(group, protocol, number) or number)
        return found


def _name(group: Group, protocol: Protocol, number: int) -> str:
    """The name that on every pod stands for this number and no other; empty where none does.

    Only ports of ordinary containers: CNIs differ on the others.
    """
    first = group.pods[0]
    names = sorted(
        port.name
        for port in first.ports
        if port.name and (port.protocol, port.number) == (protocol, number)
    )
    for name in names:
        if all(
            {
                (port.number, port.container)
                for port in pod.ports
                if port.name == name and port.protocol is protocol
            }
            == {(number, ContainerKind.CONTAINER)}
            for pod in group.pods
        ):
            return name
    return ""
