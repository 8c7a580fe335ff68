"""Selectors of pods by the name of their service account, which several APIs have."""

from __future__ import annotations

from kubeverdict.model.cluster import DEFAULT_ACCOUNT, SERVICE_ACCOUNT
from kubeverdict.model.selectors import EVERYTHING, NOTHING, Operator, Requirement, Selector


def pods_of_account(asked: Requirement) -> Selector:
    """The pods whose account is what is asked for, under whatever key. Every pod has one: the
    default one where it has no label for it."""
    named = Selector.of([Requirement(SERVICE_ACCOUNT, asked.operator, asked.values)])
    unnamed = Selector.of([Requirement(SERVICE_ACCOUNT, Operator.DOES_NOT_EXIST)])
    if asked.operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST):
        return EVERYTHING if asked.operator is Operator.EXISTS else NOTHING
    if asked.matches({asked.key: DEFAULT_ACCOUNT}):
        return Selector.any_of([named, unnamed])
    if asked.operator is Operator.NOT_IN:
        return Selector.all_of([named, Selector.none_of([unnamed])])
    return named
