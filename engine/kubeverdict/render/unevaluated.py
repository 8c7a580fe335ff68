"""What an answer does not take into account, in each format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubeverdict.analyses.unevaluated import sentence, sentences
from kubeverdict.model.unevaluated import Unevaluated
from kubeverdict.render.style import Style

# What goes before and after a line that is no data; formats that have fields for it have none.
_FOR_PEOPLE = ("table", "tree", "matrix")
_COMMENTS = {"dot": ("// ", ""), "yaml": ("# ", ""), "svg": ("<!-- ", " -->")}
PURE_DATA = frozenset({"csv", *_COMMENTS})
"""Formats whose readers may never see a comment."""


def beside(text: str, form: str, found: Sequence[Unevaluated], style: Style) -> str:
    """``text`` in a format, with a line for each gap below it where it has none of its own."""
    lines = sentences(found)
    if form == "md":
        from kubeverdict.render.md import cell

        return "\n\n".join([text, *(f"Note: {cell(line)}" for line in lines)])
    if form in _FOR_PEOPLE:
        return "\n".join([text, "", *(style.paint(f"note: {line}", "yellow") for line in lines)])
    if form in _COMMENTS:
        before, after = _COMMENTS[form]
        # Two hyphens would end the comment of an SVG.
        return "\n".join([text, *(f"{before}{line.replace('--', '- -')}{after}" for line in lines)])
    return text


def content(found: Sequence[Unevaluated]) -> dict[str, Any]:
    """The field of a JSON object; none where everything was taken into account."""
    return {"not_evaluated": [_entry(one) for one in found]} if found else {}


def _entry(one: Unevaluated) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "group": one.group,
        "gap": one.gap.value,
        "decides": one.gap.decides,
        "count": one.count,
        **({"names": list(one.names)} if one.names else {}),
        "file": one.file or None,
        "line": one.line or None,
        "message": sentence(one),
    }
