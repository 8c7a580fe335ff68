"""A node for the program of a CNI: its network, an API server, and pods that are objects.

All of it is in one enclosure, so that it ends with whoever made it. The API server is on the
node's loopback interface.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from bench.kubernetes import node_object
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import METADATA_NAME, Cluster, Namespace, Node, Pod, WorkloadRef
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol
from tests.clusters.objects import objects
from tests.clusters.records import allow, label, pods_where, policy_of, udp
from tests.cni_programs.prober import Packet, Prober
from tests.cni_programs.staging import NODE, NODE_ADDRESSES, local_pods
from tests.cni_programs.wires import Wires
from tests.kubernetes import control_plane, enclosure
from tests.kubernetes.addresses import Addresses
from tests.kubernetes.api import Api, Object
from tests.kubernetes.enclosure import Daemon, Room
from tests.kubernetes.loading import load
from tests.programs.build import Unavailable, cache

PREFIX = "engine-of-tests-"
ADDRESSES = Addresses("dual")
_SECONDS = 60.0
_HOST_IPS = {NODE: NODE_ADDRESSES[0]}
_ELSEWHERE = "192.168.0.250"

# What tells that a cluster is in force: a policy that lets one pod reach another on a port, which
# changes with each cluster.
_MARK = "mark"
_MARKED = ("10.250.0.1", "fd00:250::1")
_MARKING = ("10.250.0.2", "fd00:250::2")
_FIRST_MARK = 20_000


class EngineLab:
    """A node that an engine can run on. ``families`` are those that the engine acts on."""

    node = NODE

    def __init__(self, room: Room, api: Api, families: Sequence[Family]) -> None:
        self.room = room
        self.api = api
        self.families = families
        self._wires = Wires(room)
        self._prober = Prober(room, self._wires.outside)
        self._places: dict[str, str] = {}
        self._marks = 0
        self._spaces: set[str] = set()
        self._subject = _pod("subject", NODE, _MARKED)
        own = node_object(Node(NODE, NODE_ADDRESSES, {}))
        self._put([{**own, "status": {}}])
        # A merge, because applying cannot have two addresses of one type.
        api.merge(f"{api.path_of(own)}/status", {"status": own["status"]})

    def close(self) -> None:
        self._prober.close()

    def start(self, name: str, command: Sequence[str]) -> Daemon:
        """Start a program on the node."""
        return self.room.start(name, command)

    def show(self, cluster: Cluster, engine: Daemon) -> Cluster:
        """Replace what there is by a cluster, and wait until the engine has it in force. Returns
        the cluster with what the lab has besides.

        Raises RuntimeError where the engine ended, and TimeoutError where it does nothing.
        """
        self._forget()
        local = [*local_pods(cluster), self._subject]
        self._places = self._wires.connect(local)
        self._spaces = {namespace.name for namespace in cluster.namespaces}
        self._put(list(_objects(cluster)))
        self._mark(engine)
        mark = _mark(self._subject, self._marks)
        return replace(
            cluster,
            namespaces=(*cluster.namespaces, *mark.namespaces),
            pods=(*cluster.pods, *mark.pods),
            policies=(*cluster.policies, *mark.policies),
        )

    def arrived(self, packets: Sequence[Packet]) -> list[bool]:
        """Which packets reach their destination, each the first of a connection."""
        return self._prober.arrived(packets, self._places)

    def _forget(self) -> None:
        for space in self._spaces:
            base = f"/namespaces/{space}"
            for path in (
                f"/apis/networking.k8s.io/v1{base}/networkpolicies",
                f"/api/v1{base}/pods",
            ):
                self.api.delete(f"{path}?gracePeriodSeconds=0")

    def _put(self, items: Sequence[Object]) -> None:
        refused = load(self.api, items)
        if refused:
            raise RuntimeError(f"refused by the API server: {'; '.join(map(str, refused))}")

    def _mark(self, engine: Daemon) -> None:
        """Change a namespace, a pod and a policy, after all others of their kinds, and wait until
        packets show that the engine knows all three, in each family."""
        self._marks += 1
        port = _FIRST_MARK + self._marks
        self._put(list(_objects(_mark(self._subject, self._marks))))
        packets = [
            Packet(source, destination, Protocol.UDP, number)
            for family, source, destination in zip((4, 6), _MARKING, _MARKED, strict=True)
            if family in self.families
            for number in (port, port - 1)
        ]
        deadline = time.monotonic() + _SECONDS
        while self.arrived(packets) != [True, False] * len(self.families):
            engine.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{engine.name} does not act within {_SECONDS:.0f} s")


def _mark(subject: Pod, number: int) -> Cluster:
    """The namespace, pods and policy that a lab has beside a cluster, in their ``number``-th
    version."""
    mark = {_MARK: str(number)}
    peers = (pods_where(f"{_MARK}={number}", f"{_MARK}={number}"),)
    return Cluster(
        namespaces=(Namespace(_MARK, {METADATA_NAME: _MARK, **mark}),),
        pods=(subject, _pod("other", "node-2", _MARKING, **mark)),
        policies=(
            policy_of(
                f"{_MARK}/{_MARK}",
                allow(Direction.INGRESS, peers, (udp(_FIRST_MARK + number),)),
                pods=label("name", subject.name),
            ),
        ),
    )


def _pod(name: str, node: str, addresses: tuple[str, ...], **labels: str) -> Pod:
    return Pod(
        _MARK,
        name,
        {"name": name, **labels},
        WorkloadRef(_MARK, name, "Pod"),
        addresses,
        node=node,
        phase="Running",
    )


def _objects(cluster: Cluster) -> Iterator[Object]:
    """All but nodes, each pod with the address of its node, by which some know the local ones."""
    pods = {(pod.namespace, pod.name): pod for pod in cluster.pods}
    for item in objects(cluster):
        if item["kind"] == "Pod":
            metadata = item["metadata"]
            node = pods[metadata["namespace"], metadata["name"]].node
            if node:
                address = _HOST_IPS.get(node, _ELSEWHERE)
                item["status"] |= {"hostIP": address, "hostIPs": [{"ip": address}]}
        if item["kind"] != "Node":
            yield item


@contextmanager
def engine_lab(name: str, families: Sequence[Family]) -> Iterator[EngineLab]:
    """A lab for as long as the block lasts, and no longer than the process. Raises Unavailable
    where it cannot be had."""
    if os.geteuid() != 0:
        raise Unavailable("programs of CNIs need root")
    enclosure.clean(cache().parent, PREFIX)
    folder = Path(cache().parent / f"{PREFIX}{name}-{os.getpid()}")
    room = enclosure.begin(folder, own_network=True)
    lab = None
    try:
        room.run("ip", "link", "set", "lo", "up")
        api = control_plane.start(room, ADDRESSES, has_nodes=False, own_network=True)
        lab = EngineLab(room, api, families)
        yield lab
    finally:
        if lab is not None:
            lab.close()
            lab.api.close()
        enclosure.end(folder)
