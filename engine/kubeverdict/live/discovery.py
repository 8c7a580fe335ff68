"""Which kinds an API server serves, and where their objects are.

In one answer for each root where the server aggregates them (Kubernetes 1.27), else in one for each
version of a group. A group whose own server does not answer is named, not taken for absent.

Source: ``k8s.io/api/apidiscovery/v2`` and ``k8s.io/apimachinery`` (APIGroupList, APIResourceList).
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import msgspec

from kubeverdict.live.client import ApiClient, ApiError

_AGGREGATED = ",".join(
    [
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        "application/json",
    ]
)


class Served(NamedTuple):
    """A kind in one version. ``name`` is the plural that its path has."""

    group: str
    version: str
    kind: str
    name: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """Where all of its objects are, of every namespace."""
        root = f"/apis/{self.group}" if self.group else "/api"
        return f"{root}/{self.version}/{self.name}"


class Discovery(NamedTuple):
    """What a server serves and can list, the versions of a kind in its order of preference; and
    the groups that it could not tell anything of, each with the reason."""

    served: tuple[Served, ...]
    unknown: dict[str, str]


# --- shapes ----------------------------------------------------------------------------------


class _Shape(msgspec.Struct, frozen=True, rename="camel"):
    """A part of an answer."""


class _Kind(_Shape, frozen=True):
    kind: str = ""


class _Resource(_Shape, frozen=True):
    resource: str
    response_kind: _Kind | None = None
    verbs: list[str] = []


class _Version(_Shape, frozen=True):
    version: str
    resources: list[_Resource] = []
    freshness: str = "Current"


class _Name(_Shape, frozen=True):
    name: str = ""


class _Group(_Shape, frozen=True):
    metadata: _Name = _Name()
    versions: list[_Version] = []


class _Groups(_Shape, frozen=True):
    """``APIGroupDiscoveryList``; of an older server ``APIGroupList`` or ``APIVersions``."""

    kind: str = ""
    items: list[_Group] = []
    groups: list[_OldGroup] = []
    versions: list[str] = []


class _GroupVersion(_Shape, frozen=True):
    version: str


class _OldGroup(_Shape, frozen=True):
    name: str = ""
    versions: list[_GroupVersion] = []


class _OldResource(_Shape, frozen=True):
    name: str
    kind: str
    verbs: list[str] = []


class _OldResources(_Shape, frozen=True):
    resources: list[_OldResource] = []


_Type = TypeVar("_Type")


def discover(client: ApiClient) -> Discovery:
    """Everything that can be listed. Raises ApiError where the server tells nothing."""
    served: list[Served] = []
    unknown: dict[str, str] = {}
    for root in ("/api", "/apis"):
        found = _decode(client.get(root, accept=_AGGREGATED), _Groups, root)
        if found.kind == "APIGroupDiscoveryList":
            _aggregated(found, served, unknown)
        else:
            _one_by_one(client, root, found, served, unknown)
    return Discovery(tuple(served), unknown)


def _aggregated(found: _Groups, served: list[Served], unknown: dict[str, str]) -> None:
    for group in found.items:
        name = group.metadata.name
        for version in group.versions:
            if version.freshness != "Current":
                unknown[name] = "the server behind it does not answer"
            for one in version.resources:
                if "list" in one.verbs and one.response_kind is not None:
                    served.append(
                        Served(name, version.version, one.response_kind.kind, one.resource)
                    )


def _one_by_one(
    client: ApiClient, root: str, found: _Groups, served: list[Served], unknown: dict[str, str]
) -> None:
    groups = found.groups
    if root == "/api":
        groups = [_OldGroup("", [_GroupVersion(version) for version in found.versions])]
    for group in groups:
        for version in group.versions:
            place = "/".join(part for part in (root, group.name, version.version) if part)
            try:
                answer = client.get(place)
            except ApiError as error:
                unknown[group.name] = str(error)
                continue
            for one in _decode(answer, _OldResources, place).resources:
                if "list" in one.verbs and "/" not in one.name:
                    served.append(Served(group.name, version.version, one.kind, one.name))


def _decode(body: bytes, shape: type[_Type], path: str) -> _Type:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ApiError(0, "", f"{path}: no answer of an API server: {error}") from None
