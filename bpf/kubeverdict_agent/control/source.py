"""Where the cluster's state comes from.

One small interface, so that a watch of an API server can be added to the files that are here:
:meth:`FileSource.changed` says whether there is something new, :meth:`FileSource.read` reads it.

Decided: look at the files' status ten times a second. That is cheap, works on every file system
and for folders that are replaced as a whole (a mounted ConfigMap swaps a symbolic link), where
inotify needs a watch on everything on the way and loses it at each swap.

Of a large cluster nearly everything is pods, and what changes is a policy. So where only files
changed that hold nothing but policies, only these are read again.

No file is mapped into memory: a process that shortens it would end this one. Nothing is taken from
a file that is being written, or that changed while it was read. A cluster is kept for as long as
the agent runs, so nothing of it may hold the text of a file: :func:`settled` ensures that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import msgspec

from kubeverdict.errors import InputError, Problem
from kubeverdict.manifests import load
from kubeverdict.manifests.folders import SUFFIXES
from kubeverdict.manifests.loading import Loaded, with_implied
from kubeverdict.manifests.policies import is_evaluated
from kubeverdict.manifests.repeated import same
from kubeverdict.model.bulk import collector_paused
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, PolicyKey, policy_key
from kubeverdict.model.policy import Policy, Rule
from kubeverdict.model.sources import FieldPath, Source
from kubeverdict_agent.control.removals import Contents, Key
from kubeverdict_agent.control.writing import BeingWritten, Stamp, has_writer, stamp

POLL_SECONDS = 0.1
_SETTLE_SECONDS = 0.02  # between two looks that must agree before a file counts as written
_PATIENCE = 10  # looks at files that are being written all the time
_REPEATED = "defined twice"  # in what loading says of it
_WRITTEN = 3  # where a stamp says when the content was changed last


@dataclass(frozen=True)
class _Base:
    """What was read last: the cluster when everything was read, and the policies since; files
    that hold anything but policies that are evaluated, remarks with and without a place, and the
    keys of the objects in each file."""

    whole: Cluster
    policies: Mapping[PolicyKey, Policy]
    mixed: frozenset[str]
    remarks: tuple[Problem, ...]
    ignored: tuple[str, ...]
    files: Contents
    pods_written: float


@dataclass(frozen=True, eq=False)
class ClusterReading:
    """A cluster as it was read. ``changed_at`` is when its newest file was written, in seconds
    since the epoch; ``edit`` is what changed since the reading before, where that is policies
    alone, otherwise None."""

    changed_at: float
    edit: Edit | None
    _base: _Base

    @cached_property
    def cluster(self) -> Cluster:
        """All of it, put together when it is asked for."""
        base = self._base
        if self.edit is None:
            return base.whole
        everything = tuple(base.policies.values())
        whole = base.whole
        written = [namespace for namespace in whole.namespaces if not namespace.implied]
        return msgspec.structs.replace(
            whole,
            policies=everything,
            namespaces=with_implied(written, whole.pods, everything, whole.services),
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know."""
        return (*map(str, self._base.remarks), *self._base.ignored)

    @property
    def contents(self) -> Contents:
        """What it holds."""
        return self._base.files

    @property
    def pods_written(self) -> float:
        """In seconds since the epoch: the newest file that holds any."""
        return self._base.pods_written

    @property
    def policies_only(self) -> bool:
        return self.edit is not None


def _whole(loaded: Loaded, stamps: Mapping[str, Stamp]) -> _Base:
    files = _files(loaded)
    with_pods = (name for name, keys in files.items() if any(kind == "Pod" for kind, _, _ in keys))
    written = max((stamps[name][_WRITTEN] for name in with_pods if name in stamps), default=0)
    cluster = settled(loaded.cluster)
    mixed = frozenset(
        origin.file for (kind, _, _), origin in loaded.origins.items() if not is_evaluated(kind)
    ).union(one.file for one in cluster.unevaluated)
    ignored = [f"{count} {kind} ignored" for kind, count in loaded.ignored.items()]
    # Policies that are not evaluated are among the warnings.
    beside = [one for one in cluster.unevaluated if not one.gap.decides]
    ignored += [f"{one.count} {one.resource} not read" for one in beside]
    remarks = (*loaded.skipped, *loaded.warnings)
    policies = {policy_key(policy): policy for policy in cluster.policies}
    return _Base(cluster, policies, mixed, remarks, tuple(ignored), files, written / 1e9)


def _files(loaded: Loaded) -> dict[str, frozenset[Key]]:
    found: dict[str, set[Key]] = {}
    for key, origin in loaded.origins.items():
        found.setdefault(origin.file, set()).add(key)
    return {file: frozenset(keys) for file, keys in found.items()}


