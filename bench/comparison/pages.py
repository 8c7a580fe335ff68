"""bench/RESULTS.md has a part for each command that writes one; each leaves the other's alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class PagePart(NamedTuple):
    """A part of the page, and how the names of its plots begin."""

    name: str
    plots: tuple[str, ...]


REAL = PagePart("real", ("real-",))
RENDERED = PagePart("rendered", ("policies-", "rules-", "change-"))
_ORDER = (REAL, RENDERED)


def write(bench: Path, part: PagePart, text: str, plots: Mapping[str, str]) -> None:
    """Put a part and its plots in the place of what was there."""
    page, folder = bench / "RESULTS.md", bench / "results"
    for old in folder.glob("*.svg"):
        if old.name.startswith(part.plots):
            old.unlink()
    for name, drawing in plots.items():
        (folder / name).write_text(drawing)
    page.write_text(with_part(page.read_text() if page.exists() else "", part, text))


def with_part(page: str, part: PagePart, text: str) -> str:
    """The page with ``text`` as that part."""
    parts = {each: text if each is part else _of(page, each) for each in _ORDER}
    return "\n".join(
        f"{_begin(each)}\n{body.strip()}\n{_end(each)}\n" for each, body in parts.items() if body
    )


def _of(page: str, part: PagePart) -> str:
    _, begun, rest = page.partition(_begin(part))
    body, ended, _ = rest.partition(_end(part))
    return body if begun and ended else ""


def _begin(part: PagePart) -> str:
    return f"<!-- {part.name}: written by a command -->"


def _end(part: PagePart) -> str:
    return f"<!-- end of {part.name} -->"
