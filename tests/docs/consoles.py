"""Console blocks: commands, and the output that is shown of them.

``$ COMMAND`` is what a user types, ``# status N`` behind it the status it ends with (0 if nothing
is said). Below it stands the output, standard output and standard error as they come. A line ``…``
stands for any lines, ``…`` within a line for any text. Times and rates may differ.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.docs.pages import Block

_STATUS = re.compile(r"# status (\d)$")
_FIGURES = [
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r"\d[\d.,]*(?= ?(ms|s|MB|GB|a second|packets?)\b)"), "N"),
]


def is_on_a_node(block: Block) -> bool:
    """Whether a block shows the agent's demonstration, whose test compares it."""
    return block.lines[0] == "$ ./run agent-demo"


class Command(NamedTuple):
    """``line`` goes to a shell."""

    line: str
    status: int
    output: list[str]


def commands(block: Block) -> list[Command]:
    found: list[Command] = []
    unfinished = False
    for line in block.lines:
        if unfinished:
            last = found.pop()
            found.append(_command(f"{last.line[:-1]} {line.strip()}"))
        elif line.startswith("$ "):
            found.append(_command(line[2:]))
        else:
            assert found, f"{block}: output without a command"
            found[-1].output.append(line)
        unfinished = not found[-1].output and found[-1].line.endswith("\\")
    return found


def _command(line: str) -> Command:
    status = _STATUS.search(line)
    return Command(_STATUS.sub("", line).rstrip(), int(status[1]) if status else 0, [])


def fits(shown: list[str], printed: str) -> bool:
    """Whether ``printed`` is what is shown of it."""
    pattern = ""
    for line in shown:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"  # any number of whole lines
        else:
            pattern += r".*?".join(map(re.escape, _masked(line).split("…"))) + r"\n"
    lines = [line.rstrip() for line in _masked(printed).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _masked(text: str) -> str:
    for figure, mask in _FIGURES:
        text = figure.sub(mask, text)
    return text
