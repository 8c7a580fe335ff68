"""YAML text to plain values, as the Kubernetes tools read it.

Values are built from libyaml's events and not by PyYAML's composer and constructors: that is
about five times as fast, knows the line of every key (duplicate keys are errors), and cannot
exhaust the C stack, which composing deeply nested text does. Plain scalars are typed as
``sigs.k8s.io/yaml`` types them: YAML 1.1 booleans, 0x1f and 010 are numbers, 1:30 and dates are
strings.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

MAX_DEPTH = 200
# How many values aliases may stand for in one document before it is taken for an attack.
MAX_ALIASED = 100_000

_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
for _true, _false in (("true", "false"), ("yes", "no"), ("on", "off")):
    for _spell in (str.lower, str.title, str.upper):
        _WORDS[_spell(_true)], _WORDS[_spell(_false)] = True, False
_WORDS |= {"y": True, "Y": True, "n": False, "N": False}
_TYPED_START = frozenset("yYnNtTfFoO~+-.0123456789")
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class TextError(Exception):
    """Text that is not YAML that Kubernetes reads. ``line`` counts from 0 in the text."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class Span(NamedTuple):
    """Where an item of a list is in its text. ``line`` counts from 0."""

    start: int
    end: int
    line: int
    column: int


class DocumentSpan(NamedTuple):
    """One document of a stream, as offsets into it. ``line`` counts from 1."""

    start: int
    end: int
    line: int


_BREAK = re.compile(r"^(?:---(?=\s|$)|\.\.\.(?=\s|$))", re.MULTILINE)


def documents(text: str) -> Iterator[DocumentSpan]:
    """Cut a stream at its document marks.

    A line that begins with ``---`` is such a mark wherever it stands, in quotes and block
    scalars too, so the cut is exact; and an error in one document does not hide the next.
    """
    starts = [0]
    for mark in _BREAK.finditer(text):
        # "..." ends a document and belongs to it; what follows is the next one.
        starts.append(mark.start() if mark.group() == "---" else mark.end())
    starts.append(len(text))
    line = 1
    for start, end in itertools.pairwise(starts):
        if _has_content(text, start, end):
            yield DocumentSpan(start, end, line)
        line += text.count("\n", start, end)


_IDLE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n|%[^\n]*\n|---[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z))*")


def _has_content(text: str, start: int, end: int) -> bool:
    """False where a part holds only blank lines, comments, directives and its mark."""
    match = _IDLE.match(text, start, end)
    at = match.end() if match else start
    rest = text[at:end].strip()
    return bool(rest) and not (rest.startswith("#") and "\n" not in rest)


def resolve(text: str) -> Any:
    """The value of a plain scalar."""
    if text and text[0] not in _TYPED_START:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        return _integer(digits)
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        # Kubernetes goes through JSON, where 8.0 is written 8.
        return int(number) if number.is_integer() and abs(number) < 1e15 else number
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def _integer(digits: str) -> int | float:
    sign = -1 if digits[0] == "-" else 1
    digits = digits.lstrip("+-")
    if len(digits) > 400:
        return float("inf")  # beyond any number of JSON; int() would take long
    if digits[0] == "0" and digits.isdigit():
        return sign * int(digits, 8)
    return sign * int(digits, 0)


def _key_text(key: Any, line: int) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int | float):
        return str(key)
    raise TextError(line, "a key must be a string")


def _end(event: Any) -> int:
    return int(event.end_mark.index)


def _is_merge(key: Any) -> bool:
    plain = type(key) is yaml.ScalarEvent and key.tag is None and not key.style
    return plain and key.value == "<<"


