"""What docs/json.md shows of each contract, and whether that is what is printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "json.md").read_text()


def blocks() -> list[Any]:
    """The examples of the page."""
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.S)]


def examples() -> dict[str, Any]:
    """Those that have a schema, by it."""
    return {block["schema"]: block for block in blocks() if "schema" in block}


def paths(value: Any, at: str = "") -> Iterator[str]:
    """The fields of a value and of all in it. Ports are a value: protocols are no fields."""
    if isinstance(value, list):
        for one in value:
            yield from paths(one, f"{at}[]")
    elif isinstance(value, dict) and not {*value} & {"TCP", "UDP", "SCTP", "ICMP"}:
        for name, one in value.items():
            yield f"{at}.{name}"
            yield from paths(one, f"{at}.{name}")


def check_example(schema: str, printed: list[Any], unseen: tuple[str, ...] = ()) -> None:
    """What is printed has the fields of the example, but for those that begin as ``unseen``: they
    need not come about. Whatever is at its top is in the example or named in the text."""
    assert {one["schema"] for one in printed} == {schema}
    check_fields(examples()[schema], printed, unseen)


def check_fields(example: Any, printed: list[Any], unseen: tuple[str, ...] = ()) -> None:
    found = {path for one in printed for path in paths(one)}
    assert not [path for path in {*paths(example)} - found if not path.startswith(unseen)]
    assert not [path for path in found if path.count(".") == 1 and path[1:] not in PAGE]
