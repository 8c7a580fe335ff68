"""JSON text to plain values and to slices, strictly.

msgspec does the work. It accepts duplicate keys, where the last one silently wins; a text that
has one comes out shorter when it is written again, which shows it without a Python call per key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from mmap import mmap
from typing import Any

import msgspec

Bytes = bytes | memoryview | msgspec.Raw

_any = msgspec.json.Decoder()
_raw_lines = msgspec.json.Decoder(msgspec.Raw)


class JsonError(Exception):
    """Text that is not JSON, or has a key twice. ``at`` is a byte offset where one is known."""

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def parse(text: Bytes) -> Any:
    """The value of a JSON text. Raises :class:`JsonError`, for duplicate keys too."""
    try:
        value = _any.decode(text)
        same = colons(bytes(text)) == colons(msgspec.json.encode(value))
    except RecursionError:
        raise JsonError("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise JsonError(*described(error, len(text))) from None
    if not same:
        _name_duplicate(bytes(text))
    return value


def colons(text: bytes) -> int:
    """How often a quote is followed by a colon.

    Once for each key; and inside strings, where it is the same however the string is written,
    since a quote is always escaped and a colon never. So two spellings of one value agree, and
    dropping a key makes a difference.
    """
    return text.count(b'":')


def _name_duplicate(text: bytes) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            name = next(key for key in keys if keys.count(key) > 1)
            raise JsonError(f"duplicate key {name!r}")
        return found

    # Blanks between a key and its colon make the counts differ too, and are no duplicate.
    json.loads(text, object_pairs_hook=once)


def described(error: Exception, length: int) -> tuple[str, int]:
    """msgspec's complaint in our words, and the byte it is about."""
    message = str(error)
    if "truncated" in message:
        return "not JSON: the text ends too early", length
    text, _, byte = message.removesuffix(")").rpartition(" (byte ")
    at = int(byte) if byte.isdigit() else 0
    return f"not JSON: {(text or message).removeprefix('JSON is malformed: ')}", at


def concatenated(data: bytes | mmap) -> Iterator[tuple[int, int]]:
    """Offsets of the values of a text that holds several: JSON Lines, or one after another.

    Raises :class:`JsonError`.
    """
    try:
        values = _raw_lines.decode_lines(data[:])
    except RecursionError:
        raise JsonError("nested too deeply") from None
    except msgspec.DecodeError:
        yield from _one_after_another(data[:])
        return
    at = 0
    for value in values:
        at = data.find(bytes(value), at)
        yield at, at + len(value)
        at += len(value)


def _one_after_another(data: bytes) -> Iterator[tuple[int, int]]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8 text: {error.reason}", error.start) from None
    decoder = json.JSONDecoder()
    at = position = 0  # in bytes, in characters
    while position < len(text):
        rest = text[position : position + 1]
        if rest in " \t\r\n":
            position += 1
            at += 1
            continue
        try:
            _, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise JsonError(f"not JSON: {error.msg}", at) from None
        except RecursionError:
            raise JsonError("nested too deeply", at) from None
        size = len(text[position:end].encode())
        yield at, at + size
        at += size
        position = end
