"""A cluster from its parts: a control plane, and nodes where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.kubernetes import control_plane, enclosure, network, nodes
from tests.kubernetes.addresses import Addresses, Family
from tests.kubernetes.api import Api
from tests.kubernetes.enclosure import Room
from tests.kubernetes.nodes import KubeProxy, Node


class Plan(NamedTuple):
    """What a cluster shall be. ``api_server`` is the program to run as such."""

    nodes: int = 0
    family: Family = "dual"
    kube_proxy: KubeProxy = "nftables"
    api_server: str = "kube-apiserver"


class Cluster(NamedTuple):
    """A cluster that is up."""

    room: Room
    api: Api
    nodes: list[Node]


def build(folder: Path, plan: Plan) -> Cluster:
    """Make a cluster in ``folder``; it ends with the calling process, unless its room is released.

    A control plane alone is on the caller's network, so that any program reaches it. What
    was made is taken down again where something fails; see :func:`control_plane.start` and
    :func:`nodes.start` for what is raised.
    """
    addresses = Addresses(plan.family)
    has_nodes = plan.nodes > 0
    if has_nodes:
        nodes.check_prerequisites(folder)
    room = enclosure.begin(folder, own_network=has_nodes)
    try:
        if has_nodes:
            network.build_bridge(room, addresses)
        api = control_plane.start(room, addresses, has_nodes=has_nodes, api_server=plan.api_server)
        made = nodes.start(room, api, addresses, plan.nodes, plan.kube_proxy) if has_nodes else []
    except BaseException:
        enclosure.end(folder)
        raise
    return Cluster(room, api, made)


@contextmanager
def running(folder: Path, plan: Plan) -> Iterator[Cluster]:
    """A cluster for as long as the block lasts, and no longer than the process."""
    cluster = build(folder, plan)
    try:
        yield cluster
    finally:
        cluster.api.close()
        enclosure.end(folder)
