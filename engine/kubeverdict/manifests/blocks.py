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
        self._known: dict[str, tuple[Block | None, list[str]]] = {}

    def read(self, place: DocumentPlace, value: Any, path: FieldPath) -> BlockPeer | None:
        """The ``ipBlock`` at ``path``; None, and errors, where it has no CIDR."""
        entries = shape_object(place, value, path)
        fields.check(place, entries, path, fields.BLOCK)
        text = shape_string(place, entries.get("cidr"), (*path, "cidr"))
        if not text:
            if text is not None and isinstance(value, dict):
                place.error((*path, "cidr"), required())
            return None
        block = self.cidr(place, text, (*path, "cidr"))
        excepts = []
        found = (*path, "except")
        for index, raw in enumerate(shape_list(place, entries.get("except"), found)):
            inner = shape_string(place, raw, (*found, index))
            if inner is None:
                continue
            part = self.cidr(place, inner, (*found, index))
            if part is None or block is None:
                continue
            if part.family != block.family or not (
                part.prefix > block.prefix and block.first <= part.first <= block.last
            ):
                message = "must be a strict subset of `cidr`"
                place.error((*found, index), invalid(inner, message))
            excepts.append(part)
        return None if block is None else BlockPeer(block, tuple(excepts))

    def cidr(self, place: DocumentPlace, text: str, path: FieldPath) -> Block | None:
        """The block that ``text`` spells; None, and an error, where it spells none."""
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = read_cidr(text)
        block, strict = known
        if block is None:
            place.error(path, invalid(text, CIDR))
        for message in strict:
            place.warn(path, f"{invalid(text, message)} (an error from Kubernetes 1.36)")
        return block
