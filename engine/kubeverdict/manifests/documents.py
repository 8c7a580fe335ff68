"""Documents: the objects of a file, lists taken apart, each with its place.

A document's content is JSON bytes, or the value itself where PyYAML read it. Every item of a
list is a document of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from kubeverdict.manifests import json_text, yaml_text
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.origins import FileOrigin, JsonOrigin, JsonText, YamlOrigin
from kubeverdict.model.sources import Origin


class Document(msgspec.Struct, gc=False):
    """One object of the input, undecoded.

    ``kind`` and ``api_version`` are those that the item of a typed list has without saying so.
    ``body`` is JSON; ``value`` is set in its place where PyYAML read the document. ``empty``
    stands for a list without items, so that its file is not taken to hold nothing.
    """

    origin: Origin
    body: Raw | memoryview | bytes | None = None
    value: Any = None
    kind: str | None = None
    api_version: str | None = None
    listed: bool = False
    empty: bool = False

    @property
    def has_containers(self) -> bool:
        """Whether it may hold a pod template: a look at its bytes, without reading it."""
        return self.body is not None and b'"containers"' in bytes(self.body)


class _Top(msgspec.Struct):
    kind: str | None = None
    apiVersion: str | None = None
    items: list[Raw] | UnsetType | None = UNSET


class _Kind(msgspec.Struct):
    kind: str | None = None
    apiVersion: str | None = None


_top = msgspec.json.Decoder(_Top)
_kind = msgspec.json.Decoder(_Kind)


def from_json(name: str, data: bytes | mmap, line: int = 1) -> Iterator[Document]:
    """The documents of JSON text, which begins at ``line``: one value, or several in a row.

    Raises :class:`json_text.JsonError`, perhaps after documents that precede the error.
    """
    try:
        top, listed = _decode_top(data)
    except _SeveralValuesError:
        values = list(json_text.concatenated(data))
        for start, end in values:
            yield from _json_value(name, data, start, end, line)
        return
    yield from _json_documents(JsonText(name, data, 0, len(data), listed=listed, line=line), top)


class _SeveralValuesError(Exception):
    """A JSON text goes on after its first value."""


def _decode_top(data: bytes | memoryview | mmap) -> tuple[_Top, bool]:
    """The outside of an object and whether it is a list of objects."""
    view = memoryview(data)
    try:
        top = _top.decode(view)
    except RecursionError:
        raise json_text.JsonError("nested too deeply") from None
    except msgspec.ValidationError:
        return _decode_kind(view), False
    except (msgspec.DecodeError, UnicodeError) as error:
        if "trailing characters" in str(error):
            raise _SeveralValuesError from None
        raise json_text.JsonError(*json_text.described(error, len(data))) from None
    is_list = (top.kind or "").endswith("List") and top.items is not UNSET
    return top, is_list


def _decode_kind(view: memoryview) -> _Top:
    """For an object whose ``items`` is something else."""
    try:
        return _Top(_kind.decode(view).kind)
    except msgspec.ValidationError:
        return _Top()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise json_text.JsonError(*json_text.described(error, len(view))) from None


def _json_value(
    name: str, data: bytes | mmap, start: int, end: int, line: int
) -> Iterator[Document]:
    top, listed = _decode_top(memoryview(data)[start:end])
    yield from _json_documents(JsonText(name, data, start, end, listed=listed, line=line), top)


def _json_documents(text: JsonText, top: _Top) -> Iterator[Document]:
    if not text.listed:
        yield Document(JsonOrigin(text), memoryview(text.data)[text.start : text.end])
        return
    kind, api_version = list_item_kind(top.kind, top.apiVersion)
    items = top.items or ()
    for index, item in enumerate(items):
        yield Document(JsonOrigin(text, index), item, None, kind, api_version, True)
    if not items:
        yield Document(JsonOrigin(text), empty=True)


def list_item_kind(kind: str | None, api_version: str | None) -> tuple[str | None, str | None]:
    """What the items of a list are where they do not say so."""
    if not kind or kind == "List":
        return None, None
    return kind.removesuffix("List"), api_version


def from_yaml(
    name: str, text: str, part: yaml_text.DocumentSpan, findings: Findings
) -> Iterator[Document]:
    """The documents of one part of a YAML stream, read by PyYAML. Errors are reported."""
    try:
        value, spans = yaml_text.parse(text[part.start : part.end])
    except yaml_text.TextError as error:
        DocumentPlace(findings, FileOrigin(name, part.line + error.line)).error((), error.message)
        return
    if value is None:
        return
    origin = YamlOrigin(name, text, part.start, part.end, part.line)
    kind = value.get("kind") if isinstance(value, dict) else None
    items = value.get("items") if isinstance(kind, str) and kind.endswith("List") else None
    if not isinstance(items, list):
        yield Document(origin, None, value)
        return
    if not items:
        yield Document(origin, empty=True)
    found = value.get("apiVersion")
    item_kind, api_version = list_item_kind(kind, found if isinstance(found, str) else None)
    for index, item in enumerate(items):
        place = origin
        if spans:  # none where the items are an alias
            span = spans[index]
            place = YamlOrigin(
                name,
                text,
                part.start + span.start,
                part.start + span.end,
                part.line + span.line,
                span.column,
            )
        yield Document(place, None, item, item_kind, api_version, True)


def item_from_yaml(origin: YamlOrigin, kind: str | None, api_version: str | None) -> Document:
    """An item that was cut out of a list, read by PyYAML.

    Raises :class:`yaml_text.TextError`.
    """
    value, _ = yaml_text.parse(origin.slice())
    return Document(origin, None, value, kind, api_version, True)
