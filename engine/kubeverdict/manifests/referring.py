"""What policies refer to, in the middle of a scenario; and the policies that come out otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from kubeverdict.model.cluster import Namespace
from kubeverdict.model.edit import PolicyKey, policy_key
from kubeverdict.model.policy import Policy
from kubeverdict.model.references import Definition, References, resolved
from kubeverdict.model.surroundings import Surroundings

_Key = TypeVar("_Key")
_Item = TypeVar("_Item")


def after(base: Mapping[_Key, _Item], touched: Mapping[_Key, _Item | None]) -> dict[_Key, _Item]:
    """All objects as a scenario has left them; it has None for what is gone."""
    now: dict[_Key, _Item | None] = {**base, **touched}
    return {key: item for key, item in now.items() if item is not None}


class Referring:
    """The references of a cluster, as a scenario has left them so far."""

    def __init__(self, references: References) -> None:
        self._base_policies = {policy_key(policy): policy for policy in references.policies}
        self._base = {_key(one): one for one in references.definitions}
        self._policies: dict[PolicyKey, Policy | None] = {}
        self.definitions: dict[PolicyKey, Definition | None] = {}

    def apply(self, policies: Iterable[Policy], references: References) -> None:
        """Take what manifests hold: ``policies`` are all of them."""
        for policy in policies:
            self.forget(policy_key(policy))
        self._policies |= {policy_key(policy): policy for policy in references.policies}
        self.definitions |= {_key(one): one for one in references.definitions}

    def forget(self, key: PolicyKey) -> None:
        """Take out a policy, as far as it is one of these."""
        if key in self._policies or key in self._base_policies:
            self._policies[key] = None

    def forget_namespace(self, name: str) -> None:
        for key in {*self._base_policies, *self._policies}:
            if key[1] == name:
                self._policies[key] = None
        for key in {*self._base, *self.definitions}:
            if key[1] == name:
                self.definitions[key] = None

    @property
    def are_touched(self) -> bool:
        return bool(self._policies or self.definitions)

    @property
    def now(self) -> References:
        """The references after the scenario."""
        definitions = after(self._base, self.definitions)
        return References.of(
            after(self._base_policies, self._policies).values(), definitions.values()
        )

    def outcome(
        self, namespaces: Mapping[str, Namespace], around: Surroundings
    ) -> Iterator[Policy]:
        """Each policy that refers to something as it comes out after the scenario."""
        labels = {name: one.labels for name, one in namespaces.items()}
        yield from resolved(self.now, labels, around)


def _key(definition: Definition) -> PolicyKey:
    return definition.kind, definition.namespace or "", definition.name
