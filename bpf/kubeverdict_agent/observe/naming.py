"""Names for the numbers that the kernel reports: pods, workloads, addresses, rules.

Decisions are numbered anew by each publication, so names are kept for the last few of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from kubeverdict.compile.compiled import CompiledPolicy, Reason, RuleRef
from kubeverdict.compile.isolation import Isolation
from kubeverdict.compile.tiers import tiers_of
from kubeverdict.errors import located
from kubeverdict.model.cluster import Namespace, Pod
from kubeverdict.model.policy import Action, Direction, Policy, Tier
from kubeverdict.model.sources import field_text
from kubeverdict_agent.datapath.layout import DECISION_RULE
from kubeverdict_agent.lowering.rows import DecidedRules
from kubeverdict_agent.node.endpoints import PodKey
from kubeverdict_agent.observe.owners import PodOwners

_KEPT = 8
PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}


# Why packets are refused whatever policy says.
EXPLAINED = {
    "encapsulated": "a tunnel from a pod to a node (allowed by --allow-encapsulation)",
    "bad-fragment": "a later fragment of a packet that did not pass",
    "malformed": "cannot be parsed",
    "unsupported": "neither IP nor ARP",
    "spoofed": "from an address that is not the pod's",
}


class NamedEnd(msgspec.Struct, frozen=True):
    """One end of a flow: a pod, or an address that no pod of the cluster has."""

    address: str = ""
    namespace: str = ""
    pod: str = ""
    workload: str = ""
    kind: str = ""
    labels: Mapping[str, str] = {}

    @property
    def text(self) -> str:
        """The workload, or the address."""
        return f"{self.namespace}/{self.workload}" if self.workload else self.address


class DecidedBy(msgspec.Struct, frozen=True, order=True):
    """What decided: a rule (``field`` of a policy, with file and line), or the policies that
    isolate the pod and none of whose rules matches, each with its file and line. Where it depends
    on a ``condition`` whether the connection is allowed, that and the rule that has it."""

    reason: str
    policies: tuple[str, ...] = ()
    field: str = ""
    places: tuple[str, ...] = ()
    action: str = ""
    condition: str = ""

    @property
    def lines(self) -> list[str]:
        """What decided, and each policy in it, on a line of its own."""
        named = [
            f"{policy} ({place})" for policy, place in zip(self.policies, self.places, strict=True)
        ]
        if self.reason in EXPLAINED:
            return [f"{self.reason}: {EXPLAINED[self.reason]}"]
        if self.reason == "rule":
            return [f"{self.action}: {self.field} of {named[0]}"]
        if self.reason == "conditional":
            rule = f": {self.action}: {self.field} of {named[0]}" if named else ""
            return [f"conditional ({self.condition}){rule}"]
        return [f"{self.reason}, isolated by:" if named else self.reason, *named]

    @property
    def text(self) -> str:
        """The same on one line."""
        first, *rest = self.lines
        return f"{first} {', '.join(rest)}" if rest else first


_FORGOTTEN = DecidedBy("decided by an earlier policy")
# What several rules make of it together has no rule to name.
_SOME = "a rule has a condition"


@dataclass(frozen=True)
class Names:
    """The names of one publication. ``decided`` says for each decision number which of ``refs``
    it is, or which Reason. Of the compiled policy nothing else is kept: it is large."""

    refs: Sequence[RuleRef]
    namespaces: Sequence[Namespace]
    policies: Sequence[Policy]
    decided: DecidedRules

    @cached_property
    def isolation(self) -> Isolation:
        """Made for the first denial that is named."""
        return Isolation(self.namespaces, self.policies)

    @cached_property
    def tiers(self) -> Mapping[int, Tier]:
        return tiers_of(self.policies)


class Naming:
    """All names that are known now. One thread publishes, others read."""

    def __init__(self) -> None:
        self._names: OrderedDict[int, Names] = OrderedDict()
        self._deciders: dict[tuple[int, int, PodKey, int], DecidedBy] = {}
        self._owners: PodOwners | None = None
        self._latest: CompiledPolicy | None = None

    def published(self, generation: int, compiled: CompiledPolicy, decided: DecidedRules) -> None:
        self._latest = compiled
        names = Names(compiled.rules, compiled.cluster.namespaces, compiled.policies, decided)
        self._names[generation] = names
        while len(self._names) > _KEPT:
            self._names.popitem(last=False)
        if len(self._deciders) > 10_000:
            self._deciders.clear()

    def see_owners(self, owners: PodOwners) -> None:
        """Which pod has each address, now and later."""
        self._owners = owners

    def pod(self, key: PodKey) -> Pod | None:
        """The pod of the cluster in force."""
        latest = self._latest
        if latest is None:
            return None
        index = latest.pod_ids.get(key)
        return None if index is None else latest.pods[index]

    def pod_end(self, key: PodKey, address: str = "") -> NamedEnd:
        pod = self.pod(key)
        return _pod_end(pod, address) if pod else NamedEnd(address, *key, key[1], "Pod")

    def address_end(self, address: str) -> NamedEnd:
        """The end that has an address now."""
        pod = self._owners.anywhere(address) if self._owners is not None else None
        return NamedEnd(address) if pod is None else _pod_end(pod, address)

    def decider(self, generation: int, decision: int, pod: PodKey, direction: int) -> DecidedBy:
        """What a decision of the kernel about ``pod`` was, in words."""
        key = (generation, decision, pod, direction)
        found = self._deciders.get(key)
        if found is None:
            found = self._decider(*key)
            if found is not _FORGOTTEN:
                self._deciders[key] = found
        return found

    @staticmethod
    def unjudged(reason: str) -> DecidedBy:
        """What stands for a decision where policy is not asked, by the reason for that."""
        # Connections of which policy was not asked are tunnels alone.
        return DecidedBy(reason if reason in EXPLAINED else "encapsulated")

    def _decider(self, generation: int, decision: int, pod: PodKey, direction: int) -> DecidedBy:
        names = self._names.get(generation)
        number = decision & DECISION_RULE
        if names is None or number >= names.decided.rules.size:
            return _FORGOTTEN
        rule = int(names.decided.rules[number])
        depends = number >= names.decided.conditional
        if rule >= 0:
            ref = names.refs[rule]
            source = ref.rule.source
            return DecidedBy(
                "conditional" if depends else "rule",
                (f"{ref.policy.kind} {ref.policy}",),
                field_text(source.path),
                (located(source.file, source.line),),
                ref.rule.action.name.lower(),
                (ref.rule.condition or _SOME) if depends else "",
            )
        if depends:
            return DecidedBy("conditional", condition=_SOME)
        reason = Reason(rule)
        if reason is not Reason.NO_RULE_MATCHES:
            return DecidedBy(reason.name.lower().replace("_", "-"))
        known = self.pod(pod)
        tier = names.tiers[names.decided.tiers[number]]
        policies = names.isolation.of(known, Direction(direction), tier) if known else []
        return DecidedBy(
            "no-rule-matches",
            tuple(f"{policy.kind} {policy}" for policy in policies),
            places=tuple(located(policy.source.file, policy.source.line) for policy in policies),
            action=Action.DENY.name.lower(),
        )


def _pod_end(pod: Pod, address: str) -> NamedEnd:
    workload = pod.workload
    return NamedEnd(address, pod.namespace, pod.name, workload.name, workload.kind, pod.labels)
