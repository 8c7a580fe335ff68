"""Logs to batches of records, whatever their format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec

from kubeverdict.errors import InputError, Problem, UsageError
from kubeverdict.flowlogs import columns, parquet, sources
from kubeverdict.flowlogs.columns import Mapping
from kubeverdict.flowlogs.fields import HEADING
from kubeverdict.flowlogs.sniffing import LOOKED_AT, Parse, sniff
from kubeverdict.model.flows import FlowRecord


@dataclass(slots=True)
class LineBatch:
    """Some lines of one file.

    ``skipped`` counts lines that are no connections, by what they are; ``malformed`` are lines
    that cannot be read, all of them.
    """

    records: list[FlowRecord]
    lines: int
    skipped: Counter[str] = field(default_factory=Counter)
    malformed: list[Problem] = field(default_factory=list)


def read(
    paths: Sequence[str], stdin: BinaryIO | None = None, mapping: Mapping | None = None
) -> Iterator[LineBatch]:
    """The records of the logs behind ``paths``: files, folders, ``-`` for standard input.

    Raises InputError for what cannot be opened and for files in no format that is known.
    """
    mapping = mapping or Mapping()
    for path in sources.files(paths):
        name = sources.STDIN if path == "-" else path
        try:
            if path == "-":
                if stdin is None:
                    raise UsageError("there is no standard input to read flows from")
                yield from _lines(stdin, name, mapping)
                continue
            with open(path, "rb") as stream:
                if stream.peek(4)[:4] == parquet.MAGIC:
                    yield from _rows(path, mapping)
                else:
                    yield from _lines(stream, path, mapping)
        except OSError as error:
            message = f"cannot be read: {error.strerror or error}"
            raise InputError([Problem(name, 0, "", message)]) from None


def _lines(stream: BinaryIO, name: str, mapping: Mapping) -> Iterator[LineBatch]:
    head = sources.more(stream)
    parse: Parse | None = None
    held: list[sources.Chunk] = []
    for chunk in sources.chunks(stream, name, head):
        if parse is None:
            # A pipe may return fewer lines than are needed to detect the format.
            held.append(chunk)
            seen = [line for one in held for line in one.lines]
            if len(seen) < LOOKED_AT and not (chunk.wrong and chunk.lines):
                try:
                    parse = sniff(name, seen, mapping)
                except InputError:
                    continue
            else:
                parse = sniff(name, seen, mapping)
            for one in held:
                yield _parsed(one, name, parse)
            held = []
        else:
            yield _parsed(chunk, name, parse)
    if held:
        seen = [line for one in held for line in one.lines]
        if not any(line.strip() for line in seen):
            yield from (_malformed(one, name) for one in held if one.wrong)
            return
        parse = sniff(name, seen, mapping)
        for one in held:
            yield _parsed(one, name, parse)


def _malformed(chunk: sources.Chunk, name: str) -> LineBatch:
    return LineBatch([], 1, malformed=[Problem(name, chunk.first, "", chunk.wrong)])


def _parsed(chunk: sources.Chunk, name: str, parse: Parse) -> LineBatch:
    if chunk.wrong:
        return _malformed(chunk, name)
    records: list[FlowRecord] = []
    batch = LineBatch(records, len(chunk.lines))
    add = records.append
    for number, line in enumerate(chunk.lines, chunk.first):
        try:
            found = parse(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            if not line.strip():
                batch.lines -= 1
            else:
                batch.malformed.append(Problem(name, number, "", _reason(error)))
            continue
        if type(found) is FlowRecord:
            add(found)
        elif found is HEADING:
            batch.lines -= 1
        else:
            assert isinstance(found, str)
            batch.skipped[found] += 1
    return batch


def _rows(path: str, mapping: Mapping) -> Iterator[LineBatch]:
    first = 1
    row_of = columns.rows_of(mapping)
    for rows in parquet.rows(os.fspath(path), mapping):
        batch = LineBatch([], len(rows))
        for number, row in enumerate(rows, first):
            try:
                found = columns.record(row_of(row))
            except ValueError as error:
                batch.malformed.append(Problem(path, number, "", _reason(error)))
                continue
            if isinstance(found, FlowRecord):
                batch.records.append(found)
            else:
                batch.skipped[found] += 1
        first += len(rows)
        yield batch


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    return str(error) or type(error).__name__
