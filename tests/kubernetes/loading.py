"""A dump put into an API server: objects with their statuses, as if controllers and nodes had made
them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.kubernetes.api import Api, ApiError, Object

_THREADS = 8
_CRD = "CustomResourceDefinition"
# What only a server sets, or what refers to objects that may not be there: a controller would
# delete a pod without its owner, and a finalizer would keep it for ever.
_NOT_OURS = (
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"),
    *("deletionGracePeriodSeconds", "managedFields", "selfLink", "ownerReferences", "finalizers"),
)
# Admission works these out from a priority class.
_ADMISSION_SETS = ("priority", "preemptionPolicy")


class Refusal(NamedTuple):
    """An object that the API server did not take, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def read(path: Path) -> list[Object]:
    """The objects of a file, JSON or YAML, lists taken apart. Raises ValueError where it is
    neither."""
    text = path.read_text("utf-8")
    try:
        documents = [json.loads(text)]
    except ValueError:
        try:
            documents = list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: neither JSON nor YAML: {error}") from error
    found = [item for document in documents for item in _items(document)]
    for item in found:
        if not _is_object(item):
            raise ValueError(f"{path}: an object without apiVersion, kind or metadata.name")
    return found


def load(api: Api, objects: Iterable[Object]) -> list[Refusal]:
    """Apply objects and their statuses; returns what was refused.

    Namespaces and service accounts that objects name and that do not come with them are made.
    """
    phases = _phases(list(objects))
    refused: list[Refusal] = []
    with ThreadPoolExecutor(_THREADS) as threads:

        def each(step: Callable[[Object], None], items: list[Object]) -> None:
            def one(item: Object) -> Refusal | None:
                try:
                    step(item)
                except ApiError as error:
                    return Refusal(_name(item), str(error))
                return None

            refused.extend(found for found in threads.map(one, items) if found)

        for items in phases:
            each(lambda item: _apply(api, item), items)
            each(lambda item: _apply_status(api, item), [item for item in items if _status(item)])
    return refused


def create(api: Api, item: Object) -> None:
    """Create an object that is not there, without its status. Raises ApiError where it is
    refused."""
    api.create(api.path_of(item, named=False), _body(item))


def _phases(objects: list[Object]) -> list[list[Object]]:
    """Objects in groups that can be applied one after the other."""
    spaces = [item for item in objects if item["kind"] == "Namespace"]
    definitions = [item for item in objects if item["kind"] == _CRD]
    accounts = [item for item in objects if item["kind"] == "ServiceAccount"]
    first = {id(item) for item in (*spaces, *definitions, *accounts)}
    rest = [item for item in objects if id(item) not in first]

    known = {item["metadata"]["name"] for item in spaces}
    named = {item["metadata"]["namespace"] for item in objects if item["metadata"].get("namespace")}
    spaces += [_bare("Namespace", name) for name in sorted(named - known)]

    have = {_place(item) for item in accounts}
    wanted = {
        (item["metadata"].get("namespace", "default"), _account(item))
        for item in rest
        if item["kind"] == "Pod"
    }
    accounts += [_bare("ServiceAccount", name, space) for space, name in sorted(wanted - have)]
    return [definitions + spaces, accounts, rest]


def _apply(api: Api, item: Object) -> None:
    api.apply(api.path_of(item), _body(item))


def _body(item: Object) -> Object:
    metadata = {key: value for key, value in item["metadata"].items() if key not in _NOT_OURS}
    body = {**item, "metadata": metadata}
    body.pop("status", None)
    if item["kind"] == "Pod":
        body["spec"] = _pod_spec(item.get("spec") or {})
    return body


def _apply_status(api: Api, item: Object) -> None:
    metadata = {"name": item["metadata"]["name"]}
    if space := item["metadata"].get("namespace"):
        metadata["namespace"] = space
    body = {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "metadata": metadata,
        "status": _status(item),
    }
    api.apply(f"{api.path_of(item)}/status", body)


def _status(item: Object) -> Any:
    # A definition's status says what the server made of it.
    return item.get("status") if item["kind"] != _CRD else None


def _pod_spec(spec: Object) -> Object:
    kept = {key: value for key, value in spec.items() if key not in _ADMISSION_SETS}
    # Dumps that were made up for tests leave out what no verdict depends on.
    containers = [
        {"image": "none", **container}
        for container in kept.get("containers") or [{"name": "container"}]
    ]
    return {**kept, "containers": containers}


def _account(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("serviceAccountName") or "default")


def _bare(kind: str, name: str, space: str | None = None) -> Object:
    metadata = {"name": name} if space is None else {"name": name, "namespace": space}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def _place(item: Object) -> tuple[str, str]:
    return item["metadata"].get("namespace", "default"), item["metadata"]["name"]


def _name(item: Object) -> str:
    space = item["metadata"].get("namespace")
    return f"{item['kind']} {space + '/' if space else ''}{item['metadata']['name']}"


def _items(document: Any) -> Iterator[Any]:
    """The objects of a document. A typed list gives its items a kind that they do not repeat."""
    if not isinstance(document, dict) or "items" not in document:
        if document is not None:
            yield document
        return
    kind = str(document.get("kind", ""))
    own = {"apiVersion": document.get("apiVersion"), "kind": kind.removesuffix("List")}
    for item in document["items"] or ():
        yield {**own, **item} if kind != "List" and isinstance(item, dict) else item


def _is_object(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("apiVersion"), str)
        and isinstance(item.get("kind"), str)
        and isinstance(item.get("metadata"), dict)
        and isinstance(item["metadata"].get("name"), str)
    )
