"""Label selectors: validated as the API server does, lowered to ``model.selectors``."""

from __future__ import annotations

from typing import Any

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.validation import (
    forbidden,
    invalid,
    label_key_errors,
    label_value_errors,
    required,
    shape_list,
    shape_object,
    shape_string,
)
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector
from kubeverdict.model.sources import FieldPath

_OPERATORS = {operator.value: operator for operator in Operator}


class SelectorReader:
    """Reads selectors. Keeps what it found good, since a cluster repeats few of them often."""

    def __init__(self) -> None:
        self._by_labels: dict[tuple[tuple[str, str], ...], Selector] = {}
        self._keys: set[str] = set()
        self._values: set[str] = set()

    def read(self, place: DocumentPlace, value: Any, path: FieldPath) -> Selector:
        """The selector; its errors are reported to ``place``."""
        selector = shape_object(place, value, path)
        if not selector:
            return EVERYTHING
        fields.check(place, selector, path, fields.SELECTOR)
        expressions = selector.get("matchExpressions")
        pairs = self.labels(
            place, selector.get("matchLabels"), (*path, "matchLabels"), also=not expressions
        )
        if not expressions and (known := self._by_labels.get(pairs)) is not None:
            return known
        requirements = [Requirement(key, Operator.IN, (text,)) for key, text in pairs]
        found = (*path, "matchExpressions")
        for index, expression in enumerate(shape_list(place, expressions, found)):
            requirement = self._requirement(place, expression, (*found, index))
            if requirement is not None:
                requirements.append(requirement)
        result = Selector.of(requirements)
        if not expressions and not place.failed:
            self._by_labels[pairs] = result
        return result

    def labels(
        self, place: DocumentPlace, value: Any, path: FieldPath, *, also: bool = False
    ) -> tuple[tuple[str, str], ...]:
        """The entries of a label map. ``also``: entries that were good before are good."""
        labels = shape_object(place, value, path)
        pairs = tuple(labels.items())
        try:
            if also and pairs in self._by_labels:
                return pairs
        except TypeError:  # a list or an object as a value, reported below
            pass
        good = []
        for key, raw in labels.items():
            text = shape_string(place, raw, (*path, key))
            self.key(place, key, path, at=(*path, key))
            if text is not None:
                self.value(place, text, path, at=(*path, key))
                good.append((key, text))
        return tuple(good)

    def key(
        self, place: DocumentPlace, key: str, path: FieldPath, at: FieldPath | None = None
    ) -> None:
        if key in self._keys:
            return
        errors = label_key_errors(key)
        for message in errors:
            place.error(path, invalid(key, message), at=at)
        if not errors:
            self._keys.add(key)

    def value(
        self, place: DocumentPlace, text: str, path: FieldPath, at: FieldPath | None = None
    ) -> None:
        if text in self._values:
            return
        errors = label_value_errors(text)
        for message in errors:
            place.error(path, invalid(text, message), at=at)
        if not errors:
            self._values.add(text)

    def _requirement(self, place: DocumentPlace, value: Any, path: FieldPath) -> Requirement | None:
        expression = shape_object(place, value, path)
        fields.check(place, expression, path, fields.REQUIREMENT)
        key = shape_string(place, expression.get("key"), (*path, "key"))
        if key is not None:
            self.key(place, key, (*path, "key"))
        values = []
        for index, raw in enumerate(shape_list(place, expression.get("values"), (*path, "values"))):
            text = shape_string(place, raw, (*path, "values", index))
            if text is not None:
                self.value(place, text, (*path, "values", index))
                values.append(text)
        word = shape_string(place, expression.get("operator"), (*path, "operator"))
        operator = _OPERATORS.get(word or "")
        if operator is None:
            if word is not None:
                place.error((*path, "operator"), invalid(word, "not a valid selector operator"))
            return None
        listed = operator in (Operator.IN, Operator.NOT_IN)
        if listed and not expression.get("values"):
            message = "must be specified when `operator` is 'In' or 'NotIn'"
            place.error((*path, "values"), required(message))
        elif not listed and expression.get("values"):
            message = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            place.error((*path, "values"), forbidden(message))
        if key is None:
            return None
        return Requirement(key, operator, tuple(sorted(set(values))))
