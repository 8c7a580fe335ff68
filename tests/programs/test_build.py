"""The builder itself, with a stand-in for the go command."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.programs import recipe as recipe_module
from tests.programs.build import BuildFailed, Unavailable, program
from tests.programs.recipe import read, recipe_of, recipes

ROOT = Path(__file__).parents[2]
COMPILER = {"GOVERSION": "go1.26.0", "CGO_ENABLED": "0"}

# Notes each call in $GO_LOG, fails where $GO_FAILS names its verb, and writes what it "builds".
FAKE_GO = f"""\
#!{sys.executable}
import json, os, sys, time
verb, *arguments = sys.argv[1:]
if verb == "env":
    names = arguments[1:]
    print(json.dumps({{name: os.environ.get(name, "") for name in names}}
        | {{"GOVERSION": os.environ.get("FAKE_VERSION", "go1.26.0")}}))
    sys.exit()
with open(os.environ["GO_LOG"], "a") as log:
    log.write(json.dumps([verb, arguments, os.environ.get("CGO_ENABLED"),
        os.environ.get("GOFLAGS")]) + "\\n")
if os.environ.get("GO_FAILS") == verb:
    sys.exit("go: downloading\\n" + os.environ["GO_SAYS"])
if verb == "list" and "-m" in arguments:
    print("v1.2.3")
