"""Values that are made again only where what they are made of has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """The last value of its kind, and the objects that it was made of.

    These are compared as objects: a compiled cluster that took an edit has the same pods, nodes
    and arrays as before where the edit did not touch them.
    """

    __slots__ = ("_of", "_value")

    def __init__(self) -> None:
        self._of: tuple[object, ...] | None = None
        self._value: Value

    def get(self, of: tuple[object, ...], make: Callable[[], Value]) -> Value:
        """The value made of ``of``: by ``make``, unless it is there."""
        known = self._of
        if known is None or not all(map(_is, known, of)):
            self._of = None  # not half a value, should making it fail
            self._value = make()
            self._of = of
        return self._value


def _is(one: object, other: object) -> bool:
    return one is other
