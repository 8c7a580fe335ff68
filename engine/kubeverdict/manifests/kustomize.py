"""Kustomizations: whether what they build is what the files of their folder say."""

from __future__ import annotations

import os
import shlex
from typing import Any, NamedTuple

from kubeverdict.manifests import yaml_text
from kubeverdict.manifests.origins import lines_by_path, yaml_tokens

FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_GROUP = "kustomize.config.k8s.io"
# With these, what is built differs from the files in nothing that a verdict depends on.
_HARMLESS = frozenset(
    {
        *("apiVersion", "kind", "metadata", "resources", "images"),
        *("buildMetadata", "generatorOptions", "openapi", "sortOptions"),
    }
)


class Kustomization(NamedTuple):
    """A kustomization in ``path``; ``changes`` says in a few words what it changes, and is empty
    where its files may be read as they are. ``line`` is the place in the kustomization."""

    path: str
    changes: str
    line: int

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path) or "."


def build(folder: str) -> str:
    """How to read what a kustomization builds."""
    return f"kustomize build {shlex.quote(folder)} | kubeverdict … -f -"


def read(path: str, suffixes: tuple[str, ...], root: str) -> Kustomization | None:
    """The kustomization in a file, None where it is an object of another API (Flux has one of
    this name). The files with ``suffixes`` below the folder ``root`` are read anyway."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        value, _ = yaml_text.parse(text)
    except (OSError, UnicodeDecodeError) as error:
        return Kustomization(path, f"it cannot be read: {error}", 1)
    except yaml_text.TextError as error:
        return Kustomization(path, error.message, error.line + 1)
    if value is None:
        return Kustomization(path, "", 0)
    if not isinstance(value, dict):
        return Kustomization(path, "it is not an object", 1)
    if str(value.get("apiVersion") or _GROUP).partition("/")[0] != _GROUP:
        return None
    lines = lines_by_path(yaml_tokens(text), 1)
    changing = [key for key in value if key not in _HARMLESS]
    if changing:
        return Kustomization(path, ", ".join(changing), lines.get((changing[0],), 1))
    for index, entry in enumerate(value.get("resources") or ()):
        if not _is_read(entry, os.path.dirname(path), suffixes, root):
            line = lines.get(("resources", index), 1)
            return Kustomization(path, f"it takes {entry} from elsewhere", line)
    return Kustomization(path, "", 0)


def _is_read(entry: Any, folder: str, suffixes: tuple[str, ...], root: str) -> bool:
    target, inside = (os.path.realpath(path) for path in (os.path.join(folder, str(entry)), root))
    if os.path.commonpath((target, inside)) != inside:
        return False
    is_manifest = os.path.isfile(target) and target.lower().endswith(suffixes)
    return is_manifest or os.path.isdir(target)
