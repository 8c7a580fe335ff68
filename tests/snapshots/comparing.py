"""Whether what came out of a snapshot is what went in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec
import numpy as np

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.scenarios.workbench import Workbench
from kubeverdict.model.sources import Source
from kubeverdict.snapshots import Snapshot


def assert_holds(
    snapshot: Snapshot, compiled: CompiledPolicy, bench: Workbench | None = None
) -> None:
    """``snapshot`` holds ``compiled`` and ``bench``: every field, and each object once."""
    comparison = Comparison()
    comparison.same(compiled, snapshot.compiled, "compiled")
    comparison.same(bench, snapshot.workbench, "bench")


class Comparison:
    """Compares values field by field, knowing nothing of how they are stored.

    What was one object must be one again, and what was two must be two.
    """

    def __init__(self) -> None:
        self._twins: dict[int, Any] = {}
        self._originals: dict[int, Any] = {}

    def same(self, one: Any, other: Any, where: str) -> None:
        if isinstance(one, np.ndarray):
            _same_array(one, other, where)
        elif isinstance(one, Source):
            assert (one.file, one.line, one.path) == (other.file, other.line, other.path), where
        elif is_dataclass(one):
            names = [field.name for field in fields(one)]
            self._same_objects(one, other, names, one.__dataclass_params__.eq, where)  # type: ignore
        elif isinstance(one, msgspec.Struct):
            by_value = one.__struct_config__.eq
            self._same_objects(one, other, one.__struct_fields__, by_value, where)
        elif isinstance(one, tuple) and hasattr(one, "_fields"):
            self._same_objects(one, other, one._fields, True, where)
        elif isinstance(one, Mapping):
            assert len(one) == len(other), where
            assert list(one.items()) == list(other.items()), where
            assert all(other[key] == value for key, value in one.items()), where
        elif isinstance(one, Sequence) and not isinstance(one, str):
            assert len(one) == len(other), where
            for number, (part, twin) in enumerate(zip(one, other, strict=True)):
                self.same(part, twin, f"{where}[{number}]")
        else:
            assert type(one) is type(other) and one == other, where

    def _same_objects(
        self, one: Any, other: Any, names: Sequence[str], by_value: bool, where: str
    ) -> None:
        assert type(one) is type(other), where
        if not by_value:
            known = id(one) in self._twins
            assert self._twins.setdefault(id(one), other) is other, where
            assert self._originals.setdefault(id(other), one) is one, where
            if known:
                return
        for name in names:
            self.same(getattr(one, name), getattr(other, name), f"{where}.{name}")


def _same_array(one: Any, other: Any, where: str) -> None:
    assert (one.dtype, one.shape) == (other.dtype, other.shape), where
    # A kernel is compiled apart for arrays that differ in these.
    for flag in ("C_CONTIGUOUS", "ALIGNED", "WRITEABLE"):
        assert one.flags[flag] == other.flags[flag], f"{where} {flag}"
    assert np.array_equal(one, other), where
