"""Which policies isolate a pod."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubeverdict.compile.sequences import folded
from kubeverdict.model.cluster import Namespace, Pod
from kubeverdict.model.policy import Action, Direction, Policy, Tier


class Isolation:
    """Finds the policies behind a denial by default.

    Policies are filed by namespace once, so that asking for many pods of a large cluster does
    not walk all policies each time, and versions of a cluster share what they have in common.
    ``policies`` are as the CNI has them, in evaluation order.
    """

    def __init__(self, namespaces: Iterable[Namespace], policies: Sequence[Policy]) -> None:
        self._labels = {namespace.name: namespace.labels for namespace in namespaces}
        self._by_namespace = folded(policies, _by_namespace)
        # Pods of a workload are alike, and reports ask about each of them.
        self._known: dict[tuple[object, ...], list[Policy]] = {}

    def of(self, pod: Pod, direction: Direction, tier: Tier | None = None) -> list[Policy]:
        """The policies of ``tier`` that isolate ``pod``, in evaluation order.

        Without a tier it is the first that isolates the pod. That is the one which denies a
        connection unless one of its rules passed the connection on to a later tier.
        """
        policies = self.of_all_tiers(pod, direction)
        if tier is None:
            tier = min((policy.tier for policy in policies), default=None)
        return [policy for policy in policies if policy.tier == tier]

    def of_all_tiers(self, pod: Pod, direction: Direction) -> list[Policy]:
        """The policies of any tier that isolate ``pod``, in evaluation order: the same list for
        pods that are alike."""
        kind = pod.namespace, tuple(pod.labels.items()), direction
        policies = self._known.get(kind)
        if policies is None:
            policies = self._known[kind] = self._selecting(pod, direction)
        return policies

    def _selecting(self, pod: Pod, direction: Direction) -> list[Policy]:
        labels = self._labels[pod.namespace]
        here = self._filed(pod.namespace)
        anywhere = self._filed(None)
        found = [
            policy
            for policy in (*here, *(one for one in anywhere if one.namespaces.matches(labels)))
            if direction in policy.isolates and policy.pods.matches(pod.labels)
        ]
        return sorted(found, key=lambda policy: policy.sort_key) if anywhere else found

    def _filed(self, namespace: str | None) -> list[Policy]:
        return [policy for part in self._by_namespace for policy in part.get(namespace, ())]


def _by_namespace(policies: Iterable[Policy]) -> dict[str | None, list[Policy]]:
    """Those that isolate pods."""
    found: dict[str | None, list[Policy]] = {}
    for policy in policies:
        if policy.tier.default is Action.DENY:
            found.setdefault(policy.namespace, []).append(policy)
    return found
