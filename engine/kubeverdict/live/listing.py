"""Everything that an API server holds and a verdict may depend on, as manifests are read.

Objects come in pages. Where the continuation of a list has expired, everything is read again, for
half a list is none. What may not be listed is named as not evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from msgspec import Raw

from kubeverdict.errors import Problem, UsageError
from kubeverdict.live.client import ApiClient, ApiError
from kubeverdict.live.discovery import Served, discover
from kubeverdict.live.kubeconfig import Access
from kubeverdict.manifests import loading, policies
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.kinds import KNOWN, is_read
from kubeverdict.manifests.loading import Loaded
from kubeverdict.manifests.resources import Resource
from kubeverdict.model.sources import FieldPath
from kubeverdict.model.unevaluated import Gap, Unevaluated

_PAGE = 2000
_TRIES = 3  # of the whole, where a list expires while it is read
_NOT_FOUND, _GONE = 404, 410
# No answer without them.
NEEDED = frozenset({"Pod", "Namespace"})

_SLICES, _ENDPOINTS = ("discovery.k8s.io", "EndpointSlice"), ("", "Endpoints")

Progress = Callable[[str, int], None]


class LiveOrigin(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An object of an API server, which has no lines. Implements ``model.sources.Origin``."""

    file: str

    def line_of(self, path: FieldPath) -> int:
        return 0


class LiveCluster(NamedTuple):
    """What was read. ``versions`` are the lowest and the highest resourceVersion of its lists, and
    ``at`` is when the first was asked for."""

    loaded: Loaded
    context: str
    versions: tuple[str, str]
    at: datetime

    def __str__(self) -> str:
        low, high = self.versions
        versions = low if low == high else f"{low} to {high}"
        when = self.at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"the cluster of context {self.context} as of {when}, resourceVersion {versions}"


class _ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    next: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct, frozen=True):
    metadata: _ListMetadata = _ListMetadata()
    items: list[Raw] | None = None


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Object(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()


_page = msgspec.json.Decoder(_Page)
_object = msgspec.json.Decoder(_Object)


def load(
    access: Access, *, skip_invalid: bool = False, progress: Progress = lambda kind, count: None
) -> LiveCluster:
    """Read the cluster as it is now. ``progress`` is told the kind that is being read and how many
    objects of it there are so far.

    Raises UsageError where it cannot be reached or its pods or namespaces may not be read, and
    InputError as for files.
    """
    client = ApiClient(access)
    try:
        for _ in range(_TRIES - 1):
            try:
                return _Reading(client, progress).run(skip_invalid)
            except ApiError as error:
                if error.status != _GONE:
                    raise
        return _Reading(client, progress).run(skip_invalid)
    except ApiError as error:
        raise UsageError(f"context {access.name}: {error}") from None
    finally:
        client.close()


class _Reading:
    """One reading of everything."""

    def __init__(self, client: ApiClient, progress: Progress) -> None:
        self._client = client
        self._progress = progress
        self._context = client.access.name
        self._versions: list[int] = []
        self._missing: list[Unevaluated] = []

    def run(self, skip_invalid: bool) -> LiveCluster:
        begun = datetime.now(UTC)
        discovery = discover(self._client)
        for group, reason in discovery.unknown.items():
            self._missing += missing_of_group(group, reason)
        wanted = wanted_of(discovery.served)
        loaded = loading.load_documents(
            (document for one in wanted for document in self._documents(one)), skip_invalid
        )
        low, high = (str(end(self._versions, default=0)) for end in (min, max))
        return LiveCluster(self._with_missing(loaded), self._context, (low, high), begun)

    def _documents(self, served: Served) -> Iterator[Document]:
        """The objects of a kind, a page at a time."""
        kind, api_version = served.kind, served.api_version
        # A policy is named with its version; of other objects the list's says enough.
        each = policies.is_policy(kind)
        query = {"limit": str(_PAGE)}
        count = 0
        while True:
            page = self._page(served, query)
            if page is None:
                return
            origin = self._origin(page.metadata.resource_version)
            for item in page.items or ():
                place = (
                    self._origin(_object.decode(item).metadata.resource_version) if each else origin
                )
                yield Document(place, item, None, kind, api_version, True)
            count += len(page.items or ())
            self._progress(served.name, count)
            if not page.metadata.next:
                return
            query["continue"] = page.metadata.next

    def _page(self, served: Served, query: dict[str, str]) -> _Page | None:
        try:
            body = self._client.get(served.path, **query)
        except ApiError as error:
            # Without an answer, and in the middle of a list, half of it would be taken for all.
            if error.status in (0, _GONE) or "continue" in query:
                raise
            if error.status != _NOT_FOUND:  # else it went after the server was asked what there is
                self._miss(served, str(error))
            return None
        try:
            page = _page.decode(body)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ApiError(0, "", f"{served.path}: not a list: {error}") from None
        if page.metadata.resource_version.isdigit():
            self._versions.append(int(page.metadata.resource_version))
        return page

    def _origin(self, version: str) -> LiveOrigin:
        return LiveOrigin(f"{self._context}, resourceVersion {version}")

    def _miss(self, served: Served, message: str) -> None:
        kind = served.kind
        if kind in NEEDED:
            raise UsageError(f"context {self._context}: no answer without {served.name}: {message}")
        self._missing.append(missing(served, message))

    def _with_missing(self, loaded: Loaded) -> Loaded:
        if not self._missing:
            return loaded
        found = (*loaded.cluster.unevaluated, *self._missing)
        warnings = [Problem(self._context, 0, "", one.detail) for one in self._missing]
        return replace(
            loaded,
            cluster=msgspec.structs.replace(loaded.cluster, unevaluated=found),
            warnings=(*loaded.warnings, *warnings),
        )


def missing(served: Served, message: str) -> Unevaluated:
    """A kind that could not be read, for the reason that ``message`` is."""
    gap = Gap.NOT_READ if served.kind in KNOWN else Gap.POLICY
    detail = f"{served.name} could not be read: {message}"
    return Unevaluated(served.kind, served.group, gap, 0, detail=detail)


def missing_of_group(group: str, reason: str) -> Iterator[Unevaluated]:
    """What there may be of a group of which the server could tell nothing."""
    for (one, kind), row in policies.POLICIES.items():
        gap = row.gap if isinstance(row, policies.UnreadApi) else Gap.POLICY
        if one == group and gap is not None:
            detail = f"{kind}.{group} could not be read: {reason}"
            yield Unevaluated(kind, group, gap, 0, detail=detail)


def wanted_of(served: tuple[Served, ...]) -> list[Served]:
    """Of each kind that counts, the version to list: one that is read, else the preferred one."""
    found: dict[Resource, Served] = {}
    for one in served:
        key = (one.group, one.kind)
        if is_read(one.api_version, one.kind):
            if key not in found or not is_read(found[key].api_version, one.kind):
                found[key] = one
        elif policies.policy_gap(*key) is not None or policies.evaluated_as(*key) is not None:
            found.setdefault(key, one)
    return [one for key, one in found.items() if _says_it_better(key) not in found]


def _says_it_better(resource: Resource) -> Resource | None:
    """The kind whose objects say what those of another say, and are read instead."""
    row = policies.POLICIES.get(resource)
    if isinstance(row, policies.StoredApi):
        return row.of
    return _SLICES if resource == _ENDPOINTS else None
