"""Where the cluster's state comes from.

One small interface, so that a watch of an API server can be added to the files that are here:
:meth:`FileSource.changed` says whether there is something new, :meth:`FileSource.read` reads it.

The kernel reports what changes (:mod:`watching`), and the status of all files is looked at once in
a while as well: not all that happens to files is reported. A file that was moved to its place is
whole, and read at once; any other change is waited for until it is over.

No file is mapped into memory: a process that shortens it would end this one. Nothing is taken from
a file that is being written, or that changed while it was read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from kubeverdict.errors import InputError
from kubeverdict.manifests import load
from kubeverdict.manifests.folders import SUFFIXES
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict_agent.control.readings import ClusterReading, FilesRead, read_again, read_whole
from kubeverdict_agent.control.removals import Contents
from kubeverdict_agent.control.watching import PathWatch
from kubeverdict_agent.control.writing import BeingWritten, Stamp, has_writer, stamp

POLL_SECONDS = 0.1  # between two looks where the kernel does not report what changes
_LOOK_SECONDS, _LONGEST_SECONDS = 1.0, 10.0  # and where it does, the longer the more files
_LOOK_SHARE = 500  # a look takes one part in so many of a processor then
_SETTLE_SECONDS = 0.02  # between two looks that must agree before a file counts as written
_PATIENCE = 10  # looks at files that are being written all the time
_WRITTEN = 3  # where a stamp says when the content was changed last


class Reading(Protocol):
    """A cluster as it was read."""

    @property
    def changed_at(self) -> float:
        """When the newest of it was written, in seconds since the epoch."""

    @property
    def edit(self) -> Edit | None:
        """What changed since the reading before, where that is known without reading everything."""

    @property
    def cluster(self) -> Cluster:
        """All of it."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know."""

    @property
    def contents(self) -> Contents:
        """What it holds, as far as it may not go all at once."""

    @property
    def pods_written(self) -> float:
        """When the newest pods were, in seconds since the epoch."""


class ClusterSource(Protocol):
    """What a cluster is read from, again and again, by one thread."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What is readable once :meth:`changed` should be asked."""

    @property
    def quiet_seconds(self) -> float:
        """After so many :meth:`changed` should be asked if nothing is readable meanwhile."""

    @property
    def stale(self) -> str:
        """What may be out of date because nothing is heard of it, in words; empty: nothing."""

    @property
    def age(self) -> float:
        """Seconds for which that has been so."""

    def close(self) -> None:
        """It is not read any more."""

    def changed(self) -> bool:
        """Whether there is anything new since the last :meth:`read`."""

    def read(self, wait: Callable[[float], Any]) -> Reading:
        """The cluster as it is now. ``wait`` sleeps for some seconds, and says whether the agent
        ends.

        Raises InputError; the same input is then not read again until it changes. Raises
        BeingWritten where it cannot be read yet, and is to be read soon.
        """

    def forget(self) -> None:
        """Read everything again the next time, whether or not it changes."""


