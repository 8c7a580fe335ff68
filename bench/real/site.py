"""A control plane that nodes of the lab reach, and what it holds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.comparison.scenarios import NODE, SHOP
from bench.comparison.staged_node import StagedNode
from bench.kubernetes import Object, namespace_object, objects, policy_object
from bench.real.scenarios import mark
from kubeverdict import Cluster
from kubeverdict.model.cluster import Namespace, Node, Pod
from kubeverdict.model.policy import Policy
from tests.kubernetes import control_plane, enclosure
from tests.kubernetes.addresses import Addresses
from tests.kubernetes.api import Api, ApiError
from tests.kubernetes.enclosure import Daemon, Room
from tests.kubernetes.loading import create, load
from tests.kubernetes.store import Store, key_of
from tests.programs.build import cache

_PREFIX = "real-bench-"
_ADDRESS = "172.18.0.2"
_THREADS = 8
_TOGETHER = 100
_NETWORKS = "/var/run/netns"
# An agent cannot read a large file to its end that is replaced before.
_FEED_PAUSE = 1.0
_SECONDS = 60.0


class Site:
    """The API server, and the objects that were put there."""

    def __init__(self, room: Room, api: Api) -> None:
        self.room = room
        self.api = api
        self._store = Store(room)
        self._policies: dict[str, Object] = {}
        self._nodes: dict[str, Node] = {}
        self._added: dict[str, Policy] = {}
        self._pods: dict[str, Pod] = {}
        self._marks = 0
        self._links = 0
        self._feeds = 0

    def close(self) -> None:
        self.api.close()
        self._store.close()

    # --- objects -----------------------------------------------------------------------------

    def fill(self, cluster: Cluster) -> None:
        """Put namespaces, nodes and pods there. Raises RuntimeError where that does not work."""
        self._nodes = {node.name: node for node in cluster.nodes}
        namespaces = [namespace_object(one) for one in cluster.namespaces]
        if refused := load(self.api, [*namespaces, *map(_account, cluster.namespaces)]):
            raise RuntimeError(f"refused: {', '.join(map(str, refused))}")
        bare = objects(Cluster((), cluster.pods, (), cluster.nodes))
        kinds = {"Node": "minions", "Pod": "pods"}
        written = {key_of(kinds[item["kind"]], item): item for item in bare}
        self._store.write(written, together=_TOGETHER)
        self._wait_for_pods(len(cluster.pods))

    def show(self, policies: Iterable[Policy]) -> float:
        """Make these the policies that there are; returns how many seconds that took."""
        written = map(policy_object, policies)
        wanted = {key_of("networkpolicies", item): item for item in written}
        before = self._policies
        changed = {key: item for key, item in wanted.items() if item != before.get(key)}
        gone = before.keys() - wanted.keys()
        begin = time.monotonic()
        # Nothing on the wire depends on those of others: who misses one shows nothing wrong.
        own = {key: item for key, item in changed.items() if f"/{SHOP}/" in key}
        others = {key: item for key, item in changed.items() if key not in own}
        own_gone = {key for key in gone if f"/{SHOP}/" in key}
        self._store.write(others, gone - own_gone, together=_TOGETHER)
        self._store.write(own, own_gone)
        self._policies = wanted
        return time.monotonic() - begin

    def _wait_for_pods(self, count: int) -> None:
        """Until whoever asks from now on is told of all pods."""
        deadline = time.monotonic() + _SECONDS
        while len(self.api.get("/api/v1/pods?resourceVersion=0")["items"]) < count:
            if time.monotonic() > deadline:
                raise TimeoutError("the API server does not serve all pods")
            time.sleep(1.0)

    def add(self, policy: Policy) -> float:
        """Put a policy there; when it was accepted, in seconds of the monotonic clock."""
        self._added[policy.name] = policy
        self.api.create(_path(policy).rpartition("/")[0], policy_object(policy))
        return time.monotonic()

    def remove(self, policy: Policy) -> float:
        """Take it away; when that was accepted."""
        self.api.delete(_path(policy))
        accepted = time.monotonic()
        self._added.pop(policy.name, None)
        return accepted

    def mark(self) -> tuple[float, int]:
        """Change the policy that opens another port each time. Whoever has it in force has all that
        was changed before. Returns when it was accepted, and the port."""
        self._marks += 1
        policy, port = mark(self._marks)
        item = policy_object(policy)
        self.api.apply(self.api.path_of(item), _without_dates(item))
        return time.monotonic(), port

    def create_pod(self, pod: Pod) -> None:
        """Put a pod there that has been scheduled and has no address yet."""
        self._pods[pod.name] = pod
        create(self.api, self._pod(pod))

    def start_pod(self, pod: Pod) -> float:
        """Give it its address, as a kubelet does; when that was accepted."""
        item = self._pod(pod)
        self.api.merge(f"{self.api.path_of(item)}/status", {"status": item["status"]})
        return time.monotonic()

    def delete_pod(self, pod: Pod) -> float:
        """Take a pod away; when that was accepted."""
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        self.api.delete(f"{path}?gracePeriodSeconds=0")
        accepted = time.monotonic()
        self._pods.pop(pod.name, None)
        return accepted

    def tidy(self) -> None:
        """Take away what was added one by one and is still there."""
        with ThreadPoolExecutor(_THREADS) as threads:
            done = [threads.submit(self.remove, policy) for policy in list(self._added.values())]
            done += [threads.submit(self.delete_pod, pod) for pod in list(self._pods.values())]
        self._added.clear()
        self._pods.clear()
        for one in done:
            error = one.exception()
            # Not there is as good as taken away.
            if error is not None and not (isinstance(error, ApiError) and error.status == 404):
                raise error

    def _pod(self, pod: Pod) -> Object:
        found = objects(Cluster((), (pod,), (), (self._nodes[pod.node],)))
        return next(item for item in found if item["kind"] == "Pod")

    # --- nodes -------------------------------------------------------------------------------

    def host(self, staged: StagedNode) -> AgentHost:
        """Join a node to the API server."""
        self._links += 1
        number, netns = self._links, staged.lab.node_netns
        here, there = f"172.19.{number}.1", f"172.19.{number}.2"
        self.room.run_on_network(
            *("ip", "-batch", "-"),
            input=f"link add node{number} type veth peer name control netns {netns}\n"
            f"addr add {here}/30 dev node{number}\nlink set node{number} up\n",
        )
        staged.lab.run(
            ["ip", "-batch", "-"],
            input=f"addr add {there}/30 dev control\nlink set control up\n"
            f"route add {_ADDRESS}/32 via {here} src {there}\n",
        )
        return AgentHost(self, self.room.add(staged.name), Path(_NETWORKS, netns))

    def feed(self) -> tuple[Daemon, Path]:
        """Start what keeps files of the objects for agents that read files."""
        self._feeds += 1
        folder = self.room.folder / f"objects-{self._feeds}"
        feed = self.room.start(
            folder.name,
            [
                *(sys.executable, "-m", "tests.kubernetes.feed"),
                *(str(self.api.kubeconfig), str(folder), str(_FEED_PAUSE)),
            ],
        )
        deadline = time.monotonic() + _SECONDS
        while "ready" not in feed.log.read_text("utf-8", "replace"):
            feed.check()
            if time.monotonic() > deadline:
                raise TimeoutError("the feed is not ready")
            time.sleep(0.05)
        return feed, folder


class AgentHost:
    """A node as the place of an agent: its network, and mounts of its own."""

    node = NODE

    def __init__(self, site: Site, room: Room, network: Path) -> None:
        self.api = site.api
        self.folder = room.folder
        self._room = room.with_network(network)
        # What agents leave there shall end with them.
        self._room.run("mount", "-t", "tmpfs", "tmpfs", "/run")

    def start(self, name: str, command: Sequence[str]) -> Daemon:
        return self._room.start(name, command)

    def run(self, *command: str) -> str:
        """Run a command to its end; see :meth:`Room.run`."""
        return self._room.run(*command)


@contextmanager
def site() -> Iterator[Site]:
    """A control plane for as long as the block lasts, and no longer than the process. Raises
    Unavailable where it cannot be had."""
    enclosure.clean(cache().parent, _PREFIX)
    folder = Path(cache().parent / f"{_PREFIX}{os.getpid()}")
    room = enclosure.begin(folder, own_network=True)
    made = None
    try:
        for words in ("link set lo up", f"addr add {_ADDRESS}/32 dev lo"):
            room.run("ip", *words.split())
        addresses = Addresses("ipv4")
        api = control_plane.start(
            room,
            addresses,
            has_nodes=False,
            own_network=True,
            address=_ADDRESS,
            has_controllers=False,
        )
        made = Site(room, api)
        yield made
    finally:
        if made is not None:
            made.close()
        enclosure.end(folder)


def _path(policy: Policy) -> str:
    base = "/apis/networking.k8s.io/v1/namespaces"
    return f"{base}/{policy.namespace}/networkpolicies/{policy.name}"


def _account(namespace: Namespace) -> Object:
    """What the controllers of a cluster make: no pod is taken without it."""
    metadata = {"name": "default", "namespace": namespace.name}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _without_dates(item: Object) -> Object:
    metadata = {key: item["metadata"][key] for key in ("namespace", "name")}
    return {**item, "metadata": metadata}
