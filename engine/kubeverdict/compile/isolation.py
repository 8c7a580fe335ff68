"""Which policies isolate a pod."""

from __future__ import annotations

from collections.abc import Iterable

from kubeverdict.model.cluster import Namespace, Pod
from kubeverdict.model.policy import Action, Direction, Policy, Tier


class Isolation:
    """Finds the policies behind a denial by default.

    Policies are filed by namespace once, so that asking for many pods of a large cluster does
    not walk all policies each time. ``policies`` are as the CNI has them, in evaluation order.
    """

    def __init__(self, namespaces: Iterable[Namespace], policies: Iterable[Policy]) -> None:
        self._labels = {namespace.name: namespace.labels for namespace in namespaces}
        self._by_namespace: dict[str | None, list[Policy]] = {}
        for policy in policies:
            if policy.tier.default is Action.DENY:
                self._by_namespace.setdefault(policy.namespace, []).append(policy)

    def of(self, pod: Pod, direction: Direction, tier: Tier | None = None) -> list[Policy]:
        """The policies of ``tier`` that isolate ``pod``, in evaluation order.

        Without a tier it is the first that isolates the pod. That is the one which denies a
        connection unless one of its rules passed the connection on to a later tier.
        """
        labels = self._labels[pod.namespace]
        policies = [
            policy
            for policy in (
                *self._by_namespace.get(pod.namespace, ()),
                *(
                    policy
                    for policy in self._by_namespace.get(None, ())
                    if policy.namespaces.matches(labels)
                ),
            )
            if direction in policy.isolates and policy.pods.matches(pod.labels)
        ]
        if tier is None:
            tier = min((policy.tier for policy in policies), default=None)
        return [policy for policy in policies if policy.tier == tier]
