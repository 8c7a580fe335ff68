"""Which policies isolate a pod."""

from __future__ import annotations

from collections.abc import Iterable

from kubeverdict.model.cluster import Namespace, Pod
from kubeverdict.model.policy import Action, Direction, Policy


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

    def of(self, pod: Pod, direction: Direction) -> list[Policy]:
        """The policies that isolate ``pod``, in evaluation order; of the first tier that does.

        A tier that isolates a pod and has no rule for a connection ends the matter, so later
        tiers have no part in the denial.
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
        first = min((policy.tier for policy in policies), default=None)
        return [policy for policy in policies if policy.tier == first]
