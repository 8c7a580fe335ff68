"""What CNIs make of rules of AdminNetworkPolicy."""

from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.compile.dialect import in_force
from kubeverdict.model.policy import Action, Direction, NodePeer, PodPeer
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.model.selectors import EVERYTHING
from tests.clusters.policies import ADMIN
from tests.clusters.records import allow, block, policy_of, selector

HTTP = NamedPort(Protocol.TCP, "http")
TCP_80 = PortRange(Protocol.TCP, 80, 80)


def test_rules_of_admin_policies_that_calico_does_not_understand() -> None:
    nodes = (NodePeer(EVERYTHING), PodPeer(selector("app=web")))
    rules = [
        allow(Direction.EGRESS, nodes, (TCP_80,), Action.ALLOW, 0),
        allow(Direction.EGRESS, nodes, (TCP_80,), Action.PASS, 1),
        allow(Direction.EGRESS, (block("10.0.0.0/8"),), (TCP_80,), Action.PASS, 2),
        allow(Direction.INGRESS, (PodPeer(EVERYTHING),), (HTTP, TCP_80), Action.DENY, 0),
    ]
    written = replace(policy_of("p", *rules, tier=ADMIN), kind="AdminNetworkPolicy")
    assert in_force((written,), REFERENCE) == ((written,), ())
    ((known,), notes) = in_force((written,), PROFILES["calico"])
    everything, usual, named = known.rules
    assert (everything.direction, everything.index) == (Direction.EGRESS, 1)
    assert (everything.action, everything.peers, everything.ports) == (Action.DENY, None, None)
    assert usual is rules[2]
    assert (named.action, named.peers, named.ports) == (Action.DENY, rules[3].peers, None)
    assert notes == (
        "Calico understands neither nodes nor named ports of AdminNetworkPolicy: 1 policy has "
        "rules that deny or allow other connections than written",
    )
    # What it understands is left as it is, and so are policies of other APIs.
    plain = replace(written, rules=(rules[2],))
    other = replace(written, kind="TierPolicy")
    assert in_force((plain, other), PROFILES["calico"]) == ((plain, other), ())
