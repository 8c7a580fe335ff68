"""The walk in the README, run as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

from tests.cli.running import EXAMPLES, run

README = Path(__file__).parents[1] / "README.md"
_STATUS = re.compile(r"# status (\d)")


class Step(NamedTuple):
    """A command, the status it ends with, and lines of what it prints."""

    words: list[str]
    status: int
    lines: list[str]


def steps() -> list[Step]:
    block = README.read_text().split("<!-- walk -->")[1].split("```console\n")[1].split("```")[0]
    found: list[Step] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            status = _STATUS.search(line)
            words = shlex.split(line[2:], comments=True)
            found.append(Step(words, int(status[1]) if status else 0, []))
        elif line.strip() != "…":
            found[-1].lines.append(" ".join(line.split()))
    return found


def test_the_walk_goes_as_the_readme_says(tmp_path: Path) -> None:
    (_, place), *commands = (step.words for step in steps())
    assert README.parent / place == EXAMPLES
    # What the walk writes belongs in no checkout.
    walk = shutil.copytree(EXAMPLES, tmp_path / "examples")
    verbs = [words[1] for words in commands]
    assert verbs == ["lint", "replay", "recommend", "verify", "verify", "whatif"]
    for (program, *arguments), status, lines in steps()[1:]:
        assert program == "kubeverdict"
        done = run(*arguments, folder=walk)
        assert done.status == status, (arguments, done.err)
        printed = {" ".join(line.split()) for line in done.out.splitlines()}
        assert lines and not set(lines) - printed, (arguments, done.out)
