"""The wires of a cluster: a bridge beside the control plane, a veth to each node, routes to its
pods."""

from __future__ import annotations

from collections.abc import Sequence

from tests.kubernetes.addresses import Addresses
from tests.kubernetes.enclosure import Room

_BRIDGE = "nodes"
_UPLINK = "eth0"


def build_bridge(room: Room, addresses: Addresses) -> None:
    """Make the network that nodes are joined to, in the room of the control plane."""
    lines = ["link set lo up", f"link add {_BRIDGE} type bridge", f"link set {_BRIDGE} up"]
    lines += _addresses(_BRIDGE, addresses, addresses.control_plane())
    _ip(room, lines)
    _forward(room)


def join(room: Room, node: Room, number: int, addresses: Addresses, nodes: int) -> None:
    """Join the room of a node, the ``number``-th of ``nodes`` from 0, and route to the pods of the
    others."""
    port = f"node-{number}"
    _ip(
        room,
        [
            f"link add {port} type veth peer name {_UPLINK} netns {node.holder}",
            f"link set {port} master {_BRIDGE} up",
        ],
        from_outside=True,
    )
    lines = ["link set lo up", f"link set {_UPLINK} up"]
    lines += _addresses(_UPLINK, addresses, addresses.node(number))
    lines += [f"route add default via {gateway}" for gateway in addresses.control_plane()]
    for other in range(nodes):
        if other != number:
            pairs = zip(addresses.pods_of(other), addresses.node(other), strict=True)
            lines += [f"route add {pods} via {address}" for pods, address in pairs]
    _ip(node, lines)
    _forward(node)


def _addresses(device: str, addresses: Addresses, own: Sequence[object]) -> list[str]:
    return [
        # An address that is checked for duplicates first cannot be used for a second.
        f"addr add {address}/{network.prefixlen} dev {device}"
        + (" nodad" if network.version == 6 else "")
        for address, network in zip(own, addresses.nodes, strict=True)
    ]


def _ip(room: Room, lines: Sequence[str], *, from_outside: bool = False) -> None:
    batch = "\n".join(lines) + "\n"
    # Process ids are those that the caller sees where it stays outside.
    command = ["ip", "-batch", "-"]
    if from_outside:
        room.run_on_network(*command, input=batch)
    else:
        room.run(*command, input=batch)


def _forward(room: Room) -> None:
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        room.run("tee", f"/proc/sys/net/{name}", input="1")
