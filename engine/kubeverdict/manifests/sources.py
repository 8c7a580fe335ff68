"""Paths to named bytes: files, folders, standard input.

Text in UTF-16 or UTF-32 that says so by a byte order mark is turned into UTF-8 here, so that
everything later reads UTF-8 alone. What cannot be read is reported and left to the caller: a
missing file is never a reason to go on with less.
"""

from __future__ import annotations

import codecs
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from mmap import ACCESS_READ, mmap
from typing import BinaryIO

from kubeverdict.errors import Problem
from kubeverdict.manifests import folders
from kubeverdict.manifests.findings import Findings
from kubeverdict.model.counts import listed

STDIN = "<stdin>"
# So many of the paths that are passed over are named for each reason.
_NAMED = 3
_SPECIAL = {stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}

# From here on a file is mapped, not copied. Smaller ones are copied because a mapped file that
# another process shortens ends this one.
_MAPPED = 16 << 20

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Buffer:
    """The bytes of one file. ``path`` is what the user named: the file, or a folder above it.
    ``line`` is that of the first byte, where the bytes are a part of the file."""

    __slots__ = ("data", "line", "name", "path")

    def __init__(self, name: str, path: str, data: bytes | mmap, line: int = 1) -> None:
        self.name = name
        self.path = path
        self.data = data
        self.line = line

    @property
    def direct(self) -> bool:
        """Was the file itself named, rather than found in a folder?"""
        return self.name == self.path


def read(
    paths: Sequence[str], stdin: BinaryIO | None, findings: Findings, mapped: bool = True
) -> Iterator[Buffer]:
    """The files behind ``paths`` in order, folders in name order; ``-`` is standard input.
    ``mapped``: large files are mapped, not copied."""
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            findings.fatal.append(Problem(_shown(path), 0, "", "is named twice"))
            continue
        seen.add(path)
        if path == "-":
            yield from _standard_input(stdin or sys.stdin.buffer, findings)
        elif os.path.isdir(path):
            before = len(findings.errors)
            files = list(folders.manifests(path, findings))
            if not files and len(findings.errors) == before:
                message = "this folder holds no *.yaml, *.yml or *.json file"
                if findings.passed_over:
                    message += f"; passed over: {passed_over(findings.passed_over)}"
                findings.fatal.append(Problem(path, 0, "", message))
            for file in files:
                yield from _open(file, path, findings, mapped)
        elif not folders.report_kustomization(path, findings):
            yield from _open(path, path, findings, mapped)


def text(buffer: Buffer, findings: Findings) -> str | None:
    """The text of a file; None, and an error, where it is not UTF-8."""
    try:
        return buffer.data[:].decode()
    except UnicodeDecodeError as error:
        message = f"not UTF-8 text: {error.reason} at byte {error.start}"
        findings.errors.append(Problem(buffer.name, 0, "", message))
        return None


def passed_over(found: Mapping[str, Sequence[str]]) -> str:
    """Files and folders that were not read, by the reason, in a few words."""
    parts = []
    for reason, paths in found.items():
        parts.append(f"{listed(paths, _NAMED)} ({reason})")
    return "; ".join(parts)


def _shown(path: str) -> str:
    return STDIN if path == "-" else path


def _open(name: str, path: str, findings: Findings, mapped: bool) -> Iterator[Buffer]:
    data: bytes | mmap | None
    try:
        kind = _SPECIAL.get(stat.S_IFMT(os.stat(name).st_mode))
        if kind is not None:
            message = f"is {kind}, not a file; - reads standard input"
            findings.fatal.append(Problem(name, 0, "", message))
            return
        # Opening a pipe waits for a writer, as in every other program.
        with open(name, "rb") as file:
            handle, status = file.fileno(), os.fstat(file.fileno())
            if mapped and stat.S_ISREG(status.st_mode) and status.st_size >= _MAPPED:
                data = mmap(handle, 0, access=ACCESS_READ)
            else:
                data = file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        findings.fatal.append(Problem(name, 0, "", f"cannot be read: {reason}"))
        return
    data = _convert(data, name, findings)
    if data is not None:
        yield Buffer(name, path, data)


def _standard_input(stdin: BinaryIO, findings: Findings) -> Iterator[Buffer]:
    try:
        data = _convert(stdin.read(), STDIN, findings)
    except OSError as error:
        findings.fatal.append(Problem(STDIN, 0, "", f"cannot be read: {error.strerror}"))
        return
    if data is not None:
        yield Buffer(STDIN, STDIN, data)


def _convert(data: bytes | mmap, name: str, findings: Findings) -> bytes | mmap | None:
    for mark, encoding in _MARKS:
        if data[: len(mark)] == mark:
            try:
                return data[:].decode(encoding).encode()
            except UnicodeDecodeError as error:
                message = f"is not {encoding} text: {error.reason} at byte {error.start}"
                findings.errors.append(Problem(name, 0, "", message))
                return None
    return data
