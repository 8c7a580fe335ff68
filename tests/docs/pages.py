"""The pages for people, and the code blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "engine" / "kubeverdict" / "examples" / "shop" / "README.md",
    ROOT / "bpf" / "deploy" / "README.md",
]
_FENCE = re.compile(r"^( *)```(.*)$")
_FILE = re.compile(r"<!-- file: (\S+) -->")


class Block(NamedTuple):
    """A fenced block. ``file`` is the name that a comment in front of it gives."""

    page: Path
    line: int
    language: str
    lines: list[str]
    file: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    opened: Block | None = None
    indent = before = ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and opened is None:
            indent = fence[1]
            named = _FILE.search(before)
            opened = Block(page, number, fence[2], [], named[1] if named else None)
        elif fence and opened is not None:
            yield opened
            opened = None
        elif opened is not None:
            opened.lines.append(line.removeprefix(indent))
        before = line
    assert opened is None, f"{opened} is not closed"


def blocks_of(*languages: str) -> list[Block]:
    """The blocks of all pages in these languages."""
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.M | re.S)
