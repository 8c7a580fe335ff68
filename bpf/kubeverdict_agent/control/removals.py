"""Changes that remove much at once wait: until they have stood for a while, or are confirmed.

A file that is cut short is often whole: an empty one is valid and holds no policies. So what a
change takes away is compared with what is in force, and more than a set share of one sort of
object, or all of one file, is not believed at once.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kubeverdict.manifests.policies import is_evaluated

Key = tuple[str, str, str]
"""Kind, namespace and name of an object."""

SHARE = 0.5
STANDING_SECONDS = 10.0


Contents = Mapping[str, frozenset[Key]]
"""What an input holds: the keys of the objects in each file."""

MODE = "mode"  # the kind of a mode setting, whose name is its subject
_SORTS = {"Pod": "pods", MODE: "mode settings"}


@dataclass(frozen=True)
class LargeRemoval:
    """What a change takes away: in words, and as keys."""

    text: str
    keys: frozenset[Key]


class Removals:
    """Holds one kind of input to what was in force before. ``share`` is the part of a sort that
    may go at once, ``standing`` the seconds after which more is believed, ``record`` the file in
    which the next agent finds what was in force."""

    def __init__(self, share: float, standing: float, record: Path | None = None) -> None:
        self._share = share
        self._standing = standing
        self._record = record
        self._before: Contents = {}
        self._totals: Counter[str] = Counter()
        self._waiting: LargeRemoval | None = None
        self._since = 0.0
        self._confirmed: LargeRemoval | None = None
        self._lock = threading.Lock()

    def recall(self) -> None:
        """Go by what the agent before this one had in force, where it is known."""
        if self._record is None:
            return
        try:
            found = msgspec.json.decode(
                self._record.read_bytes(), type=dict[str, frozenset[tuple[str, str, str]]]
            )
        except (OSError, msgspec.DecodeError):
            return
        self._remember(found)

    @property
    def waiting(self) -> str:
        """What waits, in words for an alarm; empty where nothing does."""
        if self._waiting is None:
            return ""
        return (
            f"{self._waiting.text}: not in force until this has stood for {self._standing:g} s, or"
            " at once by: kubeverdict-agent confirm"
        )

    def must_wait(self, contents: Contents) -> bool:
        """Whether a change to ``contents`` has to wait (longer)."""
        removal = self._removal(contents)
        now = time.monotonic()
        with self._lock:
            if removal is None:
                self._waiting = self._confirmed = None
                return False
            if self._waiting is None or self._waiting.keys - removal.keys:
                self._since = now  # or something has come back: it is being repaired
            self._waiting = removal
            if self._confirmed is not None and removal.keys <= self._confirmed.keys:
                return False
            return now - self._since < self._standing

    def confirm(self) -> str:
        """Let what waits now come into force; it, in words."""
        with self._lock:
            self._confirmed = self._waiting
            return self._waiting.text if self._waiting is not None else ""

    def drop(self) -> None:
        """What waited is not wanted any more."""
        with self._lock:
            self._waiting = self._confirmed = None

    def accept(self, contents: Contents) -> None:
        """``contents`` are in force."""
        self.drop()
        if contents == self._before:
            return
        self._remember(contents)
        if self._record is not None:
            new = self._record.with_name(f"{self._record.name}.new")
            new.write_bytes(msgspec.json.encode(contents))
            os.replace(new, self._record)

    def _remember(self, contents: Contents) -> None:
        before, self._before = self._before, contents
        for file in before.keys() | contents.keys():
            was, now = before.get(file, _NOTHING), contents.get(file, _NOTHING)
            if was is not now:  # of most files nothing changed
                self._totals.subtract(_sorts(was))
                self._totals.update(_sorts(now))

    def _removal(self, contents: Contents) -> LargeRemoval | None:
        other = {
            file: keys for file, keys in contents.items() if keys is not self._before.get(file)
        }
        there = frozenset().union(*other.values())
        words: list[str] = []
        keys: set[Key] = set()
        everything: set[Key] = set()
        for file, held in self._before.items():
            if held is contents.get(file):
                continue
            gone = held - there
            everything |= gone
            if gone and len(gone) == len(held):
                words.append(f"everything in {file} ({_objects(len(held))})")
                keys |= gone
        for sort, count in _sorts(everything).items():
            if sort and count > self._share * self._totals[sort]:
                words.insert(0, f"{count} of {self._totals[sort]} {sort}")
                keys |= {key for key in everything if _sort(key) == sort}
        if not words:
            return None
        return LargeRemoval(f"a change removes {', '.join(words)}", frozenset(keys))


_NOTHING: frozenset[Key] = frozenset()


def _sort(key: Key) -> str:
    return _SORTS.get(key[0]) or ("policies" if is_evaluated(key[0]) else "")


def _sorts(keys: Iterable[Key]) -> Counter[str]:
    return Counter(map(_sort, keys))


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"
