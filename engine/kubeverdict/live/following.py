"""A cluster behind its API server, followed: the cluster as it is, then what changes as edits.

In: an :class:`Access`. Out: a cluster, then a :class:`Batch` for what arrived since the last one:
one :class:`~kubeverdict.model.edit.Edit`, and the objects that caused it. Kinds come and go with
the definitions of their resources.

Whatever happens to the connection, what is held stays, and is said to be out of date; once the
server answers again, it is what a fresh list has. What may not be read any more is named as not
evaluated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec import Raw

from kubeverdict.errors import InputError, KubeverdictError, Problem, UsageError
from kubeverdict.live.arrivals import Arrivals
from kubeverdict.live.client import ApiError
from kubeverdict.live.discovery import Served
from kubeverdict.live.kinds import FollowedKinds
from kubeverdict.live.kubeconfig import Access
from kubeverdict.live.listing import NEEDED, missing, missing_of_group
from kubeverdict.live.reflector import (
    Changed,
    KindState,
    Left,
    ListEnd,
    Listing,
    ListPart,
    Notice,
    Reflector,
    Resumed,
    Timing,
    Trouble,
)
from kubeverdict.manifests import policies
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.held import Held, ObjectKey, Read, Unread, key_of
from kubeverdict.manifests.resources import Resource
from kubeverdict.model.causes import Cause
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, PolicyKey
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.model.unevaluated import Unevaluated

_REFUSED = (401, 403)
_GONE = (404, 405)
_START_SECONDS = 120.0
_MOST_NOTICES = 20_000  # that are taken together
_SERVED_ANEW = frozenset({"CustomResourceDefinition", "APIService"})
_NOTHING = Edit("live")

Progress = Callable[[str, int], None]


class Batch(NamedTuple):
    """What changed. ``at`` is when the first of it arrived, on ``time.monotonic``."""

    edit: Edit
    causes: tuple[Cause, ...]
    at: float


class _Manager(msgspec.Struct):
    manager: str = ""
    time: str = ""


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    managed_fields: list[_Manager] | None = None


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_object = msgspec.json.Decoder(_Object)


class _Staged:
    """A list under way: what of it differs from what is held, and all that it has."""

    def __init__(self) -> None:
        self.reads: list[tuple[Read, Raw]] = []
        self.keys: set[ObjectKey] = set()


class Follower:
    """Follows one cluster. For one thread, but for :attr:`states`, which any may read."""

    def __init__(
        self,
        access: Access,
        *,
        skip_invalid: bool = False,
        wanted: Callable[[Served], bool] = lambda served: True,
        timing: Timing | None = None,
    ) -> None:
        """``wanted`` narrows the kinds. With ``skip_invalid`` an object that cannot be read is no
        reason not to start."""
        self.context = access.name
        self._skip_invalid = skip_invalid
        self._notices: Arrivals[Notice] = Arrivals()
        self._kinds = FollowedKinds(access, self._notices, wanted, timing or Timing())
        self._held = Held()
        self._place = Unread(access.name)
        self._staged: dict[Resource, _Staged] = {}
        self._listed: set[Resource] = set()
        self._refused: dict[Resource, Unevaluated] = {}
        self._causes: dict[ObjectKey, Cause] = {}
        self._since = 0.0

    # --- for its user -------------------------------------------------------------------------

    def start(
        self,
        progress: Progress = lambda kind, count: None,
        ended: Callable[[], bool] = lambda: False,
    ) -> Cluster:
        """The cluster as it is now. ``progress`` is told the kind of which objects were read, and
        how many; where ``ended`` it is no longer wanted.

        Raises UsageError where it cannot be reached or its pods or namespaces may not be read, and
        InputError where objects cannot be read.
        """
        try:
            self._kinds.start()
        except ApiError as error:
            raise self._unreachable(error) from None
        deadline = time.monotonic() + _START_SECONDS
        with collector_paused():
            while waiting := self._not_listed():
                if ended():
                    raise self._unreachable("ended before all was read")
                self._take_some(1.0)
                for kind, staged in self._staged.items():
                    progress(kind[1], len(staged.keys))
                for one in waiting:
                    self._check_start(one, time.monotonic() > deadline)
            found = self._whole()
        if self._held.errors and not self._skip_invalid:
            raise InputError(list(self._held.errors), list(self._held.warnings))
        return found

    def next(self, seconds: float) -> Batch | None:
        """What changed since the last call; None where nothing does for so many ``seconds``. All
        that has arrived goes together."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if not self._take_some(max(left, 0.0)) and left <= 0:
                return None
            self._held.missing = self._missing()
            edit = self._held.edit()
            causes, self._causes = tuple(self._causes.values()), {}
            if edit != _NOTHING or any(one.error for one in causes):
                return Batch(edit, causes, self._since or time.monotonic())

    def whole(self) -> Cluster:
        """All of the cluster as far as it has been taken; later batches start from here."""
        self._causes.clear()
        return self._whole()

    @property
    def states(self) -> tuple[KindState, ...]:
        """How well each kind is known now."""
        return self._kinds.states

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What is wrong with objects that cannot be read."""
        return self._held.errors

    @property
    def policies(self) -> frozenset[PolicyKey]:
        """All policies that are held."""
        return self._held.policies

    @property
    def missing(self) -> tuple[Unevaluated, ...]:
        """What is not known because it could not be read."""
        return self._held.missing

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return self._held.warnings

    @property
    def descriptor(self) -> int:
        """Readable once :meth:`next` has something to take."""
        return self._notices.descriptor

    def close(self) -> None:
        """End it."""
        self._kinds.close()
        self._notices.close()

    # --- starting -----------------------------------------------------------------------------

    def _whole(self) -> Cluster:
        self._held.missing = self._missing()
        self._causes.clear()
        return self._held.whole()

    def _not_listed(self) -> list[Reflector]:
        return [
            one
            for one in self._kinds.reflectors
            if _resource(one) not in self._listed and _resource(one) not in self._refused
        ]

    def _check_start(self, one: Reflector, late: bool) -> None:
        if one.state.error and (late or one.state.unreachable):
            raise self._unreachable(one.state.error)
        if late:
            raise self._unreachable(f"{one.state.kind}: no list after {_START_SECONDS:.0f} s")

    def _unreachable(self, error: object) -> UsageError:
        return UsageError(f"context {self.context}: {error}")

    # --- what arrives -------------------------------------------------------------------------

    def _take_some(self, seconds: float) -> bool:
        """Take what has arrived, or the first that does; whether anything did."""
        self._notices.clear()
        notice = self._notices.get(seconds)
        if notice is None:
            return False
        self._since = time.monotonic()
        for _ in range(_MOST_NOTICES):
            if not notice.source.closed or isinstance(notice, Left):
                self._take(notice)
            notice = self._notices.get()
            if notice is None:
                return True
        self._take(notice)
        return True

    def _take(self, notice: object) -> None:
        match notice:
            case Changed(source, what, item, version):
                self._change(source, what, item, version)
            case Listing(source):
                self._staged[_resource(source)] = _Staged()
            case ListPart(source, items):
                self._stage(source, items)
            case ListEnd(source, version):
                self._end(source, version)
            case Trouble(source, error):
                self._trouble(source, error)
            case Resumed(source):
                self._refused.pop(_resource(source), None)
            case Left(source):
                self._leave(_resource(source))

    def _document(self, source: Reflector, item: Raw) -> Document:
        served, place = source.served, self._place
        if policies.is_policy(served.kind):
            # A rule is named with the version of its policy.
            version = _object.decode(item).metadata.resource_version
            place = Unread(f"{self.context}, resourceVersion {version}")
        return Document(place, item, None, served.kind, served.api_version, True)

    def _change(self, source: Reflector, what: str, item: Raw, version: str) -> None:
        resource = _resource(source)
        document = self._document(source, item)
        if what == "DELETED":
            key = key_of(resource, document)
            if self._held.remove(key):
                self._note("deleted", key, version, item)
        else:
            read = self._held.read(resource, document)
            self._put(read, item)
        if source.served.kind in _SERVED_ANEW:
            self._kinds.look()

    def _put(self, read: Read, item: Raw) -> None:
        there = self._held.has(read.key)
        if self._held.take(read):
            errors = read.aside.errors if read.aside else ()
            error = "; ".join(map(str, errors))
            self._note("changed" if there else "added", read.key, "", item, error)

    def _note(self, what: str, key: ObjectKey, version: str, item: Raw, error: str = "") -> None:
        """Of several changes of an object, the cause is the last; what was added stays new."""
        before = self._causes.pop(key, None)
        if before is not None and before.what == "added" and what == "changed":
            what = "added"
        metadata = _object.decode(item).metadata if item else _Metadata()
        fields = sorted(metadata.managed_fields or (), key=lambda one: one.time)
        group, kind = key.resource
        self._causes[key] = Cause(
            what,
            f"{kind}.{group}" if group else kind,
            key.namespace,
            key.name,
            version or metadata.resource_version,
            fields[-1].manager if fields and what != "deleted" else "",
            error,
        )

    # --- lists --------------------------------------------------------------------------------

    def _stage(self, source: Reflector, items: list[Raw]) -> None:
        resource = _resource(source)
        staged = self._staged.setdefault(resource, _Staged())
        for item in items:
            read = self._held.read(resource, self._document(source, item))
            staged.keys.add(read.key)
            if self._held.differs(read):
                # Its bytes are a part of a page, and keep all of it.
                staged.reads.append((read, Raw(bytes(item)) if resource in self._listed else Raw()))

    def _end(self, source: Reflector, version: str) -> None:
        resource = _resource(source)
        staged = self._staged.pop(resource, _Staged())
        for read, item in staged.reads:
            self._put(read, item)
        for key in self._held.keys(resource) - staged.keys:
            if self._held.remove(key):
                self._note("deleted", key, version, Raw())
        self._listed.add(resource)
        self._refused.pop(resource, None)
        if source.served.kind in _SERVED_ANEW:
            self._kinds.look()

    def _trouble(self, source: Reflector, error: KubeverdictError) -> None:
        if not isinstance(error, ApiError):
            return
        resource, served = _resource(source), source.served
        if error.status in _GONE:
            self._kinds.look()
            if resource not in self._listed:
                self._listed.add(resource)  # it went after the server was asked what there is
        elif error.status in _REFUSED:
            if served.kind in NEEDED and resource not in self._listed:
                raise UsageError(
                    f"context {self.context}: no answer without {served.name}: {error}"
                )
            known = "; what was known before is used" if resource in self._listed else ""
            self._refused[resource] = missing(served, f"{error}{known}")

    def _leave(self, resource: Resource) -> None:
        """The server does not serve a kind any more."""
        for key in self._held.keys(resource):
            if self._held.remove(key):
                self._note("deleted", key, "", Raw())
        self._staged.pop(resource, None)
        self._listed.discard(resource)
        self._refused.pop(resource, None)

    def _missing(self) -> tuple[Unevaluated, ...]:
        groups = (
            one
            for group, reason in self._kinds.unknown.items()
            for one in missing_of_group(group, reason)
        )
        unknown = (
            missing(one.served, one.state.error)
            for one in self._kinds.reflectors
            if one.state.error and _resource(one) not in self._listed | self._refused.keys()
        )
        return (*self._refused.values(), *groups, *unknown)


def _resource(source: Reflector) -> Resource:
    return source.served.group, source.served.kind
