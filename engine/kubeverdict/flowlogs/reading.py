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
from kubeverdict.flowlogs.sniffing import LOOKED_AT, Format, sniff
from kubeverdict.model.flows import FlowRecord


@dataclass(slots=True)
class Batch:
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
) -> Iterator[Batch]:
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


def _lines(stream: BinaryIO, name: str, mapping: Mapping) -> Iterator[Batch]:
    head = sources.more(stream)
    form: Format | None = None
    held: list[sources.Chunk] = []
    for chunk in sources.chunks(stream, name, head):
        if form is None:
            # A pipe may hand over less than the lines that tell the format.
            held.append(chunk)
            seen = [line for one in held for line in one.lines]
            if len(seen) < LOOKED_AT and not (chunk.wrong and chunk.lines):
                try:
                    form = sniff(name, seen, mapping)
                except InputError:
                    continue
            else:
                form = sniff(name, seen, mapping)
            for one in held:
                yield _parsed(one, name, form)
            held = []
        else:
            yield _parsed(chunk, name, form)
    if held:
        seen = [line for one in held for line in one.lines]
        if not any(line.strip() for line in seen):
            yield from (_malformed(one, name) for one in held if one.wrong)
            return
        form = sniff(name, seen, mapping)
        for one in held:
            yield _parsed(one, name, form)


def _malformed(chunk: sources.Chunk, name: str) -> Batch:
    return Batch([], 1, malformed=[Problem(name, chunk.first, "", chunk.wrong)])


def _parsed(chunk: sources.Chunk, name: str, form: Format) -> Batch:
    if chunk.wrong:
        return _malformed(chunk, name)
    records: list[FlowRecord] = []
    batch = Batch(records, len(chunk.lines))
    parse, add = form.parse, records.append
    for number, line in enumerate(chunk.lines, chunk.first):
        try:
            found = parse(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            if not line.strip():
                batch.lines -= 1
            elif not (form.heading and number == 1):
                batch.malformed.append(Problem(name, number, "", _reason(error)))
            continue
        if type(found) is FlowRecord:
            add(found)
        elif not (form.heading and number == 1):
            assert isinstance(found, str)
            batch.skipped[found] += 1
    if form.heading and chunk.first == 1:
        batch.lines -= 1
    return batch


def _rows(path: str, mapping: Mapping) -> Iterator[Batch]:
    first = 1
    for rows in parquet.rows(os.fspath(path), mapping):
        batch = Batch([], len(rows))
        for number, row in enumerate(rows, first):
            try:
                found = columns.record(columns.row_of(row), mapping)
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
