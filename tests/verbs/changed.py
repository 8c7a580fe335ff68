"""Documents and changes of them: what the command is given, and what the oracle then says."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import NamedTuple

from kubeverdict.manifests import load
from tests.clusters.documents import text
from tests.clusters.generated_documents import Maker, Object
from tests.verbs.plain import Plain

Key = tuple[str, str, str]


class Changed(NamedTuple):
    """Documents, the change of them as options of the command, and what they are afterwards."""

    before: list[Object]
    applied: list[Object]
    deleted: list[str]
    after: list[Object]


def key(one: Object) -> Key:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def changed(seed: int) -> Changed:
    make = Maker(Random(seed).choice)
    before = make.cluster(make.choose((2, 3, 4)), make.choose((0, 1, 2)), make.choose((0, 1, 2, 3)))
    makers = {"Pod": make.pod, "AdminNetworkPolicy": make.admin, "NetworkPolicy": make.usual}
    applied: dict[Key, Object] = {}
    deleted = []
    for one in before:
        change = make.choose(("keep", "keep", "delete", "replace"))
        if one["kind"] in makers and change == "delete":
            deleted.append(key(one))
        elif one["kind"] in makers and change == "replace":
            new = makers[one["kind"]](0)
            applied[key(one)] = {**new, "metadata": {**new["metadata"], **placed(one)}}
    if not (applied or deleted):
        deleted.append(key(before[-1]))
    for kind, number in (("Pod", 8), ("AdminNetworkPolicy", 9), ("NetworkPolicy", 10)):
        if make.choose((True, False)):
            one = makers[kind](number)
            applied[key(one)] = one
    after = {key(one): one for one in before if key(one) not in deleted} | applied
    names = ["/".join(filter(None, one)).lower() for one in deleted]
    return Changed(before, list(applied.values()), names, list(after.values()))


def placed(one: Object) -> Object:
    """Where an object is."""
    return {
        name: one["metadata"][name] for name in ("name", "namespace") if name in one["metadata"]
    }


def written(folder: Path, name: str, documents: list[Object]) -> Path:
    path = folder / name
    path.write_text(text(documents))
    return path


def plain(path: Path) -> Plain:
    """The oracle on what is in a file."""
    return Plain(load([str(path)]).cluster)
