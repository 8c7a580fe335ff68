"""Recipes: folders that say from which Go modules, pinned, a set of programs is built."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"
# In the order of the fields of Recipe.
_TABLES = ("environment", "programs", "tests", "versions")


@dataclass(frozen=True)
class Recipe:
    """A folder with go.mod, go.sum, sources and a recipe.toml of these tables.

    ``environment`` is set for the go command; ``programs`` and ``tests`` give the Go package of
    each program and of each test binary by the name of the file that is built. ``versions`` are
    string variables of Go that get the version of a module, as go.mod has it.
    """

    folder: Path
    environment: Mapping[str, str]
    programs: Mapping[str, str]
    tests: Mapping[str, str]
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.folder.name

    def digest(self, compiler: Mapping[str, str]) -> str:
        """Changes with every file of the folder and with ``compiler``, the go command's own view
        of its version and environment."""
        seen = hashlib.sha256()
        for key in sorted(compiler):
            seen.update(f"{key}={compiler[key]}\0".encode())
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            seen.update(f"{path.relative_to(self.folder)}\0{len(content)}\0".encode())
            seen.update(content)
        return seen.hexdigest()[:16]


def read(folder: Path) -> Recipe:
    """The recipe of a folder. Raises ValueError, with the file, where it makes no sense."""
    file = folder / "recipe.toml"
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{file}: cannot be read: {error}") from error
    for key, table in tables.items():
        if key not in _TABLES:
            raise ValueError(f"{file}: unknown table {key!r}; known are {', '.join(_TABLES)}")
        if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
            raise ValueError(f"{file}: {key}: must map names to strings")
    recipe = Recipe(folder, *(tables.get(key, {}) for key in _TABLES))
    if not recipe.programs and not recipe.tests:
        raise ValueError(f"{file}: builds nothing")
    if both := recipe.programs.keys() & recipe.tests.keys():
        raise ValueError(f"{file}: {min(both)} is both a program and a test binary")
    return recipe


def recipes(below: Path = RECIPES) -> list[Recipe]:
    """All recipes, by name."""
    return [read(file.parent) for file in sorted(below.glob("*/recipe.toml"))]


def recipe_of(program: str, below: Path = RECIPES) -> Recipe:
    """The recipe that builds a program. Raises LookupError where none or several do."""
    found = recipes(below)
    holding = [recipe for recipe in found if program in {*recipe.programs, *recipe.tests}]
    if not holding:
        names = sorted(name for recipe in found for name in (*recipe.programs, *recipe.tests))
        raise LookupError(f"no recipe builds {program}; there are {', '.join(names) or 'none'}")
    if len(holding) > 1:
        folders = " and ".join(recipe.name for recipe in holding)
        raise LookupError(f"{program} is built by several recipes: {folders}")
    return holding[0]
