"""Text that is a template of manifests, not a manifest yet: Helm's, or that of another tool."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

from kubeverdict.manifests import yaml_text

CHART = "Chart.yaml"
# Folders of a chart that are nothing without it.
PARTS = frozenset({"templates", "charts"})

# {{ of Go and Jinja, {% of Jinja.
_ACTION = re.compile(r"\{\{(?:[^}]|\}(?!\}))*+\}\}|\{%(?:[^%]|%(?!\}))*+%\}")
_ONLY_ACTIONS = re.compile(rf"^[ \t]*(?:(?:{_ACTION.pattern})[ \t]*)++$\n?", re.MULTILINE)
_SUFFIXES = (".yaml", ".yml", ".json")


def first_action(text: str) -> int:
    """The line of the first action of a template (from 1), 0 where the text is none.

    A ConfigMap may well hold a template of something else. So a text is one only where a document
    of it is no YAML, and would be YAML without the actions.
    """
    if not _ACTION.search(text):
        return 0
    for part in yaml_text.documents(text):
        piece = text[part.start : part.end]
        action = _ACTION.search(piece)
        if action and not _is_yaml(piece) and _is_yaml(_without_actions(piece)):
            return part.line + piece.count("\n", 0, action.start())
    return 0


def _without_actions(text: str) -> str:
    """What a rendered text may look like: lines of actions gone, a word for every other one."""
    return _ACTION.sub("x", _ONLY_ACTIONS.sub("", text))


def _is_yaml(text: str) -> bool:
    try:
        yaml_text.parse(text)
    except yaml_text.TextError:
        return False
    return True


def what_to_do(file: str) -> str:
    """The error for a file that is a template."""
    chart = chart_above(os.path.dirname(file))
    if chart is None:
        return "is a template, not a manifest: render it first"
    return f"is a template of the Helm chart {chart}: {render(chart)}"


def render(chart: str) -> str:
    """How to read a chart."""
    return f"helm template {shlex.quote(chart)} | kubeverdict … -f -"


def chart_above(folder: str) -> str | None:
    """The chart that a folder belongs to the templates of."""
    path = os.path.abspath(folder)
    while os.path.dirname(path) != path:
        above = os.path.dirname(path)
        if os.path.basename(path) in PARTS and os.path.isfile(os.path.join(above, CHART)):
            return chart_above(above) or (
                above if os.path.isabs(folder) else os.path.relpath(above)
            )
        path = above
    return None


def in_chart(chart: str) -> Iterator[tuple[str, int]]:
    """The templates of a chart that have actions, in order of name: path, and the line (from 1)
    of the first action."""
    for part in sorted(PARTS):
        for parent, folders, files in os.walk(os.path.join(chart, part)):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(parent, name)
                if name.lower().endswith(_SUFFIXES) and os.path.isfile(path):
                    with open(path, encoding="utf-8", errors="replace") as file:
                        text = file.read()
                    if action := _ACTION.search(text):
                        yield path, 1 + text.count("\n", 0, action.start())
