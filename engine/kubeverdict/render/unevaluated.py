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
"""Formats in which a comment may never be seen."""


def below(form: str, found: Sequence[Unevaluated], style: Style) -> str:
    """What goes below the text of a format: a line for each gap, where it has no field for it."""
    lines = sentences(found)
    if form == "md":
        from kubeverdict.render.md import cell

        return "".join(f"\n\nNote: {cell(line)}" for line in lines)
    if form in _FOR_PEOPLE:
        return "\n" + "".join(f"\n{style.paint(f'note: {line}', 'yellow')}" for line in lines)
    if form in _COMMENTS:
        before, after = _COMMENTS[form]
        # Two hyphens would end the comment of an SVG.
        return "".join(f"\n{before}{line.replace('--', '- -')}{after}" for line in lines)
    return ""


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
