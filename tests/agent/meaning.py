"""What tables say, without the numbers that each lowering chooses for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.tiers import tiers_of
from kubeverdict.model.addresses import Family, format_address
from kubeverdict.model.edit import policy_key
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.lowering.tables import Tables

Meaning = dict[object, object]


def meaning(
    compiled: CompiledPolicy,
    tables: Tables,
    places: Sequence[int],
    families: Collection[Family] = (4, 6),
) -> Meaning:
    """For each pod of the node, what is decided about each address, about each interval of
    addresses and in each direction, at ``places`` (protocol * 65536 + port), and by which rule;
    and whether later fragments pass. Only of addresses of ``families``, and without those that
    several pods have."""
    shared = Counter(text for pod in compiled.pods for text in pod.addresses)
    several = {text for text, count in shared.items() if count > 1}
    tiers = tiers_of(compiled.policies)
    columns = tables.ports[list(places)]

    def decided(decision: int) -> object:
        number = decision & layout.DECISION_RULE
        rule, tier = int(tables.rules[number]), int(tables.tiers[number])
        named: object = rule
        if rule >= 0:
            ref = compiled.rules[rule]
            named = policy_key(ref.policy), ref.rule.direction, ref.rule.index
        return (
            bool(decision & layout.DECISION_ALLOWS),
            named,
            str(tiers[tier]) if tier >= 0 else "",
            number >= tables.conditional,
        )

    names = {number: decided(number) for number in np.unique(tables.rows).tolist()}
    rows = [
        (
            tuple(names[cell] for cell in row[columns].tolist()),
            tuple(bool(cell & layout.DECISION_ALLOWS) for cell in row[tables.atoms :].tolist()),
        )
        for row in tables.rows
    ]

    def about(peer_class: int) -> object:
        return tuple(
            tuple(rows[row] for row in cells[subjects, peer_class].tolist())
            for cells, subjects in zip(tables.cells, tables.locals["subject"][here].T, strict=True)
        )

    here = np.flatnonzero(tables.locals["present"])
    classes = {
        number: about(number)
        for number in np.unique(
            np.concatenate(
                (tables.class4, tables.class6, tables.starts_class4, tables.starts_class6)
            )
        ).tolist()
    }
    found: Meaning = {
        "locals": [
            [tables.locals[name][here].tolist() for name in ("mode", "ipv4", "ipv6")],
        ],
        "own node": names.get(tables.own_node),
    }
    for family, values, class_of, flags in (
        (4, tables.ipv4[:, None], tables.class4, tables.flags4),
        (6, tables.ipv6, tables.class6, tables.flags6),
    ):
        if family not in families:
            continue
        for value, number, flag in zip(
            values.tolist(), class_of.tolist(), flags.tolist(), strict=True
        ):
            text = _text(value)
            if text not in several:
                found[text] = flag, classes[number]
    for name, starts, class_of in (
        ("ipv4", tables.starts4[:, None], tables.starts_class4),
        ("ipv6", tables.starts6, tables.starts_class6),
    ):
        before: object = None
        for start, number in zip(starts.tolist(), class_of.tolist(), strict=True):
            if classes[number] != before:  # neighbours may say the same under two numbers
                before = found[name, *start] = classes[number]
    return found


def _text(value: list[int]) -> str:
    if len(value) == 1:
        return format_address(4, value[0])
    return format_address(6, value[0] << 64 | value[1])
