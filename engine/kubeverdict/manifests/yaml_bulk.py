"""Large YAML quickly: rapidyaml for the plain part, PyYAML for everything in doubt.

rapidyaml is several times faster than PyYAML but laxer, and types some scalars otherwise
(duplicate keys pass, ``yes`` is a string). So a text is cut into its documents and the items of
its list, and only a piece whose every line has one of a few plain forms, on which both agree,
goes to rapidyaml; its answer is used only where it has as many objects as were given and no key
twice. All other pieces, and all policies, go to PyYAML one by one.

The cut is safe. Where a line that looks like the start of an item is really inside a quoted
scalar, the piece before it ends with a quote open, which is no plain form and which PyYAML
refuses; then it reads the whole document. A text in which an alias may refer to an anchor of
another item is not cut.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import msgspec
import ryml

from kubeverdict.manifests import documents, json_text, yaml_text
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.findings import Findings
from kubeverdict.manifests.origins import YamlOrigin
from kubeverdict.manifests.policies import MARKS
from kubeverdict.manifests.yaml_text import DocumentSpan, Span

# Pieces are given to rapidyaml in batches of about this many characters: its tree of a whole
# dump would be several times the dump.
_BATCH = 1 << 20

# Scalars that the two readers type differently, or might.
_TYPED = (
    r"(?:[yYnN]|[yY]es|YES|[nN]o|NO|[oO]n|ON|[oO]ff|OFF|True|TRUE|False|FALSE|Null|NULL"
    r"|-?(?i:inf|nan|infinity)"
    r"|-?0(?:[0-9_][0-9_.]*|[xX][0-9a-fA-F_]*|[oObB][0-9_]*)"
    r"|-?[0-9][0-9.]*_[0-9_.]*"
    r"|-?[0-9]+\.[0-9]*"
    r"|-?[0-9.]+[eE][-+]?[0-9]+"
    r"|-?[0-9]{16,})"
)
_PLAIN = (
    rf"(?!{_TYPED}\ *\n)(?:[A-Za-z0-9/_$(]|--?[A-Za-z0-9])"
    r"(?:[ !-\"$-9;-~]|:(?=[!-~])|(?<=[!-~])\#)*+"
)
_DOUBLE = r'"(?:[ !#-\[\]-~]|\\["\\n])*+"'
_SINGLE = r"'(?:[ -&(-~]|'')*+'"
_VALUE = rf"(?:{_PLAIN}|{_DOUBLE}|{_SINGLE}|\{{\}}|\[\])\ *\n"
_KEY = rf"(?:(?!(?:{_TYPED}|null):)[A-Za-z_][A-Za-z0-9_./-]*+|\.|f:[!-9;-~]++|{_DOUBLE}|{_SINGLE}):"
# Lines, each with what may not follow: a line that is deeper would go on with the scalar.
# Indentation is bounded because rapidyaml writes JSON at most 64 levels deep.
_LINES = rf"""
(?>(?P<indent>\ {{0,28}}+)(?:
    -\ (?: {_KEY}(?: \ {_VALUE}(?!\n*(?P=indent)\ \ \ )|\ *\n )
         | {_VALUE}(?!\n*(?P=indent)\ ) )
  | {_KEY}(?: \ {_VALUE}(?!\n*(?P=indent)\ )
            | \ *\n
            | \ \|-?\n(?P<inner>(?P=indent)\ ++)[!-~][ -~]*+\n(?:(?P=inner)[ -~]*+\n|\n)*+
              (?!(?P=indent)\ ) )
  | \n
))*+
"""
_plain = re.compile(_LINES, re.VERBOSE).fullmatch
_preamble = re.compile(r"(?:---[ ]*\n)?(?:#[ -~]*\n|\n)*")

_first_item = re.compile(r"^items:[ ]*\n(?P<indent> *)- ", re.MULTILINE)
# The sign comes first, for speed; then that nothing but a blank or a bracket is before it.
_anchor = re.compile(r"&(?<![^\s,\[{]&)([^\s,\[\]{}]+)")
_alias = re.compile(r"\*(?<![^\s,\[{]\*)([^\s,\[\]{}]+)")

_P = TypeVar("_P", DocumentSpan, Span)
_other_breaks = re.compile("[\x85\u2028\u2029]")  # libyaml counts a line at these too
_raws = msgspec.json.Decoder(list[msgspec.Raw])


def read(name: str, text: str, findings: Findings) -> Iterator[Document]:
    """The documents of a large YAML text, the same as PyYAML's, in the same order."""
    loose: list[DocumentSpan] = []
    for part in yaml_text.documents(text):
        cut = _cut(text, part)
        if cut is None:
            loose.append(part)
            continue
        yield from _read_parts(name, text, loose, findings)
        loose.clear()
        yield from _read_items(name, text, cut, findings)
    yield from _read_parts(name, text, loose, findings)


