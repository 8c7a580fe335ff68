"""The values in a YAML or JSON file, lists taken apart, each knowing the lines of its fields.

For files of our own: what is in them is small compared with a cluster, so values are plain and
whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from kubeverdict.errors import Problem
from kubeverdict.manifests import json_text, yaml_text
from kubeverdict.manifests.origins import json_tokens, lines_by_path, yaml_tokens
from kubeverdict.model.sources import FieldPath

_LINES = (".jsonl", ".ndjson")
_JSON = (".json", *_LINES)


class Text:
    """One document of a file. Implements ``model.sources.Origin``."""

    def __init__(self, file: str, text: str, line: int, value: Any, is_json: bool) -> None:
        self.file = file
        self.text = text
        self.line = line
        self.value = value
        self._tokens = json_tokens if is_json else yaml_tokens
        self._known: dict[FieldPath, int] = {}

    def line_of(self, path: FieldPath) -> int:
        if "\n" not in self.text:
            return self.line
        if not self._known:
            self._known = lines_by_path(self._tokens(self.text), self.line)
            self._known.setdefault((), self.line)
        while path not in self._known:
            path = path[:-1]
        return self._known[path]

    def excerpt(self, path: FieldPath, **missing: str) -> tuple[str, int]:
        """The value at ``path`` as JSON, and its line: each field stands as many lines below
        that as in the file. ``missing`` are fields to put in front."""
        if not path and not missing:
            return self.text, self.line
        value = self.value
        for step in path:
            value = value[step]
        first = self.line_of(path)
        out: list[str] = []
        self._write({**missing, **value} if missing else value, path, first, out)
        return "".join(out), first

    def _write(self, value: Any, path: FieldPath, line: int, out: list[str]) -> int:
        """Append ``value`` to text that is at ``line``; returns the line after it."""
        if isinstance(value, dict):
            mark = "{"
            for key, item in value.items():
                line = self._go_to((*path, key), line, mark, out)
                out.append(f"{_json(key)}:")
                line = self._write(item, (*path, key), line, out)
                mark = ","
            out.append("}" if value else "{}")
        elif isinstance(value, list):
            mark = "["
            for index, item in enumerate(value):
                line = self._go_to((*path, index), line, mark, out)
                line = self._write(item, (*path, index), line, out)
                mark = ","
            out.append("]" if value else "[]")
        else:
            out.append(_json(value))
        return line

    def _go_to(self, path: FieldPath, line: int, mark: str, out: list[str]) -> int:
        target = max(line, self.line_of(path))
        out.append(mark + "\n" * (target - line))
        return target


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class Entry(NamedTuple):
    """A value: a document, or an item of one that is a list; ``at`` is its path in it."""

    text: Text
    at: FieldPath
    value: Any


def entries(file: str, text: str) -> Iterator[Entry | Problem]:
    """The values in ``text``, the content of ``file``; a problem in place of what is unreadable.

    JSON Lines are read line by line, so that one that is broken hides no other.
    """
    lower = file.lower()
    if lower.endswith(_LINES):
        found = _json_lines(file, text)
    elif lower.endswith(_JSON):
        found = _json_values(file, text)
    elif text.lstrip()[:1] in ("{", "["):
        values = list(_json_values(file, text))
        in_flow_style = any(isinstance(one, Problem) for one in values)
        found = _yaml_documents(file, text) if in_flow_style else iter(values)
    else:
        found = _yaml_documents(file, text)
    for one in found:
        if isinstance(one, Problem):
            yield one
        elif isinstance(one.value, list):
            yield from (Entry(one, (index,), item) for index, item in enumerate(one.value))
        elif one.value is not None:
            yield Entry(one, (), one.value)


def _json_lines(file: str, text: str) -> Iterator[Text | Problem]:
    for line, piece in enumerate(text.split("\n"), start=1):
        if piece.strip():
            try:
                yield Text(file, piece, line, json_text.parse(piece.encode()), True)
            except json_text.JsonError as error:
                yield Problem(file, line, "", error.message)


def _json_values(file: str, text: str) -> Iterator[Text | Problem]:
    data = text.encode()
    line, at = 1, 0
    try:
        for start, end in json_text.concatenated(data):
            line += data.count(b"\n", at, start)
            at = start
            piece = data[start:end]
            try:
                yield Text(file, piece.decode(), line, json_text.parse(piece), True)
            except json_text.JsonError as error:
                yield Problem(file, line + piece.count(b"\n", 0, error.at), "", error.message)
    except json_text.JsonError as error:
        yield Problem(file, 1 + data.count(b"\n", 0, error.at), "", error.message)


def _yaml_documents(file: str, text: str) -> Iterator[Text | Problem]:
    for part in yaml_text.documents(text):
        piece = text[part.start : part.end]
        try:
            value, _ = yaml_text.parse(piece)
        except yaml_text.TextError as error:
            yield Problem(file, part.line + error.line, "", error.message)
        else:
            yield Text(file, piece, part.line, value, False)
