"""Documents of small clusters with egress firewalls beside policies of other APIs, made up for
tests."""

from __future__ import annotations

from tests.clusters.generated_documents import NETWORKS, PROTOCOLS, SPACES, Maker, Object

KINDS = {
    "EgressFirewall": "k8s.ovn.org/v1",
    "EgressNetworkPolicy": "network.openshift.io/v1",
}


class FirewallMaker(Maker):
    """Documents out of choices."""

    def firewalled_cluster(self, pods: int, usual: int, admin: int) -> list[Object]:
        """The cluster of :meth:`Maker.cluster`, and firewalls in some namespaces."""
        spaces = [name for name in SPACES if self.choose((True, True, False))]
        return [*self.cluster(pods, admin, usual), *map(self.firewall, spaces)]

    def firewall(self, namespace: str) -> Object:
        kind = self.choose(("EgressFirewall", "EgressFirewall", "EgressNetworkPolicy"))
        plain = kind == "EgressNetworkPolicy"
        return {
            "apiVersion": KINDS[kind],
            "kind": kind,
            "metadata": {"name": "default", "namespace": namespace},
            "spec": {"egress": [self.firewall_rule(plain) for _ in range(self.choose((1, 2, 3)))]},
        }

    def firewall_rule(self, plain: bool) -> Object:
        to: list[Object] = [{"cidrSelector": self.choose(NETWORKS)} for _ in range(4)]
        to.append({"dnsName": "example.com"})
        if not plain:
            to.append({"nodeSelector": {"matchLabels": {"role": self.choose(("edge", "core"))}}})
        rule: Object = {"type": self.choose(("Allow", "Deny")), "to": self.choose(tuple(to))}
        if not plain and self.choose((True, False)):
            port: Object = {"protocol": self.choose(PROTOCOLS)}
            rule["ports"] = [self.choose((port, {**port, "port": self.choose((80, 81))}))]
        return rule