class FileSource:
    """Files and folders of manifests, as the engine reads them."""

    def __init__(self, paths: Sequence[str], skip_invalid: bool = False) -> None:
        self._paths = tuple(paths)
        self._skip_invalid = skip_invalid
        self._watch = PathWatch(self._paths)
        self._now: dict[str, Stamp] = {}  # what there is, as far as it was noticed
        self._seen: dict[str, Stamp] | None = None  # what was read
        self._other: set[str] = set()  # files that are not as they were read
        self._replaced = True  # all of these were moved to their places
        self._unread: set[str] = set()  # changed, and wrong so far
        self._look_due = 0.0
        self._base: FilesRead | None = None

    @property
    def name(self) -> str:
        return " ".join(self._paths)

    @property
    def descriptors(self) -> tuple[int, ...]:
        return self._watch.descriptors

    @property
    def stale(self) -> str:
        return ""  # files are what they are

    @property
    def age(self) -> float:
        return 0.0

    @property
    def quiet_seconds(self) -> float:
        return max(self._look_due - time.monotonic(), 0.0)

    def close(self) -> None:
        self._watch.close()

    def changed(self) -> bool:
        self._look()
        return self._seen is None or bool(self._other)

    def forget(self) -> None:
        self._seen = self._base = None
        self._look_due = 0.0

    def read(self, wait: Callable[[float], Any]) -> ClusterReading:
        self._settle(wait)
        stamps, changed = self._now, self._other | self._unread
        try:
            reading, keep = self._read(stamps, changed)
        except InputError:
            self._hold_still(stamps, everything=True)
            self._unread = changed
            self._take(stamps)
            raise
        self._hold_still(stamps, everything=reading.edit is None)
        self._unread = set()
        self._take(stamps)
        keep()
        return reading

    # --- files that change ------------------------------------------------------------------

    def _look(self, everything: bool = False) -> None:
        """Take note of what changed: what was reported, or ``everything``."""
        noticed = self._watch.noticed()
        begun = time.monotonic()
        now, before = self._now, self._seen or {}
        if everything or noticed.everything or self._seen is None or begun >= self._look_due:
            self._watch.cover()
            now = dict(_stamps(self._paths))
            other = _differing(before, now)
            seconds = max(_LOOK_SECONDS, _LOOK_SHARE * (time.monotonic() - begun))
            seconds = min(seconds, _LONGEST_SECONDS) if self._watch.complete else POLL_SECONDS
            self._look_due = begun + seconds
        else:
            asked = noticed.files | self._other
            now = {name: at for name, at in now.items() if name not in asked} if asked else now
            now |= {name: at for name in asked if (at := stamp(name)) is not None}
            other = {name for name in asked if before.get(name) != now.get(name)}
        self._replaced &= noticed.replaced and other <= self._other | noticed.files
        self._other = other
        if now != self._now:  # while it is the same object, nothing has changed
            self._now = now

    def _take(self, stamps: dict[str, Stamp]) -> None:
        """What was read is what there was at ``stamps``."""
        self._seen, self._other, self._replaced = stamps, _differing(stamps, self._now), True

    def _settle(self, wait: Callable[[float], Any]) -> None:
        """Wait until nothing is being written any more. Raises BeingWritten."""
        self._look()
        at_once = self._replaced and self._seen is not None
        moving: Sequence[str] = ()
        for _ in range(_PATIENCE):
            before = self._now
            if not at_once:
                wait(_SETTLE_SECONDS)
                self._look()
            at_once = False
            moving = () if self._now is before else sorted(_differing(before, self._now))
            asked = self._other | self._unread
            moving = moving or [name for name in sorted(asked) if has_writer(name)]
            if not moving:
                return
        raise BeingWritten(moving[0])

    def _hold_still(self, stamps: dict[str, Stamp], everything: bool) -> None:
        self._look(everything)
        for name in () if self._now is stamps else sorted(_differing(stamps, self._now)):
            raise BeingWritten(name)

    # --- reading ----------------------------------------------------------------------------

    def _read(
        self, stamps: dict[str, Stamp], changed: set[str]
    ) -> tuple[ClusterReading, Callable[[], None]]:
        """The cluster, and what to do once it is known that no file changed meanwhile."""
        written = [stamps[name][_WRITTEN] for name in changed if name in stamps]
        changed_at = max(written, default=0) / 1e9
        if self._base is not None and changed:
            found = read_again(self._base, changed, stamps, self._skip_invalid)
            if found is not None:
                base, edit = found
                return ClusterReading(changed_at, edit, base), lambda: self._keep(base)
        with collector_paused():
            loaded = load(self._paths, skip_invalid=self._skip_invalid, mapped=False)
            whole = read_whole(loaded, stamps)
        return ClusterReading(changed_at, None, whole), lambda: self._keep(whole)

    def _keep(self, base: FilesRead) -> None:
        self._base = base


def _differing(one: Mapping[str, Stamp], other: Mapping[str, Stamp]) -> set[str]:
    """Files that are not the same in both."""
    if one is other:
        return set()
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def _stamps(paths: Sequence[str]) -> Iterator[tuple[str, Stamp]]:
    for path in paths:
        if os.path.isdir(path):
            for parent, folders, files in os.walk(path):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in files:
                    if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                        yield from _stamp(os.path.join(parent, name))
        else:
            yield from _stamp(path)


def _stamp(path: str) -> Iterator[tuple[str, Stamp]]:
    found = stamp(path)
    if found is not None:  # gone, or a link to nothing: reading says what is wrong
        yield path, found