class _Builder:
    """One document's events, turned into values.

    ``spans`` receives the places of the elements of the top mapping's ``items``.
    """

    def __init__(self, text: str) -> None:
        self.parser = yaml.CSafeLoader(text)  # only for its events
        self.next: Callable[[], Any] = self.parser.get_event
        self.spans: list[Span] = []
        self.anchors: dict[str, tuple[Any, int]] = {}  # value, how many values it stands for
        self.aliased = 0
        self.end = 0  # where the last collection ended

    def document(self) -> Any:
        while not isinstance(event := self.next(), yaml.DocumentStartEvent):
            if event is None or isinstance(event, yaml.StreamEndEvent):
                return None
        value, _ = self.node(self.next(), 0)
        if not isinstance(event := self.next(), yaml.DocumentEndEvent):
            raise TextError(event.start_mark.line, "the document goes on after its end")
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise TextError(event.start_mark.line, "expected one document")
        return value

    def node(self, event: Any, depth: int) -> tuple[Any, int]:
        """The value that begins with ``event``, and how many values are in it."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            value = self.scalar(event)
            if event.anchor:
                self.anchors[event.anchor] = (value, 1)
            return value, 1
        if kind is yaml.AliasEvent:
            return self.alias(event)
        if depth >= MAX_DEPTH:
            raise TextError(event.start_mark.line, f"nested more than {MAX_DEPTH} levels deep")
        if event.tag not in (None, "!", _TAG + "map", _TAG + "seq"):
            raise TextError(event.start_mark.line, f"unsupported tag {event.tag}")
        build = self.mapping if kind is yaml.MappingStartEvent else self.sequence
        value, size = build(event, depth)
        if event.anchor:
            self.anchors[event.anchor] = (value, size)
        return value, size

    def scalar(self, event: Any) -> Any:
        tag = event.tag
        if tag is None:
            return event.value if event.style else resolve(event.value)
        if tag in ("!", _TAG + "str"):
            return event.value
        value = resolve(event.value)
        line = event.start_mark.line
        match tag.removeprefix(_TAG):
            case "null" if value is None:
                return value
            case "bool" if isinstance(value, bool):
                return value
            case "int" if isinstance(value, int) and not isinstance(value, bool):
                return value
            case "float" if isinstance(value, int | float) and not isinstance(value, bool):
                return value
            case "null" | "bool" | "int" | "float":
                raise TextError(line, f"{event.value!r} is not of its tag {tag}")
        raise TextError(line, f"unsupported tag {tag}")

    def alias(self, event: Any) -> tuple[Any, int]:
        line = event.start_mark.line
        if event.anchor not in self.anchors:
            raise TextError(line, f"unknown anchor {event.anchor!r}")
        value, size = self.anchors[event.anchor]
        self.aliased += size
        if self.aliased > MAX_ALIASED:
            raise TextError(line, "aliases stand for too many values")
        return value, size

    def sequence(self, event: Any, depth: int) -> tuple[list[Any], int]:
        values = []
        size = 1
        while type(event := self.next()) is not yaml.SequenceEndEvent:
            value, part = self.node(event, depth + 1)
            values.append(value)
            size += part
        self.end = _end(event)
        return values, size

    def items(self, event: Any) -> tuple[list[Any], int]:
        """As :meth:`sequence`, for the items of a list object: notes where each is."""
        values = []
        size = 1
        while type(event := self.next()) is not yaml.SequenceEndEvent:
            mark = event.start_mark
            self.end = _end(event)
            value, part = self.node(event, 2)
            self.spans.append(Span(mark.index, self.end, mark.line, mark.column))
            values.append(value)
            size += part
        return values, size

    def mapping(self, event: Any, depth: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        merged: list[Any] = []
        size = 1
        while type(event := self.next()) is not yaml.MappingEndEvent:
            line = event.start_mark.line
            if type(event) is not yaml.ScalarEvent and type(event) is not yaml.AliasEvent:
                raise TextError(line, "a key must be a string")
            if _is_merge(event):
                value, part = self.node(self.next(), depth + 1)
                merged += value if isinstance(value, list) else [value]
                if not all(isinstance(source, dict) for source in merged):
                    raise TextError(line, "only mappings can be merged")
                size += part
                continue
            key = _key_text(self.node(event, depth)[0], line)
            if key in values:
                raise TextError(line, f"duplicate key {key!r}")
            event = self.next()
            if depth == 0 and key == "items" and type(event) is yaml.SequenceStartEvent:
                anchor = event.anchor
                value, part = self.items(event)
                if anchor:
                    self.anchors[anchor] = (value, part)
            else:
                value, part = self.node(event, depth + 1)
            values[key] = value
            size += part
        for source in merged:
            for key, value in source.items():
                values.setdefault(key, value)
        self.end = _end(event)
        return values, size


def parse(text: str) -> tuple[Any, list[Span]]:
    """The value of a text of one document, and where the elements of its ``items`` are.

    Raises :class:`TextError`.
    """
    builder = _Builder(text)
    try:
        return builder.document(), builder.spans
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(filter(None, (error.context, error.problem)))
        raise TextError(mark.line if mark else 0, f"not YAML: {message}") from None
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        raise TextError(0, f"not YAML: {' '.join(str(error).split())}") from None
    finally:
        builder.parser.dispose()
