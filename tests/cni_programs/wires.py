"""The node's network: a veth to each of its pods, named as Calico names them, and an uplink.

The other ends are all in one namespace beside the node that has no addresses and answers nothing.
Frames are put on these wires and taken from them as they are, so that the node's kernel with the
rules of an engine is the only one that has a say.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from bench.lab.lab import host_ifname
from kubeverdict.model.cluster import Pod
from tests.cni_programs.staging import NODE_ADDRESSES
from tests.kubernetes.enclosure import Room

UPLINK = "uplink"
_NODE_MAC = "ee:ee:ee:ee:ee:ee"
_GATEWAYS = {"169.254.2.2": "169.254.2.1/30", "fe80::2:2": "fe80::2:1/64"}
_OUTSIDE_MAC = "02:00:00:00:ff:ff"
NODE_MAC = bytes.fromhex(_NODE_MAC.replace(":", ""))


class Wires:
    """The links of a node whose network is that of ``room``."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.outside = room.add("outside")
        # The far end of each pod's link, by the name of the near one.
        self._peers: dict[str, str] = {}
        self._numbers = itertools.count()
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            _write(room, name, "1")
        # An address that is checked for duplicates first cannot be used for a second.
        for scope in ("all", "default"):
            _write(room, f"ipv6/conf/{scope}/accept_dad", "0")
            _write(room, f"ipv4/conf/{scope}/rp_filter", "0")
            _write(self.outside, f"ipv6/conf/{scope}/disable_ipv6", "1")
        addresses = [f"addr add {text}/{_width(text)} dev lo" for text in NODE_ADDRESSES]
        self._on_node(["link set lo up", *addresses, *self._link(UPLINK, UPLINK, _OUTSIDE_MAC)])
        self._beyond([f"link set {UPLINK} up"])
        lines = []
        for gateway, own in _GATEWAYS.items():
            lines += [
                f"addr add {own} dev {UPLINK}",
                f"neigh add {gateway} lladdr {_OUTSIDE_MAC} dev {UPLINK} nud permanent",
                f"route add default via {gateway} dev {UPLINK}",
            ]
        self._on_node(lines)

    def connect(self, pods: Sequence[Pod]) -> dict[str, str]:
        """Wire these pods, take down those that were there before and are not among them; returns
        the far ends by address.

        A link that stays is not touched: a program that hears of its end and of its beginning in
        the wrong order may take it for one that is down.
        """
        wanted = {host_ifname(pod.namespace, pod.name): pod for pod in pods}
        gone = [name for name in self._peers if name not in wanted]
        self._on_node(f"link del {name}" for name in gone)
        for name in gone:
            del self._peers[name]
        near, far = [], []
        for host, pod in wanted.items():
            if host in self._peers:
                continue
            number = next(self._numbers)
            peer = self._peers[host] = f"pod{number}"
            mac = f"02:00:00:00:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"
            near += self._link(host, peer, mac)
            far.append(f"link set {peer} up")
            for text in pod.addresses:
                near += [
                    f"neigh add {text} lladdr {mac} dev {host} nud permanent",
                    f"route replace {text}/{_width(text)} dev {host}",
                ]
        self._on_node(near)
        self._beyond(far)
        return {text: self._peers[host] for host, pod in wanted.items() for text in pod.addresses}

    def _link(self, name: str, peer: str, mac: str) -> list[str]:
        return [
            f"link add {name} address {_NODE_MAC} type veth "
            f"peer name {peer} address {mac} netns {self.outside.holder}",
            f"link set {name} up",
        ]

    def _on_node(self, lines: Iterable[str]) -> None:
        # Process ids are those that the caller sees where it stays outside.
        self._room.run_on_network("ip", "-batch", "-", input="\n".join([*lines, ""]))

    def _beyond(self, lines: Iterable[str]) -> None:
        self.outside.run_on_network("ip", "-batch", "-", input="\n".join([*lines, ""]))


def _write(room: Room, name: str, value: str) -> None:
    room.run("tee", f"/proc/sys/net/{name}", input=value)


def _width(address: str) -> int:
    return 128 if ":" in address else 32
