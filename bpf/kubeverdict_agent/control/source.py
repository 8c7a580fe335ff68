"""Where the cluster's state comes from.

One small interface, so that a watch of an API server can be added to the files that are here:
:meth:`FileSource.changed` says whether there is something new, :meth:`FileSource.read` reads it.

Decided: look at the files' status ten times a second. That is cheap, works on every file system
and for folders that are replaced as a whole (a mounted ConfigMap swaps a symbolic link), where
inotify needs a watch on everything on the way and loses it at each swap.

Of a large cluster nearly everything is pods, and what changes is a policy. So where only files
changed that hold nothing but policies, only these are read again.

A cluster is kept for as long as the agent runs, so nothing of it may hold a file that is mapped
into memory: a process that shortens that file would end this one. :func:`settled` ensures that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from kubeverdict.errors import InputError, Problem
from kubeverdict.manifests import load
from kubeverdict.manifests.folders import SUFFIXES
from kubeverdict.manifests.loading import Loaded, with_implied
from kubeverdict.manifests.policies import is_evaluated
from kubeverdict.model.bulk import collector_paused
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import policy_key
from kubeverdict.model.policy import Policy
from kubeverdict.model.sources import FieldPath, Source

POLL_SECONDS = 0.1
_SETTLE_SECONDS = 0.02  # between two looks that must agree before a file counts as written
_PATIENCE = 100  # looks at a file that is being written all the time

Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of the last change."""


@dataclass(frozen=True)
class ClusterReading:
    """A cluster as it was read. ``changed_at`` is when its newest file was written, in seconds
    since the epoch; ``remarks`` are what a user should know."""

    cluster: Cluster
    remarks: tuple[str, ...]
    changed_at: float
    policies_only: bool = False


class FileSource:
    """Files and folders of manifests, as the engine reads them."""

    def __init__(self, paths: Sequence[str], skip_invalid: bool = False) -> None:
        self._paths = tuple(paths)
        self._skip_invalid = skip_invalid
        self._seen: dict[str, Stamp] | None = None
        self._unread: set[str] = set()  # changed, and wrong so far
        self._base: Cluster | None = None
        # Files that hold anything but policies that are evaluated, and the remarks about each.
        self._mixed: frozenset[str] = frozenset()
        self._remarks: tuple[Problem, ...] = ()
        self._ignored: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join(self._paths)

    def changed(self) -> bool:
        """Whether a file changed, came or went since the last :meth:`read`."""
        return self._stamps() != self._seen

    def forget(self) -> None:
        """Read everything again the next time, whether or not it changes."""
        self._seen = None

    def read(self, wait: Callable[[float], Any]) -> ClusterReading:
        """The cluster as it is now. ``wait`` sleeps for some seconds.

        Raises InputError; the same input is then not read again until it changes.
        """
        stamps = self._settled_stamps(wait)
        before, self._seen = self._seen, stamps
        names = {*stamps, *(before or ())}
        changed = {name for name in names if (before or {}).get(name) != stamps.get(name)}
        changed |= self._unread
        self._unread = changed
        changed_at = max((stamps[name][3] for name in changed if name in stamps), default=0) / 1e9
        if self._base is not None and changed and not changed & self._mixed:
            reading = self._read_policies(changed, stamps, changed_at)
            if reading is not None:
                self._unread = set()
                return reading
        with collector_paused():
            loaded = load(self._paths, skip_invalid=self._skip_invalid)
            self._keep(loaded)
        self._unread = set()
        return self._reading(changed_at)

    def _keep(self, loaded: Loaded) -> None:
        self._base = settled(loaded.cluster)
        self._mixed = frozenset(
            origin.file for (kind, _, _), origin in loaded.origins.items() if not is_evaluated(kind)
        ).union(one.file for one in loaded.cluster.unevaluated)
        self._remarks = (*loaded.skipped, *loaded.warnings)
        ignored = [f"{count} {kind} ignored" for kind, count in loaded.ignored.items()]
        # Policies that are not evaluated are among the warnings.
        beside = [one for one in loaded.cluster.unevaluated if not one.gap.decides]
        ignored += [f"{one.count} {one.resource} not read" for one in beside]
        self._ignored = tuple(ignored)

    def _reading(self, changed_at: float, policies_only: bool = False) -> ClusterReading:
        assert self._base is not None
        remarks = (*map(str, self._remarks), *self._ignored)
        return ClusterReading(self._base, remarks, changed_at, policies_only)

    def _read_policies(
        self, changed: set[str], stamps: dict[str, Stamp], changed_at: float
    ) -> ClusterReading | None:
        """The cluster after a change of files that held policies alone; None where they hold
        anything else now, or where only a reading of everything gives the right answer."""
        assert self._base is not None
        policies: list[Policy] = []
        remarks: list[Problem] = []
        present = sorted(name for name in changed if name in stamps)
        if present:
            try:
                loaded = load(present, skip_invalid=self._skip_invalid)
            except InputError:
                return None
            beside = loaded.ignored or loaded.cluster.unevaluated
            if beside or any(not is_evaluated(kind) for kind, _, _ in loaded.origins):
                return None
            policies += settled(loaded.cluster).policies
            remarks += [*loaded.skipped, *loaded.warnings]
        base = self._base
        kept = [policy for policy in base.policies if policy.source.file not in changed]
        names = set(map(policy_key, kept))
        if any(policy_key(policy) in names for policy in policies):
            return None  # defined twice
        written = [namespace for namespace in base.namespaces if not namespace.implied]
        everything = (*kept, *policies)
        self._base = msgspec.structs.replace(
            base,
            policies=everything,
            namespaces=with_implied(written, base.pods, everything, base.services),
        )
        self._remarks = (*(one for one in self._remarks if one.file not in changed), *remarks)
        return self._reading(changed_at, policies_only=True)

    def _settled_stamps(self, wait: Callable[[float], Any]) -> dict[str, Stamp]:
        """What is there, once nothing is being written any more."""
        stamps = self._stamps()
        for _ in range(_PATIENCE):
            wait(_SETTLE_SECONDS)
            again = self._stamps()
            if again == stamps:
                break
            stamps = again
        return stamps

    def _stamps(self) -> dict[str, Stamp]:
        return dict(_stamps(self._paths))


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


def stamp(path: str | os.PathLike[str]) -> Stamp | None:
    """What distinguishes versions of a file; None where it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class FileLine:
    """A line of a file, known without the file. Implements ``model.sources.Origin``."""

    __slots__ = ("file", "line")

    def __init__(self, file: str, line: int) -> None:
        self.file = file
        self.line = line

    def line_of(self, path: FieldPath) -> int:
        return self.line


def settled(cluster: Cluster) -> Cluster:
    """``cluster`` with policies that know their lines and hold no text."""
    replace = msgspec.structs.replace

    def place(source: Source) -> Source:
        return Source(FileLine(source.file, source.line), source.path)

    policies = tuple(
        replace(
            policy,
            source=place(policy.source),
            rules=tuple(replace(rule, source=place(rule.source)) for rule in policy.rules),
        )
        for policy in cluster.policies
    )
    return replace(cluster, policies=policies)
