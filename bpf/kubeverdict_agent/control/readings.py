"""What was read of files, and what has changed since.

Where only files changed that hold nothing but policies, pods and namespaces, only these are read
again: what a reading says then is what changed. Pods have to be as they are written for that; in an
input with workloads, what a pod belongs to depends on other objects.

A cluster is kept for as long as the agent runs, so nothing of it may hold the text of a file:
:func:`settled` ensures that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import msgspec

from kubeverdict.errors import InputError, Problem
from kubeverdict.manifests import load
from kubeverdict.manifests.loading import Loaded, with_implied
from kubeverdict.manifests.policies import is_evaluated
from kubeverdict.manifests.repeated import same
from kubeverdict.manifests.validation import is_generated
from kubeverdict.model.cluster import Cluster, Namespace, Pod
from kubeverdict.model.edit import Edit, PolicyKey, policy_key
from kubeverdict.model.policy import Policy, Rule
from kubeverdict.model.references import NO_REFERENCES
from kubeverdict.model.sources import FieldPath, Source
from kubeverdict_agent.control.removals import Contents, Key
from kubeverdict_agent.control.writing import Stamp

_REPEATED = "defined twice"  # in what loading says of it
_WRITTEN = 3  # where a stamp says when the content was changed last

Item = TypeVar("Item", Pod, Namespace)


@dataclass(frozen=True)
class FilesRead:
    """What was read last: the cluster when everything was read, and the policies since; pods and
    namespaces by file, None where they depend on other objects; remarks with and without a place,
    and the keys of the objects in each file."""

    whole: Cluster
    policies: Mapping[PolicyKey, Policy]
    pods: Mapping[str, tuple[Pod, ...]] | None
    namespaces: Mapping[str, tuple[Namespace, ...]]
    objects_changed: bool  # pods or namespaces, since everything was read
    remarks: tuple[Problem, ...]
    ignored: tuple[str, ...]
    files: Contents
    pods_written: float


@dataclass(frozen=True, eq=False)
class ClusterReading:
    """A cluster as it was read. ``changed_at`` is when its newest file was written, in seconds
    since the epoch; ``edit`` is what changed since the reading before, where that is known without
    reading everything, otherwise None."""

    changed_at: float
    edit: Edit | None
    _base: FilesRead

    @cached_property
    def cluster(self) -> Cluster:
        """All of it, put together when it is asked for."""
        base = self._base
        if self.edit is None:
            return base.whole
        policies = tuple(base.policies.values())
        whole = base.whole
        pods: Sequence[Pod] = whole.pods
        written = [namespace for namespace in whole.namespaces if not namespace.implied]
        if base.pods is not None and base.objects_changed:
            pods = tuple(chain.from_iterable(base.pods.values()))
            written = list(chain.from_iterable(base.namespaces.values()))
        return msgspec.structs.replace(
            whole,
            pods=pods,
            policies=policies,
            namespaces=with_implied(written, pods, policies, whole.services),
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
        """Whether nothing else changed since the reading before."""
        edit = self.edit
        return edit is not None and not (
            *edit.pods_out, *edit.pods_in, *edit.namespaces_out, *edit.namespaces_in
        )  # fmt: skip


def read_whole(loaded: Loaded, stamps: Mapping[str, Stamp]) -> FilesRead:
    files = _files(loaded)
    with_pods = (name for name, keys in files.items() if any(kind == "Pod" for kind, _, _ in keys))
    written = max((stamps[name][_WRITTEN] for name in with_pods if name in stamps), default=0)
    cluster = settled(loaded.cluster)
    ignored = [f"{count} {kind} ignored" for kind, count in loaded.ignored.items()]
    # Policies that are not evaluated are among the warnings.
    beside = [one for one in cluster.unevaluated if not one.gap.decides]
    ignored += [f"{one.count} {one.resource} not read" for one in beside]
    remarks = (*loaded.skipped, *loaded.warnings)
    policies = {policy_key(policy): policy for policy in cluster.policies}
    by_themselves = not (loaded.workloads or cluster.unevaluated)
    pods = _by_file(loaded, "Pod", cluster.pods) if by_themselves else None
    spaces = [one for one in cluster.namespaces if not one.implied]
    namespaces = _by_file(loaded, "Namespace", spaces) if by_themselves else {}
    return FilesRead(
        *(cluster, policies, pods, namespaces, False),
        *(remarks, tuple(ignored), files, written / 1e9),
    )


def _by_file(loaded: Loaded, kind: str, objects: Iterable[Item]) -> dict[str, tuple[Item, ...]]:
    """Pods or namespaces by the file that they are from."""
    found: dict[str, list[Item]] = {}
    for one in objects:
        key = kind, one.namespace if isinstance(one, Pod) else "", one.name
        found.setdefault(loaded.origins[key].file, []).append(one)
    return {file: tuple(several) for file, several in found.items()}


def _files(loaded: Loaded) -> dict[str, frozenset[Key]]:
    found: dict[str, set[Key]] = {}
    for key, origin in loaded.origins.items():
        found.setdefault(origin.file, set()).add(key)
    return {file: frozenset(keys) for file, keys in found.items()}


def read_again(
    base: FilesRead, changed: Collection[str], stamps: Mapping[str, Stamp], skip_invalid: bool
) -> tuple[FilesRead, Edit] | None:
    """What there is after a change of some files, and the change; None where only a reading of
    everything gives the right answer."""
    if any(_REPEATED in problem.message for problem in base.remarks):
        return None  # of what is in two files, one may go
    gone: frozenset[Key] = frozenset().union(*(base.files.get(one, ()) for one in changed))
    if not _can_be_read_alone(gone, base) or any(
        one.file in changed for one in base.whole.unevaluated
    ):
        return None
    loaded = Loaded(Cluster())
    present = sorted(name for name in changed if name in stamps)
    if present:
        try:
            loaded = load(present, skip_invalid=skip_invalid, mapped=False)
        except InputError:
            return None
    coming = loaded.origins.keys()
    cluster = settled(loaded.cluster)
    beside = loaded.ignored or cluster.unevaluated or cluster.references != NO_REFERENCES
    if beside or not _can_be_read_alone(coming, base):
        return None
    if any(name not in changed and not keys.isdisjoint(coming)
           for name, keys in base.files.items()):  # fmt: skip
        return None  # defined twice
    policies = dict(base.policies)
    for key in gone:
        policies.pop(key, None)
    of_policies = {policy_key(one): one for one in cluster.policies}
    policies |= of_policies
    pods, namespaces = base.pods, base.namespaces
    edit = Edit(
        "source",
        policies_out=tuple(
            sorted(key for key in gone if is_evaluated(key[0]) and key not in of_policies)
        ),
        policies_in=tuple(
            policy
            for key, policy in of_policies.items()
            if key not in base.policies or not _is_the_same(base.policies[key], policy)
        ),
    )
    written = base.pods_written
    if any(not is_evaluated(kind) for kind, _, _ in (*gone, *coming)):
        assert pods is not None
        edit = msgspec.structs.replace(
            edit, **_objects_edit("pods", changed, pods, cluster.pods, _pod_key)
        )
        spaces = [one for one in cluster.namespaces if not one.implied]
        edit = msgspec.structs.replace(
            edit, **_objects_edit("namespaces", changed, namespaces, spaces, _name)
        )
        pods = _without(pods, changed) | _by_file(loaded, "Pod", cluster.pods)
        namespaces = _without(namespaces, changed) | _by_file(loaded, "Namespace", spaces)
        of_pods = {loaded.origins[key].file for key in coming if key[0] == "Pod"}
        written = max((written, *(stamps[name][_WRITTEN] / 1e9 for name in of_pods)))
    after = replace(
        base,
        policies=policies,
        pods=pods,
        namespaces=namespaces,
        objects_changed=base.objects_changed or pods is not base.pods,
        remarks=(
            *(one for one in base.remarks if one.file not in changed),
            *(*loaded.skipped, *loaded.warnings),
        ),
        files=_without(base.files, changed) | _files(loaded),
        pods_written=written,
    )
    return after, edit


def _can_be_read_alone(keys: Iterable[Key], base: FilesRead) -> bool:
    """Whether objects are what they are whatever else there is."""
    refers = {policy_key(policy) for policy in base.whole.references.policies}
    alone = set[str]()
    if base.pods is not None:
        # The labels of a namespace may select what a policy refers to.
        alone = {"Pod"} if refers else {"Pod", "Namespace"}
    return all(
        key not in refers if is_evaluated(key[0]) else key[0] in alone and not is_generated(key[2])
        for key in keys
    )


def _objects_edit(
    field: str,
    changed: Iterable[str],
    before: Mapping[str, tuple[Item, ...]],
    now: Iterable[Item],
    key_of: Callable[[Any], object],
) -> dict[str, tuple[object, ...]]:
    """The fields of an edit: what of some files has gone and what is not as it was."""
    old = {key_of(one): one for name in changed for one in before.get(name, ())}
    new = {key_of(one): one for one in now}
    fields = msgspec.structs.astuple
    return {
        f"{field}_out": tuple(key for key in old if key not in new),
        f"{field}_in": tuple(
            one for key, one in new.items() if key not in old or fields(old[key]) != fields(one)
        ),
    }


def _pod_key(pod: Pod) -> tuple[str, str]:
    return pod.namespace, pod.name


def _name(namespace: Namespace) -> str:
    return namespace.name


def _without(files: Mapping[str, Any], changed: Collection[str]) -> dict[str, Any]:
    return {name: held for name, held in files.items() if name not in changed}


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
