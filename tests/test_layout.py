"""The house stands as the design says: imports point one way, and files stay readable."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / "engine" / "kubeverdict"
AGENT = ROOT / "bpf" / "kubeverdict_agent"
LONGEST_FILE = 500

FACE = "the package face"
# What each part of the engine may import of the others. A part that is not here has no place in
# the design yet: give it one.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "command": {"errors", "model", FACE},
    "model": {"errors"},
    "services": {"errors", "model"},
    "kernels": set(),
    "manifests": {"errors", "model"},
    "live": {"errors", "model", "manifests"},
    "flowlogs": {"errors", "model"},
    "compile": {"errors", "model", "kernels"},
    "evaluate": {"errors", "model", "services", "kernels", "compile"},
    # The face for the version, which goes into every snapshot.
    "snapshots": {"errors", "command", "model", "compile", "evaluate", FACE},
    "analyses": {"errors", "model", "services", "compile", "evaluate"},
    # The face for the version, which SARIF wants.
    "render": {"errors", "model", "compile", "evaluate", "analyses", FACE},
}
EDGES = {"cli", "distributed", "session", "server", FACE, "__main__"}
AGENT_MAY_NOT_IMPORT = {"cli", "__main__", "render", "analyses", "kernels"}

# Libraries that belong in some parts only.
ONLY_IN: dict[str, set[str]] = {
    "numba": {"kernels"},
    "numpy": {"kernels", "compile", "evaluate", "snapshots", "analyses", FACE},
    "yaml": {"manifests"},
    "ryml": {"manifests"},
    "click": {"cli", "command"},
    "msgspec": {
        *("model", "services", "manifests", "live", "flowlogs", "compile", "evaluate"),
        *("snapshots", "analyses", "render", "distributed", "session", "server"),
    },
    "anyio": {"server"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "websockets": {"cli"},  # looked for, and used by uvicorn
    "urllib3": {"live"},
}


class Import(NamedTuple):
    """One import statement: where it stands and what it names, in full."""

    file: Path
    line: int
    module: str

    @property
    def importer(self) -> str:
        """The part of the engine that imports."""
        return part(self.file.relative_to(ENGINE).with_suffix("").parts)

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def part(below_package: tuple[str, ...]) -> str:
    return FACE if not below_package or below_package[0] == "__init__" else below_package[0]


def sources(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file, those inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                yield Import(path, node.lineno, f"{node.module}.{alias.name}")


def ours(found: Import) -> str | None:
    """The part of the engine that is imported; None where it is a library."""
    package, *rest = found.module.split(".")
    if package != "kubeverdict":
        return None
    # `from kubeverdict import x` names a part, or else something that the face holds.
    known = MAY_IMPORT.keys() | EDGES
    return rest[0] if rest and rest[0] in known else FACE


ENGINE_IMPORTS = [found for path in sources(ENGINE) for found in imports(path)]


def test_there_is_something_to_look_at() -> None:
    assert {found.importer for found in ENGINE_IMPORTS} > {"model", "manifests", "kernels"}


def test_every_part_has_its_place() -> None:
    parts = {part(path.relative_to(ENGINE).with_suffix("").parts) for path in sources(ENGINE)}
    assert parts <= MAY_IMPORT.keys() | EDGES


def test_imports_point_one_way() -> None:
    wrong = [
        str(found)
        for found in ENGINE_IMPORTS
        if found.importer not in EDGES
        and (imported := ours(found)) is not None
        and imported != found.importer
        and imported not in MAY_IMPORT[found.importer]
    ]
    assert wrong == []


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_libraries_stay_where_they_belong(library: str) -> None:
    wrong = [
        str(found)
        for found in ENGINE_IMPORTS
        if found.module.split(".")[0] == library and found.importer not in ONLY_IN[library]
    ]
    assert wrong == []


def test_kernels_know_numpy_and_numba_alone() -> None:
    wrong = [
        str(found)
        for found in ENGINE_IMPORTS
        if found.importer == "kernels"
        and (library := found.module.split(".")[0]) not in {"kubeverdict", "numpy", "numba"}
        and library not in sys.stdlib_module_names
    ]
    assert wrong == []


def test_numba_is_met_in_one_module() -> None:
    where = {found.file.name for found in ENGINE_IMPORTS if found.module.split(".")[0] == "numba"}
    assert where == {"jit.py"}


def test_nothing_imports_the_agent_or_the_benchmarks() -> None:
    strangers = {"kubeverdict_agent", "bench", "tests"}
    wrong = [str(found) for found in ENGINE_IMPORTS if found.module.split(".")[0] in strangers]
    assert wrong == []


def test_the_agent_does_not_use_the_command_line() -> None:
    wrong = [
        str(found)
        for path in sources(AGENT)
        for found in imports(path)
        if ours(found) in AGENT_MAY_NOT_IMPORT
    ]
    assert wrong == []


def test_files_are_short_enough_to_read() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources(ENGINE, AGENT, ROOT / "bench", ROOT / "tests")
        if (lines := path.read_bytes().count(b"\n")) > LONGEST_FILE
    }
    assert long == {}


def test_every_package_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(ENGINE, AGENT, ROOT / "bench")
        if not ast.get_docstring(ast.parse(path.read_bytes()))
    ]
    assert silent == []


def test_every_folder_of_sources_is_a_package() -> None:
    missing = {
        str(path.parent.relative_to(ROOT))
        for path in sources(ENGINE, AGENT, ROOT / "bench")
        if not (path.parent / "__init__.py").exists()
    }
    assert missing == set()


def names(tree: ast.AST) -> set[str]:
    """Every name that is mentioned, by itself or behind a dot."""
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    }


_MARKS = {"kernel", "making_kernel"}


def kernels() -> dict[str, ast.FunctionDef]:
    """Every function declared as a kernel."""
    return {
        node.name: node
        for path in sources(ENGINE / "kernels")
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.FunctionDef)
        and any(not names(mark).isdisjoint(_MARKS) for mark in node.decorator_list)
    }


def test_every_kernel_is_compared_with_a_twin() -> None:
    """By name: a test of the kernels calls it, or calls a kernel that consists of it. That it is
    compared well is theirs to show."""
    declared = kernels()
    assert declared
    reached = set[str]()
    for path in sources(ROOT / "tests" / "kernels"):
        reached |= names(ast.parse(path.read_bytes())) & declared.keys()
    todo = list(reached)
    while todo:
        more = (names(declared[todo.pop()]) & declared.keys()) - reached
        reached |= more
        todo += more
    assert sorted(declared.keys() - reached) == []


def test_no_two_public_classes_share_a_name() -> None:
    where: dict[str, list[str]] = {}
    for path in sources(ENGINE, AGENT, ROOT / "bench"):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}
