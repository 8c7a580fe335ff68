"""Label selectors, in one canonical form.

A selector is a boolean expression over labels: all of its requirements and all of its clauses.
NetworkPolicy has requirements alone; ``or`` and ``not`` of other APIs are clauses, which hold
selectors again. :meth:`Selector.all_of`, :meth:`Selector.any_of` and :meth:`Selector.none_of` put
selectors together so that expressions which are alike but for order and repetition are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

import msgspec


class Operator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    CONTAINS = "contains"
    STARTS_WITH = "starts with"
    ENDS_WITH = "ends with"

    def accepts(self, value: str, text: str) -> bool:
        """Whether a label's value is what an operator wants with one of its values."""
        match self:
            case Operator.CONTAINS:
                return text in value
            case Operator.STARTS_WITH:
                return value.startswith(text)
            case Operator.ENDS_WITH:
                return value.endswith(text)
            case _:
                return value == text


# Operators that look at a part of the value. As In, they want one of their texts.
PARTIAL = (Operator.CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH)

_CONTRARY = {
    Operator.IN: Operator.NOT_IN,
    Operator.NOT_IN: Operator.IN,
    Operator.EXISTS: Operator.DOES_NOT_EXIST,
    Operator.DOES_NOT_EXIST: Operator.EXISTS,
}


class Requirement(msgspec.Struct, frozen=True, order=True, gc=False):
    """One condition on one label key. ``values`` is sorted, distinct, and empty for Exists."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
        return value is not None and any(self.operator.accepts(value, text) for text in self.values)

    def __str__(self) -> str:
        match self.operator:
            case Operator.IN if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case Operator.NOT_IN if len(self.values) == 1:
                return f"{self.key}!={self.values[0]}"
            case Operator.IN:
                return f"{self.key} in ({', '.join(self.values)})"
            case Operator.NOT_IN:
                return f"{self.key} not in ({', '.join(self.values)})"
            case Operator.EXISTS:
                return f"{self.key} exists"
            case Operator.DOES_NOT_EXIST:
                return f"no {self.key}"
        return f"{self.key} {self.operator} {' or '.join(self.values)}"


class Clause(msgspec.Struct, frozen=True, order=True, gc=False):
    """What any of ``parts`` selects; with ``negated``, what its only part does not select."""

    parts: tuple[Selector, ...]
    negated: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return any(part.matches(labels) for part in self.parts) != self.negated

    def __str__(self) -> str:
        if self.negated:
            return f"not ({self.parts[0]})"
        return f"({' or '.join(map(str, self.parts))})" if self.parts else "nothing"


class Selector(msgspec.Struct, frozen=True, order=True, gc=False):
    """All of ``requirements`` and all of ``clauses``; none means everything.

    Canonical: both are sorted and distinct and ``matchLabels`` has become In, so equal selectors
    compare and hash as equal however they were written.
    """

    requirements: tuple[Requirement, ...] = ()
    clauses: tuple[Clause, ...] = ()

    @classmethod
    def of(cls, requirements: Iterable[Requirement]) -> Selector:
        return cls(tuple(sorted(set(requirements))))

    @classmethod
    def all_of(cls, selectors: Iterable[Selector]) -> Selector:
        """What every one of ``selectors`` selects."""
        given = list(selectors)
        requirements = {one for selector in given for one in selector.requirements}
        clauses = {one for selector in given for one in selector.clauses}
        return cls(tuple(sorted(requirements)), tuple(sorted(clauses)))

    @classmethod
    def any_of(cls, selectors: Iterable[Selector]) -> Selector:
        """What at least one of ``selectors`` selects: nothing where there are none."""
        parts: set[Selector] = set()
        values: dict[str, set[str]] = {}
        for selector in selectors:
            for part in selector._alternatives:
                if part.selects_all:
                    return EVERYTHING
                only = part._only_requirement
                if only is not None and only.operator is Operator.IN:
                    values.setdefault(only.key, set()).update(only.values)
                else:
                    parts.add(part)
        for key, listed in values.items():
            parts.add(cls((Requirement(key, Operator.IN, tuple(sorted(listed))),)))
        return parts.pop() if len(parts) == 1 else cls(clauses=(Clause(tuple(sorted(parts))),))

    @classmethod
    def none_of(cls, selectors: Iterable[Selector]) -> Selector:
        """What not one of ``selectors`` selects."""
        return cls.all_of(
            part._contrary for selector in selectors for part in selector._alternatives
        )

    @property
    def selects_all(self) -> bool:
        """Whether nothing is required."""
        return not self.requirements and not self.clauses

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements) and all(
            clause.matches(labels) for clause in self.clauses
        )

    def terms(self) -> Iterator[Requirement]:
        """Every requirement, those inside clauses too."""
        yield from self.requirements
        for clause in self.clauses:
            for part in clause.parts:
                yield from part.terms()

    def __str__(self) -> str:
        if self.selects_all:
            return "everything"
        return ", ".join(map(str, (*self.requirements, *self.clauses)))

    @property
    def _alternatives(self) -> tuple[Selector, ...]:
        """The selectors of which this is the union; only itself as a rule."""
        if not self.requirements and len(self.clauses) == 1 and not self.clauses[0].negated:
            return self.clauses[0].parts
        return (self,)

    @property
    def _only_requirement(self) -> Requirement | None:
        return self.requirements[0] if len(self.requirements) == 1 and not self.clauses else None

    @property
    def _contrary(self) -> Selector:
        """What this, which is no union, does not select."""
        only = self._only_requirement
        if only is not None and only.operator in _CONTRARY:
            return Selector((Requirement(only.key, _CONTRARY[only.operator], only.values),))
        if not self.requirements and len(self.clauses) == 1:
            return self.clauses[0].parts[0]  # negated: a union has been taken apart
        if self.selects_all:
            return NOTHING
        return Selector(clauses=(Clause((self,), negated=True),))


EVERYTHING = Selector()
NOTHING = Selector(clauses=(Clause(()),))
