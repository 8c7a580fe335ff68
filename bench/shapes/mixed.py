"""``mixed``: an ordinary cluster in which every feature of NetworkPolicy is in use.

Fifty pods a namespace on average, and a policy for each ten pods: first the default denials and
what goes with them, then policies between applications, namespaces and the world outside.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random

from bench.shapes.population import (
    COMMON_APPS,
    ENVIRONMENTS,
    TIERS,
    ZONES,
    App,
    Home,
    populate,
)
from bench.shapes.sketch import (
    RuleSketch,
    Sketch,
    block,
    exists,
    here,
    labelled,
    named,
    one_of,
    tcp,
    there,
    udp,
)
from kubeverdict.model.cluster import METADATA_NAME, Cluster
from kubeverdict.model.policy import Peer
from kubeverdict.model.ports import PortMatch, Protocol
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector

DNS: RuleSketch = (
    [there(labelled(METADATA_NAME, "kube-system"), labelled("k8s-app", "kube-dns"))],
    [udp(53), tcp(53)],
)
INTERNET: RuleSketch = (
    [
        block("0.0.0.0/0", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.169.254/32"),
        block("::/0", "fd00::/8"),
    ],
    [tcp(443)],
)
_USUAL_PORTS = (80, 443, 8080, 8443, 5432, 3306, 6379, 9090, 9200, 27017, 2379, 5672, 11211)
_PARTNERS = 600  # distinct external networks that policies name


def mixed(pods: int, policies: int | None = None, seed: int = 1) -> Cluster:
    """``pods`` pods in ``pods / 50`` namespaces, with ``pods / 10`` policies by default."""
    random = Random(seed)
    sketch = Sketch("mixed", pods)
    homes = populate(sketch, random, pods, max(4, pods // 50), mean_replicas=6)
    author = _Author(sketch, random, homes, pods // 10 if policies is None else policies)
    author.write()
    return sketch.cluster()


class _Full(Exception):
    """The number of policies asked for is reached."""


class _Author:
    """Writes policies, namespace by namespace and round by round, until there are enough."""

    def __init__(self, sketch: Sketch, random: Random, homes: list[Home], limit: int) -> None:
        self._sketch = sketch
        self._random = random
        self._homes = homes
        self._limit = limit
        self._partners = [_partner(random) for _ in range(_PARTNERS)]

    def write(self) -> None:
        homes = self._random.sample(self._homes, len(self._homes))
        try:
            for round_ in count():
                for home in homes:
                    if round_ == 0:
                        self._ground_rules(home)
                    elif round_ == 1:
                        self._monitoring(home)
                    for _ in range(max(1, len(home.apps) // 4)):
                        self._between(home)
        except _Full:
            return

    def _add(
        self,
        home: Home,
        name: str,
        pods: Selector,
        *,
        ingress: list[RuleSketch] | None = None,
        egress: list[RuleSketch] | None = None,
    ) -> None:
        number = len(self._sketch.policies)
        if number == self._limit:
            raise _Full
        # The number keeps names distinct inside a namespace.
        self._sketch.policy(home.name, f"{name}-{number}", pods, ingress=ingress, egress=egress)

    def _ground_rules(self, home: Home) -> None:
        both = self._random.random() < 0.5
        self._add(home, "default-deny", EVERYTHING, ingress=[], egress=[] if both else None)
        if both:
            self._add(home, "allow-dns", EVERYTHING, egress=[DNS])
        if self._random.random() < 0.5:
            self._add(home, "allow-inside", EVERYTHING, ingress=[([here(home.name)], None)])

    def _monitoring(self, home: Home) -> None:
        peer = there(labelled(METADATA_NAME, "monitoring"))
        ports = [named(Protocol.TCP, "metrics")]
        self._add(home, "allow-monitoring", EVERYTHING, ingress=[([peer], ports)])

    def _between(self, home: Home) -> None:
        kinds: tuple[tuple[Callable[[Home, App, App], None], int], ...] = (
            (self._from_app, 30),
            (self._from_versions, 15),
            (self._from_namespaces, 25),
            (self._to_app, 15),
            (self._to_internet, 8),
            (self._partner_networks, 7),
        )
        write = self._random.choices([kind for kind, _ in kinds], [share for _, share in kinds])[0]
        write(home, self._random.choice(home.apps), self._random.choice(home.apps))

    def _from_app(self, home: Home, app: App, other: App) -> None:
        peers: list[Peer] = [here(home.name, labelled("app", other.name))]
        if self._random.random() < 0.3:
            third = self._random.choice(home.apps)
            peers.append(
                here(
                    home.name,
                    Selector.of([one_of("app", [third.name]), one_of("tier", [third.tier])]),
                )
            )
        self._add(home, app.name, _app(app), ingress=[(peers, self._ports(app))])

    def _from_versions(self, home: Home, app: App, other: App) -> None:
        peer = here(
            home.name,
            Selector.of(
                [
                    one_of("tier", self._random.sample(TIERS, 2)),
                    Requirement("version", Operator.NOT_IN, ("v1",)),
                ]
            ),
        )
        subject = labelled("tier", app.tier)
        self._add(home, f"{app.tier}-tier", subject, ingress=[([peer], self._ports(app))])

    def _from_namespaces(self, home: Home, app: App, other: App) -> None:
        pods = None
        if self._random.random() < 0.6:
            pods = (
                labelled("tier", self._random.choice(TIERS))
                if self._random.random() < 0.6
                else labelled("app", f"app-{self._random.randrange(COMMON_APPS):03d}")
            )
        peer = there(self._some_namespaces(), pods)
        self._add(home, f"{app.name}-neighbours", _app(app), ingress=[([peer], self._ports(app))])

    def _some_namespaces(self) -> Selector:
        draw = self._random.random()
        if draw < 0.35:
            return labelled("team", self._random.choice(self._homes).team)
        if draw < 0.60:
            homes = self._random.choices(self._homes, k=self._random.randint(1, 5))
            return labelled(METADATA_NAME, *(home.name for home in homes))
        if draw < 0.80:
            zones = self._random.choices(ZONES, k=2)
            environment = self._random.choice(ENVIRONMENTS)
            return Selector.of([one_of("env", [environment]), one_of("zone", zones)])
        return EVERYTHING if draw < 0.90 else Selector((exists("shared"),))

    def _to_app(self, home: Home, app: App, other: App) -> None:
        rules: list[RuleSketch] = [
            ([here(home.name, _app(other))], self._ports(other)),
            DNS,
        ]
        if self._random.random() < 0.3:
            rules.append(([there(labelled("team", home.team))], None))
        self._add(home, f"{app.name}-egress", _app(app), egress=rules)

    def _to_internet(self, home: Home, app: App, other: App) -> None:
        self._add(home, f"{app.name}-internet", _app(app), egress=[INTERNET])

    def _partner_networks(self, home: Home, app: App, other: App) -> None:
        partners = self._random.choices(self._partners, k=self._random.randint(1, 7))
        rule: RuleSketch = ([block(cidr) for cidr in partners], self._ports(app))
        name = f"{app.name}-partners"
        if self._random.random() < 0.5:
            self._add(home, name, _app(app), ingress=[rule])
        else:
            self._add(home, name, _app(app), egress=[rule])

    def _ports(self, app: App) -> list[PortMatch] | None:
        """Up to two ports that clients of ``app`` use; None, any port, for a third of rules."""
        return [self._port(app) for _ in range(self._random.randint(0, 2))] or None

    def _port(self, app: App) -> PortMatch:
        draw = self._random.random()
        if draw < 0.35:
            port = self._random.choice(app.ports)
            return named(port.protocol, port.name)
        if draw < 0.85:
            return tcp(self._random.choice((*_USUAL_PORTS, self._random.randint(1024, 32767))))
        if draw < 0.95:
            first = self._random.randint(1024, 60000)
            return tcp(first, first + self._random.randint(1, 3000))
        return udp(self._random.randint(1, 65535))


def _app(app: App) -> Selector:
    return labelled("app", app.name)


def _partner(random: Random) -> str:
    first, second, third = random.randint(11, 171), random.randrange(256), random.randrange(256)
    prefix = random.choice((16, 24, 24, 24))
    return f"{first}.{second}.{third if prefix == 24 else 0}.0/{prefix}"
