"""Policies while they, and what they refer to, come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubeverdict.model.edit import PolicyKey, policy_key
from kubeverdict.model.policy import (
    ApiServerPeer,
    BackendPeer,
    Peer,
    Policy,
    ServicePeer,
    parts_of,
    says_the_same,
)
from kubeverdict.model.references import NO_REFERENCES, Definition, References, resolved
from kubeverdict.model.surroundings import Surroundings

Labels = Mapping[str, Mapping[str, str]]

_AROUND = (ServicePeer, BackendPeer, ApiServerPeer)


class HeldPolicies:
    """Policies as they are written, and those that refer to something as they come out."""

    def __init__(self) -> None:
        self._written: dict[PolicyKey, Policy] = {}
        self._definitions: dict[PolicyKey, Definition] = {}
        self._referring: dict[PolicyKey, Policy] = {}
        self._around: set[PolicyKey] = set()  # those about Services, endpoints or nodes
        self._out: dict[PolicyKey, Policy] = {}  # of those that refer
        self._touched: dict[PolicyKey, bool] = {}  # each with whether it was there
        self._definitions_touched = False
        self._references_touched = False

    def change(self, old: Policy | Definition | None, new: Policy | Definition | None) -> None:
        """Have ``new`` in the place of ``old``; either may be None."""
        for one in (old, new):
            if isinstance(one, Policy):
                key = policy_key(one)
                self._touched.setdefault(key, key in self._written)
            elif one is not None:
                self._definitions_touched = self._references_touched = True
        if isinstance(old, Policy):
            key = policy_key(old)
            self._references_touched |= self._referring.pop(key, None) is not None
            self._around.discard(key)
            self._written.pop(key, None)
        elif old is not None:
            self._definitions.pop(_key(old), None)
        if isinstance(new, Policy):
            key = policy_key(new)
            self._written[key] = new
            if new.refers:
                self._referring[key] = new
                self._references_touched = True
                if any(isinstance(part, _AROUND) for part in _peers(new)):
                    self._around.add(key)
        elif new is not None:
            self._definitions[_key(new)] = new

    @property
    def keys(self) -> frozenset[PolicyKey]:
        return frozenset(self._written)

    @property
    def all(self) -> tuple[Policy, ...]:
        """As they come out, after the last edit."""
        return tuple(self._out.get(key, policy) for key, policy in self._written.items())

    @property
    def references(self) -> References:
        if not (self._referring or self._definitions):
            return NO_REFERENCES
        return References.of(self._referring.values(), self._definitions.values())

    def edit(
        self,
        labels: Callable[[], Labels],
        surroundings: Callable[[], Surroundings],
        around: bool,
        namespaces: bool,
    ) -> dict[str, Any]:
        """The fields of an edit with what changed since the last call. ``around`` is whether
        Services, endpoints or nodes changed meanwhile, ``namespaces`` whether these did."""
        touched, self._touched = self._touched, {}
        again = self._referring.keys() & touched.keys()
        if self._definitions_touched or namespaces:
            again = set(self._referring)
        elif around:
            again |= self._around
        put_in = [
            self._written[key]
            for key in touched
            if key in self._written and key not in self._referring
        ]
        for key in touched:
            if key not in self._referring:
                self._out.pop(key, None)
        if again:
            asked = [policy for key, policy in self._referring.items() if key in again]
            references = References.of(asked, self._definitions.values())
            for policy in resolved(references, labels(), surroundings()):
                key = policy_key(policy)
                known = self._out.get(key)
                if key in touched or known is None or not says_the_same(known, policy):
                    self._out[key] = policy
                    put_in.append(policy)
        fields: dict[str, Any] = {}
        gone = tuple(key for key, was in touched.items() if was and key not in self._written)
        if gone:
            fields["policies_out"] = gone
        if put_in:
            fields["policies_in"] = tuple(put_in)
        if self._references_touched:
            fields["references"] = self.references
        self._definitions_touched = self._references_touched = False
        return fields


def _peers(policy: Policy) -> Iterator[Peer]:
    for rule in (*policy.rules, *policy.unlisted_rules):
        for peer in (*(rule.peers or ()), *((rule.subject,) if rule.subject else ())):
            yield from parts_of(peer)


def _key(definition: Definition) -> PolicyKey:
    return definition.kind, definition.namespace or "", definition.name
