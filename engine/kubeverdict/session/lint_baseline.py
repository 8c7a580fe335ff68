"""The file of known findings of ``lint``: one on each line, so that changes of it are readable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from kubeverdict.analyses.lint.baseline import Known
from kubeverdict.errors import InputError, Problem, UsageError
from kubeverdict.manifests import json_text
from kubeverdict.manifests.origins import JsonOrigin, JsonText
from kubeverdict.model.sources import FieldPath, field_text

SCHEMA = "kubeverdict/lint-baseline/v1"

_FIELDS = {field.name: field.required for field in msgspec.structs.fields(Known)}


def write_baseline(file: str, known: Sequence[Known]) -> None:
    """Write ``known`` to ``file``. Raises UsageError where that is not possible."""
    lines = ",\n".join(msgspec.json.encode(one).decode() for one in known)
    text = f'{{"schema": "{SCHEMA}", "findings": [\n{lines}\n]}}\n'
    try:
        Path(file).write_text(text, "utf-8", "surrogatepass")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from None


def read_baseline(file: str) -> list[Known]:
    """What ``file`` knows. Raises InputError with the line and field of what is wrong."""
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise _wrong(file, 0, "", f"cannot be read: {error.strerror}") from None
    try:
        value = json_text.parse(data)
    except json_text.JsonError as error:
        line = data.count(b"\n", 0, error.at) + 1
        raise _wrong(file, line, "", error.message) from None
    return _Reader(file, data).known(value)


class _Reader:
    """Checks one file."""

    def __init__(self, file: str, data: bytes) -> None:
        self._file = file
        self._origin = JsonOrigin(JsonText(file, data, 0, len(data), listed=False))

    def known(self, value: Any) -> list[Known]:
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            found = value.get("schema") if isinstance(value, dict) else None
            has = f", it has {found!r}" if found else ""
            raise self._error(("schema",), f"a baseline has the schema {SCHEMA!r}{has}")
        findings = value.get("findings")
        if not isinstance(findings, list):
            raise self._error(("findings",), "must be a list")
        return [self._one(number, one) for number, one in enumerate(findings)]

    def _one(self, number: int, value: Any) -> Known:
        path: FieldPath = ("findings", number)
        if not isinstance(value, dict):
            raise self._error(path, "must be an object")
        for key, text in value.items():
            if key not in _FIELDS:
                raise self._error((*path, key), f"unknown field; there are {', '.join(_FIELDS)}")
            if not isinstance(text, str):
                raise self._error((*path, key), "must be a string")
        for key, required in _FIELDS.items():
            if required and not value.get(key):
                raise self._error((*path, key), "is missing")
        return Known(**value)

    def _error(self, path: FieldPath, message: str) -> InputError:
        return _wrong(self._file, self._origin.line_of(path), field_text(path), message)


def _wrong(file: str, line: int, field: str, message: str) -> InputError:
    return InputError([Problem(file, line, field, message)], skippable=False)
