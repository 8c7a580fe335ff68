"""What there is to store, by the declared types of its fields.

Nothing here names a field: an array that is added to a plane is stored because it is declared.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import fields, is_dataclass
from enum import EnumMeta
from functools import cache
from hashlib import sha256
from typing import Any, get_args, get_origin

import msgspec
import numpy as np


@cache
def fields_of(kind: Any) -> dict[str, Any]:
    """The types of the fields of a dataclass, NamedTuple or msgspec struct, in order."""
    return {name: _type(text, kind.__module__) for name, text in written(kind).items()}


def written(kind: Any) -> dict[str, str]:
    """The same as the sources spell them."""
    if is_dataclass(kind):
        names = tuple(field.name for field in fields(kind))
    elif issubclass(kind, msgspec.Struct):
        names = kind.__struct_fields__
    else:
        names = kind._fields
    hints: dict[str, Any] = inspect.get_annotations(kind)
    # A NamedTuple wraps them.
    return {name: getattr(hints[name], "__forward_arg__", hints[name]) for name in names}


@cache
def _type(text: str, module: str) -> Any:
    """What ``typing.get_type_hints`` finds, which takes three times as long over it."""
    return eval(text, vars(sys.modules[module]))


@cache
def is_entity(kind: Any) -> bool:
    """Whether values of a type are distinguished by identity: pods, policies, rules, ..."""
    return _is_struct(kind) and not kind.__struct_config__.eq


@cache
def is_product(kind: Any) -> bool:
    """Whether values of a type are taken apart into their fields."""
    return _is_product(kind, frozenset())


def _is_product(kind: Any, inside: frozenset[Any]) -> bool:
    if _is_struct(kind):
        fields = () if is_entity(kind) else fields_of(kind).values()
        return not all(_is_plain(field, inside | {kind}) for field in fields)
    return inspect.isclass(kind) and (
        is_dataclass(kind) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    )


@cache
def is_array(kind: Any) -> bool:
    # ``NDArray`` is the array type itself, or (numpy 2.5) an alias with the type as its value.
    origin = get_origin(kind)
    return (get_origin(origin.__value__) if hasattr(origin, "__value__") else origin) is np.ndarray


@cache
def element_of(kind: Any) -> np.dtype[Any] | None:
    """The type of the numbers in an array type; None where it takes any."""
    element = get_args(kind)[-1]
    if get_origin(element) is np.dtype:
        (element,) = get_args(element)
    concrete = inspect.isclass(element) and issubclass(element, np.generic)
    return np.dtype(element) if concrete else None


@cache
def is_plain(kind: Any) -> bool:
    """Whether values of a type hold neither arrays nor anything with an identity."""
    return _is_plain(kind, frozenset())


def _is_plain(kind: Any, inside: frozenset[Any]) -> bool:
    """The same of a type that the types ``inside`` hold: it may hold these again."""
    if kind in inside:
        return True
    if is_array(kind) or is_entity(kind) or _is_product(kind, inside):
        return False
    return all(_is_plain(part, inside) for part in get_args(kind))


def _is_struct(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, msgspec.Struct)


@cache
def fingerprint(*roots: type) -> str:
    """Stands for the fields of ``roots`` and of everything inside them: their order, names and
    types as they are written in the sources."""
    seen: set[Any] = set()
    lines: list[str] = []
    todo: list[Any] = list(roots)
    while todo:
        kind = todo.pop()
        todo += get_args(kind)
        if kind in seen:
            continue
        seen.add(kind)
        if is_product(kind) or _is_struct(kind):
            lines.append(f"{kind.__qualname__}: {written(kind)}")
            todo += fields_of(kind).values()
        elif isinstance(kind, EnumMeta):
            members: list[Any] = list(kind)
            lines.append(f"{kind.__qualname__}: {[(one.name, one.value) for one in members]}")
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]
