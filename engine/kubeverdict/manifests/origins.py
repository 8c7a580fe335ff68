"""Lines of fields, found when they are asked for.

A document keeps where its text is; the first question about one of its fields scans that text
once and notes the line of every field. A dump of fifty thousand pods therefore pays nothing for
lines that do not exist in the input, and a line is always that of the text as it was read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from mmap import mmap
from typing import Any

import msgspec
import yaml

from kubeverdict.model.sources import FieldPath

# What a token is: the four brackets of JSON, or SCALAR. YAML events are mapped to the same.
SCALAR = "s"
Token = tuple[str, str, int]  # what, text of a scalar, line counted from 0

# Lines are counted in pieces: a slice of a mapped file is a copy.
_PIECE = 1 << 14
# Of so many items the lines of all fields are kept: a snapshot asks for those of every policy.
_KEPT = 1024
# What may stand between two items of a list.
_BETWEEN_ITEMS = re.compile(rb"[\s,]*")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\],:"]+|\n', re.DOTALL)
_YAML_TOKEN = {
    yaml.ScalarEvent: SCALAR,
    yaml.AliasEvent: SCALAR,
    yaml.MappingStartEvent: "{",
    yaml.MappingEndEvent: "}",
    yaml.SequenceStartEvent: "[",
    yaml.SequenceEndEvent: "]",
}


def lines_by_path(tokens: Iterable[Token], first_line: int) -> dict[FieldPath, int]:
    """The line of each field. That of a mapping's entry is the line of its key."""
    lines: dict[FieldPath, int] = {}
    # A frame is [path, is a mapping, key (None while a key is expected), next index].
    stack: list[list[Any]] = []
    for what, text, line in tokens:
        if what in "]}":
            if not stack:
                break  # text with a closing bracket too many; what came before serves
            stack.pop()
            continue
        path: FieldPath = ()
        if stack:
            frame = stack[-1]
            if frame[1] and frame[2] is None:
                frame[2] = text
                lines.setdefault((*frame[0], text), first_line + line)
                if what == SCALAR:
                    continue
                path = (*frame[0], text)  # a mapping as a key: refused elsewhere
            elif frame[1]:
                path = (*frame[0], frame[2])
                frame[2] = None
            else:
                path = (*frame[0], frame[3])
                lines[path] = first_line + line
                frame[3] += 1
        if what in "[{":
            stack.append([path, what == "{", None, 0])
    return lines


def json_tokens(text: str) -> Iterator[Token]:
    line = 0
    for match in _JSON_TOKEN.finditer(text):
        token = match.group()
        if token == "\n":
            line += 1
        elif token in "{}[]":
            yield token, "", line
        elif token[0] == '"' and "\\" not in token:
            yield SCALAR, token[1:-1], line
        elif token[0] == '"':
            try:
                scalar = json.loads(token, strict=False)
            except ValueError:
                scalar = token
            yield SCALAR, scalar, line
        else:
            yield SCALAR, token, line


def yaml_tokens(text: str) -> Iterator[Token]:
    parser = yaml.CSafeLoader(text)  # only for its events
    try:
        following: Callable[[], Any] = parser.get_event
        while (event := following()) is not None:
            what = _YAML_TOKEN.get(type(event))
            if what is not None:
                yield what, getattr(event, "value", ""), event.start_mark.line
    except yaml.YAMLError:
        return  # what was seen so far serves the fields before the error
    finally:
        parser.dispose()


def _nearest(lines: dict[FieldPath, int], path: FieldPath, default: int) -> int:
    while path:
        line = lines.get(path)
        if line is not None:
            return line
        path = path[:-1]
    return default


class YamlOrigin:
    """A document, or an item of a list, in a YAML file. Implements ``model.sources.Origin``.

    ``start`` and ``end`` are offsets into ``text``, the whole file; ``line`` is that of
    ``start``, counted from 1, and ``column`` that of the first character.
    """

    __slots__ = ("_lines", "column", "end", "file", "line", "start", "text")

    def __init__(
        self, file: str, text: str, start: int, end: int, line: int, column: int = 0
    ) -> None:
        self.file = file
        self.text = text
        self.start = start
        self.end = end
        self.line = line
        self.column = column
        self._lines: dict[FieldPath, int] | None = None

    def slice(self) -> str:
        """The document's own text, indented as in the file, so that it parses by itself."""
        return " " * self.column + self.text[self.start : self.end]

    def line_of(self, path: FieldPath) -> int:
        if not path:
            return self.line
        if self._lines is None:
            self._lines = lines_by_path(yaml_tokens(self.slice()), self.line)
        return _nearest(self._lines, path, self.line)


class _Items(msgspec.Struct):
    items: list[msgspec.Raw]


class JsonText:
    """A JSON value in a file: one object, or a list whose items are objects.

    ``data``, which begins at ``line`` of the file, is the value from ``start`` to ``end``.
    Offsets and lines of all items are found together, on the first question.
    """

    def __init__(
        self, file: str, data: bytes | mmap, start: int, end: int, *, listed: bool, line: int = 1
    ) -> None:
        self.file = file
        self.data = data
        self.start = start
        self.end = end
        self.listed = listed
        self.first = line
        self._spans: list[tuple[int, int]] = []
        self._newlines = [0]  # before each piece of the data, as far as was needed
        self._fields: dict[int, dict[FieldPath, int]] = {}

    def line(self, index: int) -> int:
        if not self._spans:
            self._locate()
        start = self._spans[index if index < len(self._spans) else 0][0]
        whole, before = start // _PIECE, self._newlines
        while len(before) <= whole:
            at = (len(before) - 1) * _PIECE
            before.append(before[-1] + self.data[at : at + _PIECE].count(b"\n"))
        return self.first + before[whole] + self.data[whole * _PIECE : start].count(b"\n")

    def fields(self, index: int) -> dict[FieldPath, int]:
        if index not in self._fields:
            line = self.line(index)
            start, end = self._spans[index]
            text = self.data[start:end].decode("utf-8", "replace")
            if len(self._fields) >= _KEPT:
                self._fields.clear()
            self._fields[index] = lines_by_path(json_tokens(text), line)
        return self._fields[index]

    def value(self, index: int) -> Any:
        """The content of one item."""
        if not self._spans:
            self._locate()
        start, end = self._spans[index]
        return msgspec.json.decode(self.data[start:end])

    def _locate(self) -> None:
        if self.listed:
            with memoryview(self.data) as view, view[self.start : self.end] as value:
                items = msgspec.json.decode(value, type=_Items).items
                at = self.data.find(bytes(items[0]), self.start) if items else self.start
                for length in map(len, items):
                    # Only a comma and white space lie between an item and the next.
                    between = _BETWEEN_ITEMS.match(self.data, at)
                    at = between.end() if between else at
                    self._spans.append((at, at + length))
                    at += length
                del items
        else:
            self._spans.append((self.start, self.end))


class JsonOrigin(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The ``index``-th item of a JSON text. Implements ``model.sources.Origin``."""

    text: JsonText
    index: int = 0

    @property
    def file(self) -> str:
        return self.text.file

    def line_of(self, path: FieldPath) -> int:
        line = self.text.line(self.index)
        return _nearest(self.text.fields(self.index), path, line) if path else line


class FileOrigin(msgspec.Struct, frozen=True, eq=False):
    """A place in a file that holds no readable document. Implements ``model.sources.Origin``."""

    file: str
    line: int = 0

    def line_of(self, path: FieldPath) -> int:
        return self.line
