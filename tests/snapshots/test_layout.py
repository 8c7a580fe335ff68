"""A file is read only by a program that has the same fields."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import count
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane, RuleRef
from kubeverdict.evaluate.scenarios.workbench import Workbench
from kubeverdict.kernels.bits import Sets
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import Peer, Policy, Rule, Tier
from kubeverdict.model.profile import Profile
from kubeverdict.model.selectors import Selector
from kubeverdict.model.sources import Source
from kubeverdict.snapshots.layout import (
    fields_of,
    fingerprint,
    is_array,
    is_entity,
    is_plain,
    is_product,
)
from kubeverdict.snapshots.writing import Writer


def test_types_are_what_they_are() -> None:
    for entity in (Pod, Policy, Rule, Source, Cluster):
        assert is_entity(entity) and not is_plain(entity)
    for product in (CompiledPolicy, Plane, Workbench, Sets, RuleRef):
        assert is_product(product) and not is_plain(product)
    for plain in (str, Tier, Profile, Selector, Peer, tuple[Peer, ...] | None, Mapping[str, str]):
        assert is_plain(plain) and not is_entity(plain)
    assert is_array(NDArray[np.int32]) and not is_plain(tuple[NDArray[np.int32], ...])
    assert not is_plain(tuple[Rule, ...]) and not is_plain(tuple[Pod, str])
    assert fields_of(Sets) == {
        "start": NDArray[np.int64],
        "word": NDArray[np.int32],
        "bits": NDArray[np.uint64],
    }


NUMBERS = count()
CLASSES = """
from __future__ import annotations
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple
import msgspec, numpy as np
from numpy.typing import NDArray

class Kind(IntEnum):
    ONE = 1

class Value(msgspec.Struct, frozen=True):
    kind: Kind

class Inner(NamedTuple):
    numbers: NDArray[np.int32]
    count: int

@dataclass(frozen=True, eq=False)
class Outer:
    inner: tuple[Inner, ...]
    values: Sequence[Value | None]
"""


def layout(sources: str, monkeypatch: pytest.MonkeyPatch) -> str:
    # A type is looked up once in the module of a class, so each module has a name of its own.
    module: Any = ModuleType(f"made_up_{next(NUMBERS)}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(sources, vars(module))
    found: str = fingerprint.__wrapped__(module.Outer)
    return found


def test_the_same_classes_have_the_same_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    assert layout(CLASSES, monkeypatch) == layout(CLASSES, monkeypatch)


@pytest.mark.parametrize(
    "old, new",
    [
        ("numbers:", "figures:"),
        ("np.int32", "np.int64"),
        ("    count: int\n", ""),
        ("    count: int\n", "    count: int\n    more: int\n"),
        ("    inner: tuple[Inner, ...]\n", "    inner: Inner\n"),
        ("Sequence[Value | None]", "tuple[Value | None, ...]"),
        ("ONE = 1", "ONE = 2"),
        ("ONE = 1", "ONE = 1; TWO = 2"),
        ("    kind: Kind", "    kind: Kind = Kind.ONE\n    other: str = ''"),
        (
            "    numbers: NDArray[np.int32]\n    count: int\n",
            "    count: int\n    numbers: NDArray[np.int32]\n",
        ),
    ],
)
def test_any_change_is_another_layout(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = CLASSES.replace(old, new)
    assert changed != CLASSES
    assert layout(changed, monkeypatch) != layout(CLASSES, monkeypatch)


@pytest.mark.parametrize("kind", [dict[str, NDArray[np.int32]], Sets | None])
def test_what_has_no_way_to_be_stored_is_said(kind: Any) -> None:
    with pytest.raises(TypeError, match="outer: no way to store"):
        Writer().value(kind, {}, "outer")
