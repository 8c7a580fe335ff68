"""Blocks of addresses: validated as the API server does, lowered to ``model.policy.BlockPeer``.

Strict CIDR checks (host bits, leading zeros, IPv4-mapped) are warnings: they are errors only
from Kubernetes 1.36, and live clusters hold such policies.
"""

from __future__ import annotations

from typing import Any

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.validation import (
    CIDR,
    Cidr,
    invalid,
    read_cidr,
    required,
    shape_list,
    shape_object,
    shape_string,
)
from kubeverdict.model.addresses import Block
from kubeverdict.model.policy import BlockPeer
from kubeverdict.model.sources import FieldPath


class BlockReader:
    """Reads blocks. Keeps what it read, since policies repeat few of them often."""

    def __init__(self) -> None:
        self._known: dict[str, Cidr | None] = {}

    def read(self, place: DocumentPlace, value: Any, path: FieldPath) -> BlockPeer | None:
        """The ``ipBlock`` at ``path``; None, and errors, where it has no CIDR."""
        entries = shape_object(place, value, path)
        fields.check(place, entries, path, fields.BLOCK)
        text = shape_string(place, entries.get("cidr"), (*path, "cidr"))
        if not text:
            if text is not None and isinstance(value, dict):
                place.error((*path, "cidr"), required())
            return None
        outer = self._read(place, text, (*path, "cidr"))
        excepts = []
        found = (*path, "except")
        for index, raw in enumerate(shape_list(place, entries.get("except"), found)):
            inner = shape_string(place, raw, (*found, index))
            if inner is None:
                continue
            part = self._read(place, inner, (*found, index))
            if part is None or outer is None:
                continue
            if not _is_strictly_inside(part, outer):
                message = "must be a strict subset of `cidr`"
                place.error((*found, index), invalid(inner, message))
            excepts.append(part.block)
        return None if outer is None else BlockPeer(outer.block, tuple(excepts))

    def cidr(self, place: DocumentPlace, text: str, path: FieldPath) -> Block | None:
        """The block that ``text`` spells; None, and an error, where it spells none."""
        found = self._read(place, text, path)
        return None if found is None else found.block

    def _read(self, place: DocumentPlace, text: str, path: FieldPath) -> Cidr | None:
        if text not in self._known:
            self._known[text] = read_cidr(text)
        found = self._known[text]
        if found is None:
            place.error(path, invalid(text, CIDR))
        elif found.complaint is not None:
            place.warn(path, f"{invalid(text, found.complaint)} (an error from Kubernetes 1.36)")
        return found


def _is_strictly_inside(part: Cidr, outer: Cidr) -> bool:
    """As the API server compares them: by the lengths of prefixes as they are written, which
    counts where one of two is an IPv4-mapped address."""
    inner, block = part.block, outer.block
    return (
        inner.family == block.family
        and part.prefix > outer.prefix
        and block.first <= inner.first <= block.last
    )