def _read_parts(
    name: str, text: str, parts: Iterable[DocumentSpan], findings: Findings
) -> Iterator[Document]:
    """Documents that are not cut."""
    for batch in _batches(parts):
        bodies = _objects([_part_text(text, part) for part in batch], "---\n")
        for part, body in zip(batch, bodies, strict=True):
            if body is None:
                yield from documents.from_yaml(name, text, part, findings)
            else:
                yield Document(YamlOrigin(name, text, part.start, part.end, part.line), body)


def _part_text(text: str, part: DocumentSpan) -> str | None:
    """The document without its mark, or None where PyYAML must read it."""
    whole = text[part.start : part.end]
    preamble = _preamble.match(whole)
    if _is_strict(whole) or ("List" in whole and "items" in whole) or preamble is None:
        return None
    rest = whole[preamble.end() :]
    return rest if rest and _plain(rest) else None


class _List(NamedTuple):
    """A list object, cut: what its items are where they do not say so, and where they are."""

    kind: str | None
    api_version: str | None
    items: list[Span]
    whole: DocumentSpan


def _cut(text: str, part: DocumentSpan) -> _List | None:
    """The items of a document that is a list in block style; None where it is not, or where
    cutting it by lines may not be what YAML means."""
    first = _first_item.search(text, part.start, part.end)
    if first is None:
        return None
    indent = first["indent"]
    start = first.start("indent")
    outside = re.compile(rf"^(?!{indent}(?:- | )|\n)", re.MULTILINE)
    after = outside.search(text, start, part.end)
    end = after.start() if after else part.end
    header = text[part.start : first.start()] + text[end : part.end]
    if not header.endswith("\n"):
        header += "\n"
    preamble = _preamble.match(header)
    if preamble is None or not _plain(header[preamble.end() :]):
        return None
    try:
        value, _ = yaml_text.parse(header)
    except yaml_text.TextError:
        return None
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or not kind.endswith("List") or "items" in value:
        return None
    body = text[start:end]
    if re.search(rf"^{indent}- (?=[ \n#])", body, re.MULTILINE):
        return None  # an item that begins elsewhere than after its dash
    if _is_strict(kind) or "\r" in body or (not body.isascii() and _other_breaks.search(body)):
        return None
    if not set(_anchor.findall(body)).isdisjoint(_alias.findall(body)):
        return None
    api_version = value.get("apiVersion")
    found = api_version if isinstance(api_version, str) else None
    spans = _spans(text, part, start, end, indent)
    return _List(*documents.list_item_kind(kind, found), list(spans), part)


def _spans(text: str, part: DocumentSpan, start: int, end: int, indent: str) -> Iterator[Span]:
    dash = re.compile(rf"^{indent}- ", re.MULTILINE)
    line = part.line + text.count("\n", part.start, start)
    starts = [match.end() for match in dash.finditer(text, start, end)]
    column = len(indent) + 2
    for at, following in zip(starts, [*(each - column for each in starts[1:]), end], strict=True):
        yield Span(at, following, line, column)
        line += text.count("\n", at, following)


def _read_items(name: str, text: str, cut: _List, findings: Findings) -> Iterator[Document]:
    read = 0
    for batch in _batches(cut.items):
        texts = [text[span.start - span.column : span.end] for span in batch]
        plain = [None if _is_strict(item) or not _plain(item) else item for item in texts]
        for span, body in zip(batch, _objects(plain, ""), strict=True):
            origin = YamlOrigin(name, text, span.start, span.end, span.line, span.column)
            if body is not None:
                yield Document(origin, body, None, cut.kind, cut.api_version, True)
                read += 1
                continue
            try:
                yield documents.item_from_yaml(origin, cut.kind, cut.api_version)
                read += 1
            except yaml_text.TextError:
                # Either the text is wrong, or the cut was and this is part of an item.
                whole = documents.from_yaml(name, text, cut.whole, findings)
                yield from itertools.islice(whole, read, None)
                return


def _is_strict(text: str) -> bool:
    """Is there a policy in it, or may be? Those are always read by PyYAML."""
    return any(mark in text for mark in MARKS)


def _batches(pieces: Iterable[_P]) -> Iterator[list[_P]]:
    batch: list[_P] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += piece.end - piece.start
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def _silent() -> Iterator[None]:
    """rapidyaml writes errors to standard error by itself; PyYAML says the same, and where."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _objects(texts: list[str | None], mark: str) -> list[msgspec.Raw | None]:
    """The JSON of each text that is not None; None for all where rapidyaml cannot be trusted.

    ``mark`` stands before each text: a document mark, or nothing for items of a sequence.
    """
    given = [f"{mark}{text}" for text in texts if text is not None]
    nothing: list[msgspec.Raw | None] = [None] * len(texts)
    if not given:
        return nothing
    try:
        with _silent():
            written = ryml.emit_json(ryml.parse_in_arena("".join(given).encode()))
        text = written.encode()
        bodies = _raws.decode(text)
        again = msgspec.json.encode(msgspec.json.decode(text))
    except Exception:  # whatever rapidyaml dislikes, PyYAML names
        return nothing
    if len(bodies) != len(given) or json_text.colons(text) != json_text.colons(again):
        return nothing
    found = iter(bodies)
    return [None if text is None else next(found) for text in texts]
