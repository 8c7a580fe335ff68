"""The names of the JSON contracts, each with its version. ``docs/json.md`` describes them.

Fields may be added within a version; none is renamed, removed or given another meaning.
"""

from __future__ import annotations

VERSIONS = {
    "list": 2,  # version 1, with a range of addresses for each connection, by --ranges
    "diff": 2,  # the same
    "explain": 1,
    "whatif": 2,
    "equal": 1,
    "bulk": 2,
    "drift": 2,
    "lint": 1,
    "lint-rules": 1,
    "verify": 2,
    "replay": 1,
    "recommend": 1,
    "watch": 1,
}
WITH_RANGES = 1


def schema(verb: str, *, ranges: bool = False) -> str:
    return f"kubeverdict/{verb}/v{WITH_RANGES if ranges else VERSIONS[verb]}"
