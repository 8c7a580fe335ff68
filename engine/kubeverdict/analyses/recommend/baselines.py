"""What whole namespaces need, whoever is in them: the ground for policies of workloads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kubeverdict.analyses.recommend.groups import Group, Labels
from kubeverdict.analyses.recommend.resolvers import DnsResolver
from kubeverdict.analyses.recommend.shapes import PREFIX, DraftPodPeer, DraftPolicy, DraftRule
from kubeverdict.analyses.wellknown import INGRESS_CONTROLLERS, NAME_KEYS
from kubeverdict.compile.dialect import labels_seen
from kubeverdict.model.cluster import Cluster, Service
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import Profile
from kubeverdict.services import ServiceResolver, target_port

DENY_ALL = "deny-all"
DNS = "dns"
MONITORING = "monitoring"
INGRESS_CONTROLLER = "ingress-controller"
BASELINES = (DENY_ALL, DNS, MONITORING, INGRESS_CONTROLLER)

_MONITORS = ("prometheus", "vmagent", "grafana-agent", "alloy", "otel-collector")
_METRICS = "metrics"


def drafts(
    wanted: Sequence[str],
    cluster: Cluster,
    profile: Profile,
    groups: Sequence[Group],
    namespaces: Sequence[str],
    resolver: DnsResolver | None,
) -> tuple[list[DraftPolicy], tuple[str, ...]]:
    """The policies of the baselines that are ``wanted``, for some ``namespaces``, and what there is
    to say about them. ``groups`` are all of the cluster."""
    found: list[DraftPolicy] = []
    notes: list[str] = []
    if DENY_ALL in wanted:
        found += [_draft(name, "default-deny", (), ()) for name in namespaces]
    if DNS in wanted and resolver is not None:
        peer = DraftPodPeer(resolver.namespace, resolver.labels)
        rule = DraftRule((peer,), resolver.ports, ("DNS, for every pod of the namespace",))
        found += [_draft(name, "allow-dns", None, (rule,)) for name in namespaces]
    if MONITORING in wanted:
        monitors = _known_as(groups, _MONITORS)
        found += _monitoring(cluster, namespaces, monitors)
        if not monitors:
            notes.append(f"--baseline {MONITORING}: no pods that are known as monitoring")
    if INGRESS_CONTROLLER in wanted:
        controllers = _known_as(groups, INGRESS_CONTROLLERS)
        exposed = list(_exposed(cluster, profile, namespaces, controllers))
        found += exposed
        if not exposed:
            what = "no Ingress leads to these namespaces" if controllers else "no controller"
            notes.append(f"--baseline {INGRESS_CONTROLLER}: {what}")
    return found, tuple(notes)


def _draft(
    namespace: str,
    name: str,
    ingress: tuple[DraftRule, ...] | None,
    egress: tuple[DraftRule, ...] | None,
) -> DraftPolicy:
    why = ("every pod of the namespace",)
    return DraftPolicy(namespace, f"{PREFIX}{name}", (), ingress, egress, why)


def _known_as(groups: Sequence[Group], names: Sequence[str]) -> list[Group]:
    """Groups whose pods carry one of some names."""
    return [
        group
        for group in groups
        if any(group.pods[0].labels.get(key) in names for key in NAME_KEYS)
    ]


def _monitoring(
    cluster: Cluster, namespaces: Sequence[str], monitors: Sequence[Group]
) -> Iterator[DraftPolicy]:
    """Scraping, of whatever port is named for it."""
    peers = tuple(DraftPodPeer(group.namespace, group.labels) for group in monitors)
    for name in namespaces:
        pods = [pod for pod in cluster.pods if pod.namespace == name]
        ports = {port.name for pod in pods for port in pod.ports if _is_metrics(port.name)}
        if peers and ports:
            specs = tuple((Protocol.TCP, port) for port in sorted(ports))
            rule = DraftRule(peers, specs, ("monitoring reads metrics of every pod",))
            yield _draft(name, "allow-monitoring", (rule,), None)


def _is_metrics(name: str) -> bool:
    return name == _METRICS or name.endswith(f"-{_METRICS}")


def _exposed(
    cluster: Cluster, profile: Profile, namespaces: Sequence[str], controllers: Sequence[Group]
) -> Iterator[DraftPolicy]:
    """From the controller to the pods that an Ingress leads to."""
    peers = tuple(DraftPodPeer(group.namespace, group.labels) for group in controllers)
    services = ServiceResolver(cluster)
    wanted: dict[tuple[str, Labels], set[tuple[Protocol, int | str]]] = {}
    for ingress in cluster.ingresses:
        for backend in ingress.backends:
            service = services.named(backend.namespace, backend.service)
            if service is None or service.namespace not in namespaces:
                continue
            labels = labels_seen(service.selector, profile)
            if labels:
                key = (service.namespace, tuple(sorted(labels.items())))
                wanted.setdefault(key, set()).update(_targets(services, service, backend.port))
    for number, ((namespace, selected), ports) in enumerate(sorted(wanted.items())):
        if not (peers and ports):
            continue
        specs = tuple(sorted(ports, key=lambda spec: (spec[0], str(spec[1]))))
        rule = DraftRule(peers, specs, ("the ingress controller, where an Ingress leads",))
        name = f"{PREFIX}allow-ingress-controller{f'-{number}' if number else ''}"
        yield DraftPolicy(namespace, name, selected, (rule,), None, ("backends of an Ingress",))


def _targets(
    services: ServiceResolver, service: Service, port: int | str
) -> Iterator[tuple[Protocol, int | str]]:
    for listed in service.ports:
        if port in (listed.port, listed.name) and any(
            target_port(listed, pod) is not None for pod in services.selected(service)
        ):
            yield listed.protocol, listed.target