class FileSource:
    """Files and folders of manifests, as the engine reads them."""

    def __init__(self, paths: Sequence[str], skip_invalid: bool = False) -> None:
        self._paths = tuple(paths)
        self._skip_invalid = skip_invalid
        self._seen: dict[str, Stamp] | None = None
        self._unread: set[str] = set()  # changed, and wrong so far
        self._base: _Base | None = None

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

        Raises InputError; the same input is then not read again until it changes. Raises
        BeingWritten where it cannot be read yet, and is to be read soon.
        """
        stamps = self._settled_stamps(wait)
        try:
            reading, keep = self._read(stamps)
        except InputError:
            self._hold_still(stamps)
            self._unread = self._changed(stamps)
            self._seen = stamps
            raise
        self._hold_still(stamps)
        self._seen, self._unread = stamps, set()
        keep()
        return reading

    def _read(self, stamps: dict[str, Stamp]) -> tuple[ClusterReading, Callable[[], None]]:
        """The cluster, and what to do once it is known that no file changed meanwhile."""
        changed = self._changed(stamps)
        written = [stamps[name][_WRITTEN] for name in changed if name in stamps]
        changed_at = max(written, default=0) / 1e9
        if self._base is not None and changed and not changed & self._base.mixed:
            found = self._read_policies(changed, stamps)
            if found is not None:
                base, edit = found
                return ClusterReading(changed_at, edit, base), lambda: self._keep(base)
        with collector_paused():
            loaded = load(self._paths, skip_invalid=self._skip_invalid, mapped=False)
            whole = _whole(loaded, stamps)
        return ClusterReading(changed_at, None, whole), lambda: self._keep(whole)

    def _changed(self, stamps: dict[str, Stamp]) -> set[str]:
        """Files that changed since they were read, and those that were wrong."""
        before = self._seen or {}
        names = stamps.keys() | before.keys()
        return {name for name in names if before.get(name) != stamps.get(name)} | self._unread

    def _hold_still(self, stamps: dict[str, Stamp]) -> None:
        again = self._stamps()
        for name in sorted(stamps.keys() | again.keys()):
            if stamps.get(name) != again.get(name):
                raise BeingWritten(name)

    def _keep(self, base: _Base) -> None:
        self._base = base

    def _read_policies(
        self, changed: set[str], stamps: dict[str, Stamp]
    ) -> tuple[_Base, Edit] | None:
        """What there is after a change of files that held policies alone, and the change; None
        where they hold anything else now, or where only a reading of everything gives the right
        answer."""
        base = self._base
        assert base is not None
        if any(_REPEATED in problem.message for problem in base.remarks):
            return None  # of what is in two files, one may go
        coming: dict[PolicyKey, Policy] = {}
        remarks: list[Problem] = []
        files = {name: keys for name, keys in base.files.items() if name not in changed}
        present = sorted(name for name in changed if name in stamps)
        if present:
            try:
                loaded = load(present, skip_invalid=self._skip_invalid, mapped=False)
            except InputError:
                return None
            beside = loaded.ignored or loaded.cluster.unevaluated
            if beside or any(not is_evaluated(kind) for kind, _, _ in loaded.origins):
                return None
            coming = {policy_key(one): one for one in settled(loaded.cluster).policies}
            remarks += [*loaded.skipped, *loaded.warnings]
            files |= _files(loaded)
        gone = frozenset().union(*(base.files.get(name, frozenset()) for name in changed))
        if any(key in base.policies and key not in gone for key in coming):
            return None  # defined twice
        policies = dict(base.policies)
        for key in gone:
            policies.pop(key, None)
        policies |= coming
        edit = Edit(
            "source",
            policies_out=tuple(sorted(gone - coming.keys())),
            policies_in=tuple(
                policy
                for key, policy in coming.items()
                if key not in base.policies or not _is_the_same(base.policies[key], policy)
            ),
        )
        after = replace(
            base,
            policies=policies,
            remarks=(*(one for one in base.remarks if one.file not in changed), *remarks),
            files=files,
        )
        return after, edit

    def _settled_stamps(self, wait: Callable[[float], Any]) -> dict[str, Stamp]:
        """What is there, once nothing is being written any more. Raises BeingWritten."""
        stamps = self._stamps()
        for _ in range(_PATIENCE):
            wait(_SETTLE_SECONDS)
            again = self._stamps()
            names = stamps.keys() | again.keys()
            moving = sorted(name for name in names if stamps.get(name) != again.get(name))
            stamps = again
            if not moving:
                moving = [name for name in sorted(self._changed(again)) if has_writer(name)]
            if not moving:
                return again
        raise BeingWritten(moving[0])

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
    changed = msgspec.structs.replace

    def place(source: Source) -> Source:
        return Source(FileLine(source.file, source.line), source.path)

    def placed(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(changed(rule, source=place(rule.source)) for rule in rules)

    def known(policies: Iterable[Policy]) -> tuple[Policy, ...]:
        return tuple(
            changed(
                policy,
                source=place(policy.source),
                rules=placed(policy.rules),
                unlisted_rules=placed(policy.unlisted_rules),
            )
            for policy in policies
        )

    references = changed(cluster.references, policies=known(cluster.references.policies))
    return changed(cluster, policies=known(cluster.policies), references=references)


def _is_the_same(one: Policy, other: Policy) -> bool:
    """Whether two policies say the same and are in the same place, rule by rule."""
    return same(one, other) and _lines(one) == _lines(other)


def _lines(policy: Policy) -> list[tuple[str, int]]:
    sources = [policy.source, *(rule.source for rule in (*policy.rules, *policy.unlisted_rules))]
    return [(source.file, source.line) for source in sources]
