"""``kubeverdict.toml``: what an organisation configures for every run, in addition to its
manifests."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from kubeverdict.analyses.lint import LintSettings
from kubeverdict.analyses.lint.catalogue import known
from kubeverdict.errors import InputError, Problem, UsageError

FILE = "kubeverdict.toml"

_LINT = {"disable": "disable", "required-annotations": "required_annotations"}


def lint_settings(disable: Iterable[str] = ()) -> LintSettings:
    """The table ``[lint]`` of ``kubeverdict.toml`` in the current folder, with more rules to
    turn off; the defaults where there is no such file or table. Raises InputError for a file that
    cannot be used, UsageError for a rule that does not exist."""
    path = Path(FILE)
    settings = _read(path)
    for key in settings:
        if key in _LINT:
            raise _wrong(path, key, "stands outside of a table; write it below [lint]")
        if key != "lint":
            raise _wrong(path, key, "unknown table; there is [lint]")
    table = settings.get("lint", {})
    if not isinstance(table, dict):
        raise _wrong(path, "lint", "must be a table: [lint]")
    fields = {}
    for key, value in table.items():
        if key not in _LINT:
            raise _wrong(path, f"lint.{key}", f"unknown key; there are {', '.join(_LINT)}")
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise _wrong(path, f"lint.{key}", "must be a list of strings")
        fields[_LINT[key]] = tuple(value)
    found = LintSettings(**fields)
    try:
        known(found.disable, "lint.disable")
    except UsageError as error:
        raise _wrong(path, "", str(error)) from None
    return replace(found, disable=(*found.disable, *known(tuple(disable), "--disable")))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _wrong(path, "", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _wrong(path, "", "is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise _wrong(path, "", f"is not TOML: {error}") from None


def _wrong(path: Path, field: str, message: str) -> InputError:
    return InputError([Problem(str(path), 0, field, message)])
