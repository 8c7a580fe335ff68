"""Namespaces and workloads as application teams make them; shared by the shapes that imitate
ordinary clusters."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from random import Random

from bench.shapes.sketch import Sketch
from kubeverdict.model.cluster import ContainerPort, WorkloadRef
from kubeverdict.model.ports import Protocol

TIERS = ("frontend", "backend", "db", "cache", "queue", "batch")
ENVIRONMENTS = ("prod", "staging", "dev")
ZONES = tuple(f"z{number}" for number in range(6))
WELL_KNOWN = ("kube-system", "monitoring", "ingress-nginx")
COMMON_APPS = 400  # names that recur in many namespaces
LARGEST_NAMESPACE = 3000

_TIER_WEIGHTS = (20, 35, 12, 10, 8, 15)
_ENVIRONMENT_WEIGHTS = (5, 3, 2)
# Port names and the numbers that they stand for, which differ from workload to workload.
_PORTS = (
    ("http", Protocol.TCP, (8080, 8000, 80)),
    ("metrics", Protocol.TCP, (9090, 9100)),
    ("grpc", Protocol.TCP, (50051,)),
    ("https", Protocol.TCP, (8443, 443)),
    ("db", Protocol.TCP, (5432, 3306, 6379)),
    ("dns", Protocol.UDP, (53,)),
    ("statsd", Protocol.UDP, (8125,)),
)
_DNS_PORTS = (
    ContainerPort("dns", Protocol.UDP, 53),
    ContainerPort("dns-tcp", Protocol.TCP, 53),
    ContainerPort("metrics", Protocol.TCP, 9153),
)
# The letters that Kubernetes draws generated names from.
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class App:
    """A workload of a namespace, as far as policies refer to it."""

    name: str
    tier: str
    version: str
    ports: tuple[ContainerPort, ...]
    replicas: int


@dataclass(frozen=True, slots=True)
class Home:
    """A namespace and what lives there."""

    name: str
    team: str
    apps: tuple[App, ...]


def populate(
    sketch: Sketch, random: Random, pods: int, namespaces: int, mean_replicas: float
) -> list[Home]:
    """Adds ``namespaces`` namespaces that hold ``pods`` pods, their sizes log-normal.

    The first three are the cluster's own: DNS, monitoring and the ingress controller.
    """
    homes = []
    teams = max(10, namespaces // 20)
    for index, size in enumerate(_sizes(random, pods, namespaces)):
        name = WELL_KNOWN[index] if index < len(WELL_KNOWN) else f"ns-{index:05d}"
        team = f"team-{random.randrange(teams):03d}"
        labels = {
            "team": team,
            "env": random.choices(ENVIRONMENTS, _ENVIRONMENT_WEIGHTS)[0],
            "zone": random.choice(ZONES),
        }
        if random.random() < 0.1:
            labels["shared"] = "true"
        sketch.namespace(name, labels)
        apps: list[App] = []
        while size > 0:
            app = _draw_app(random, name, len(apps), min(size, _geometric(random, mean_replicas)))
            _add_pods(sketch, random, name, team, len(apps), app)
            apps.append(app)
            size -= app.replicas
        homes.append(Home(name, team, tuple(apps)))
    return homes


def _sizes(random: Random, pods: int, namespaces: int) -> list[int]:
    weights = [random.lognormvariate(0.0, 1.0) for _ in range(namespaces)]
    scale = pods / sum(weights)
    sizes = [min(LARGEST_NAMESPACE, max(1, int(weight * scale))) for weight in weights]
    while sum(sizes) > pods:
        sizes[sizes.index(max(sizes))] -= 1
    for _ in range(pods - sum(sizes)):
        sizes[random.randrange(namespaces)] += 1
    return sizes


def _geometric(random: Random, mean: float) -> int:
    return 1 + int(log(1.0 - random.random()) / log(1.0 - 1.0 / mean))


def _draw_app(random: Random, namespace: str, index: int, replicas: int) -> App:
    tier = random.choices(TIERS, _TIER_WEIGHTS)[0]
    version = f"v{random.randint(1, 5)}"
    if namespace in WELL_KNOWN and index == 0:
        name = dict(zip(WELL_KNOWN, ("kube-dns", "prometheus", "ingress-nginx"), strict=True))[
            namespace
        ]
    elif random.random() < 0.8:
        name = f"app-{random.randrange(COMMON_APPS):03d}"
    else:
        name = f"{namespace}-{index}"
    if name == "kube-dns":
        return App(name, tier, version, _DNS_PORTS, min(replicas, 20))
    ports = tuple(
        ContainerPort(port, protocol, random.choice(numbers))
        for port, protocol, numbers in random.sample(_PORTS, random.randint(1, 3))
    )
    return App(name, tier, version, ports, replicas)


def _add_pods(
    sketch: Sketch, random: Random, namespace: str, team: str, index: int, app: App
) -> None:
    # Two workloads of a namespace may run the same app (a canary), so names get the index.
    workload = f"{app.name}-{index}"
    labels = {
        "app": app.name,
        "tier": app.tier,
        "version": app.version,
        "team": team,
        "app.kubernetes.io/name": app.name,
        "app.kubernetes.io/instance": f"{app.name}-{namespace}",
        "app.kubernetes.io/managed-by": "Helm",
    }
    if app.name == "kube-dns":
        labels["k8s-app"] = "kube-dns"
    if random.random() < 0.15:
        labels["public"] = "true"
    if random.random() < 0.05:
        labels["pci"] = "yes"
    template_hash = f"{random.getrandbits(40):010x}"
    if app.tier in ("db", "queue") and random.random() < 0.6:
        reference = WorkloadRef(namespace, workload, "StatefulSet")
        labels["controller-revision-hash"] = f"{workload}-{template_hash}"
        for ordinal in range(app.replicas):
            name = f"{workload}-{ordinal}"
            own = {
                "statefulset.kubernetes.io/pod-name": name,
                "apps.kubernetes.io/pod-index": str(ordinal),
            }
            sketch.pod(namespace, name, labels | own, app.ports, reference)
        return
    reference = WorkloadRef(namespace, workload, "Deployment")
    labels["pod-template-hash"] = template_hash
    names: set[str] = set()
    while len(names) < app.replicas:
        names.add("".join(random.choices(_NAME_LETTERS, k=5)))
    for suffix in sorted(names):
        name = f"{workload}-{template_hash}-{suffix}"
        # Each pod has a label mapping of its own, as pods that were read from a dump have.
        sketch.pod(namespace, name, dict(labels), app.ports, reference)
