"""Bytes that do not decode as what is expected there, reported with their field."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import msgspec

from kubeverdict.manifests import json_text
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.validation import wrong_type
from kubeverdict.model.sources import FieldPath

_WHERE = re.compile(r" - at `(?:key in )?\$([^`]*)`\Z")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "a boolean",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def report_invalid(
    place: DocumentPlace, error: Exception, text: json_text.Bytes, path: FieldPath = ()
) -> None:
    """Report bytes of the field at ``path`` that do not decode as what is expected there."""
    message = str(error)
    where = _WHERE.search(message)
    inside: FieldPath = ()
    if where is not None:
        message = message[: where.start()]
        for name, index in _STEP.findall(where.group(1)):
            inside = (*inside, int(index) if index else name)
    if match := re.fullmatch(r"Expected `(.*)`, got `(.*)`", message):
        expected = [_TYPES.get(part, part) for part in match.group(1).split(" | ")]
        wanted = " or ".join(part for part in expected if part != "null")
        message = f"Invalid value: expected {wanted}, got {_TYPES.get(match.group(2), '?')}"
        with suppress(json_text.JsonError, LookupError, TypeError):
            message = wrong_type(_value_at(json_text.parse(text), inside), wanted)
    elif not isinstance(error, msgspec.ValidationError):
        message, _ = json_text.described(error, 0)
    place.error((*path, *inside), message)


def _value_at(value: Any, path: FieldPath) -> Any:
    for step in path:
        value = value[step]
    return value