if verb in ("build", "test"):
    print("example.org/package", file=sys.stderr)
    time.sleep(float(os.environ.get("GO_TAKES", "0")))
    with open(arguments[arguments.index("-o") + 1], "w") as built:
        built.write(arguments[-1])
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one recipe, ``tools``, on a machine where go is the stand-in."""
    folder = tmp_path / "recipes" / "tools"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module tools\n")
    (folder / "go.sum").write_text("")
    (folder / "recipe.toml").write_text(
        textwrap.dedent("""\
            [environment]
            CGO_ENABLED = "0"
            [programs]
            hammer = "./cmd/hammer"
            saw = "example.org/saw"
            [tests]
            "saw.test" = "example.org/saw/test"
            """)
    )
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(FAKE_GO)
    go.chmod(go.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(go.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GO_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("GOFLAGS", "-race")
    return tmp_path / "recipes"


def calls(shelf: Path) -> list[tuple[str, list[str], str | None, str | None]]:
    log = shelf.parent / "log"
    calls = []
    for line in log.read_text().splitlines() if log.exists() else []:
        verb, arguments, cgo, flags = json.loads(line)
        calls.append((verb, arguments, cgo, flags))
    return calls


def test_a_program_is_built_once(shelf: Path) -> None:
    path = program("hammer", shelf)
    assert path.parent.parent == shelf.parent / "cache" / "kubeverdict" / "programs"
    assert path.parent.name.startswith("tools-")
    assert path.read_text() == "./cmd/hammer"
    assert program("hammer", shelf) == path
    assert [verb for verb, *_ in calls(shelf)] == ["list", "build"]
    assert sorted(found.name for found in path.parent.iterdir()) == [".hammer.lock", "hammer"]


def test_what_decides_about_a_build_is_the_recipe_alone(shelf: Path) -> None:
    program("saw.test", shelf)
    _, (verb, arguments, cgo, flags) = calls(shelf)
    assert (verb, cgo, flags) == ("test", "0", None)
    assert arguments[0] == "-c"
    assert {"-trimpath", "-mod=readonly", "-ldflags=-s -w "} < set(arguments)


def test_programs_know_their_version(shelf: Path) -> None:
    with (shelf / "tools" / "recipe.toml").open("a") as file:
        file.write('[versions]\n"example.org/version.text" = "example.org/saw"\n')
    program("saw", shelf)
    _, asked, (_, arguments, *_) = calls(shelf)
    assert asked[1][-1] == "example.org/saw"
    assert "-ldflags=-s -w -X example.org/version.text=v1.2.3" in arguments


def test_programs_are_built_when_they_are_asked_for(shelf: Path) -> None:
    hammer, saw = program("hammer", shelf), program("saw", shelf)
    assert hammer.parent == saw.parent
    assert [arguments[-1] for verb, arguments, *_ in calls(shelf) if verb == "build"] == [
        "./cmd/hammer",
        "example.org/saw",
    ]


def test_another_version_of_go_builds_anew(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = program("saw", shelf)
    monkeypatch.setenv("FAKE_VERSION", "go1.27.0")
    assert program("saw", shelf) != first


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "recipe.toml", "cmd/hammer/main.go"])
def test_the_digest_changes_with_every_file(shelf: Path, file: str) -> None:
    folder = shelf / "tools"
    before = read(folder).digest(COMPILER)
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    assert read(folder).digest(COMPILER) != before


@pytest.mark.parametrize("changed", [{"GOVERSION": "go1.26.1"}, {"CGO_ENABLED": "1"}])
def test_the_digest_changes_with_the_compiler(shelf: Path, changed: dict[str, str]) -> None:
    recipe = read(shelf / "tools")
    assert recipe.digest(COMPILER) == recipe.digest(dict(COMPILER))
    assert recipe.digest(COMPILER) != recipe.digest({**COMPILER, **changed})


def test_processes_that_ask_together_build_once(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_TAKES", "0.5")
    code = (
        "import sys; from pathlib import Path; from tests.programs.build import program;"
        "print(program('saw', Path(sys.argv[1])))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(shelf)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(3)
    ]
    paths = {process.communicate(timeout=60)[0].strip() for process in asking}
    assert len(paths) == 1 and Path(paths.pop()).read_text() == "example.org/saw"
    assert [verb for verb, *_ in calls(shelf)].count("build") == 1


def test_without_go_a_program_cannot_be_had(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(shelf))
    with pytest.raises(Unavailable, match=r"^saw: there is no Go on this machine$"):
        program("saw", shelf)


def test_a_module_that_is_not_served_is_said_in_one_line(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_FAILS", "list")
    monkeypatch.setenv("GO_SAYS", "go: example.org/saw@v1.0.0: no such host")
    with pytest.raises(Unavailable) as missing:
        program("saw", shelf)
    assert str(missing.value) == "saw: go: example.org/saw@v1.0.0: no such host"


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("list", "example.org/saw: missing go.sum entry; to add it: go mod tidy"),
        ("build", "./main.go:3:1: syntax error"),
    ],
)
def test_a_wrong_recipe_is_a_failure(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, verb: str, message: str
) -> None:
    monkeypatch.setenv("GO_FAILS", verb)
    monkeypatch.setenv("GO_SAYS", message)
    with pytest.raises(BuildFailed) as failed:
        program("saw", shelf)
    assert str(failed.value).startswith("saw: recipe tools: ") and message in str(failed.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[programs]\nsaw = 7\n", "programs: must map names to strings"),
        ("[program]\nsaw = 'x'\n", "unknown table 'program'"),
        ("[environment]\n", "builds nothing"),
        ("[programs]\nsaw='x'\n[tests]\nsaw='x'\n", "saw is both a program and a test binary"),
        ("programs", "cannot be read"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ValueError, match=reason) as refused:
        read(tmp_path)
    assert str(tmp_path / "recipe.toml") in str(refused.value)


def test_unknown_and_ambiguous_programs(shelf: Path) -> None:
    with pytest.raises(
        LookupError, match=r"no recipe builds axe; there are hammer, saw, saw\.test"
    ):
        program("axe", shelf)
    again = shelf / "again"
    again.mkdir()
    (again / "recipe.toml").write_text("[programs]\nsaw = 'x'\n")
    with pytest.raises(LookupError, match="saw is built by several recipes: again and tools"):
        program("saw", shelf)


def test_our_recipes_are_pinned_and_build_each_program_once() -> None:
    for recipe in recipes():
        assert (recipe.folder / "go.mod").exists() and (recipe.folder / "go.sum").exists()
        for name in (*recipe.programs, *recipe.tests):
            assert recipe_of(name, recipe_module.RECIPES) == recipe
