"""Rules as the kernel has them, without names that are others each time: of chains and sets."""

from __future__ import annotations

import re
from collections import Counter

_COMMENT = re.compile(r' -m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+)')
_NAMES = (
    (re.compile(r"KUBE-(POD-FW|NWPLCY|SRC|DST)-[0-9A-Z]{16}"), r"KUBE-\1-*"),
    (re.compile(r"cali-(tw|fw)-cali[0-9a-f]{11}"), r"cali-\1-*"),
    (re.compile(r"cali-(pi|po|gi|go)-\S+"), r"cali-\1-*"),
    (re.compile(r"cali-pr[io]?-\S+"), "cali-pr-*"),
    (re.compile(r"cali40([ns]):\S+"), r"cali40\1:*"),
    (re.compile(r"cali[0-9a-f]{11}"), "cali*"),
)


def rules(saved: str) -> Counter[str]:
    """The rules of a table, as iptables-save has them, and how often each is there."""
    found: Counter[str] = Counter()
    for line in saved.splitlines():
        if line.startswith("-A "):
            line = _COMMENT.sub("", line)
            for pattern, text in _NAMES:
                line = pattern.sub(text, line)
            found[line] += 1
    return found
