"""Programs of other projects, built from Go modules once and kept in the user's cache.

A program lies in ``kubeverdict/programs/RECIPE-DIGEST/`` of the cache. The digest is over the
recipe's files, the version of Go and the environment of the build, so a program that is there is
the one that is asked for.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.programs.recipe import RECIPES, Recipe, recipe_of

# What decides about the result beside the sources.
_COMPILER = ("GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "CGO_ENABLED")
# The state of a git checkout would otherwise go into the programs.
_FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
# Of the user's own environment: these would build something else than the recipe says.
_CLEARED = ("GOOS", "GOARCH", "GOEXPERIMENT", "CGO_ENABLED", "GOFLAGS")
# Messages of the go command about a recipe that is wrong, and not about what is missing here.
_RECIPE_IS_WRONG = ("missing go.sum entry", "updates to go.mod needed", "SECURITY ERROR")
_SECONDS_BETWEEN_REPORTS = 15.0


class Unavailable(Exception):
    """Something that a test needs cannot be had on this machine; the text says what and why."""


class BuildFailed(Exception):
    """A recipe does not build although all it needs is here."""


def program(name: str, below: Path = RECIPES) -> Path:
    """The executable ``name``, built if it is not there yet.

    Raises Unavailable where it cannot be had here, BuildFailed where its recipe is wrong, and
    LookupError where no recipe builds it. Processes that ask at the same time build it once.
    """
    recipe = recipe_of(name, below)
    environment = _environment(recipe)
    compiler = _compiler(recipe, environment, name)
    folder = cache() / f"{recipe.name}-{recipe.digest(compiler)}"
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{name}.lock"):
            # Another process may have built it while this one waited.
            if not path.exists():
                _build(recipe, name, path, environment, compiler["GOVERSION"])
    return path


def cache() -> Path:
    """The folder for all programs."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kubeverdict" / "programs"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _environment(recipe: Recipe) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if key not in _CLEARED}
    return {**own, "GOWORK": "off", **recipe.environment}


def _compiler(recipe: Recipe, environment: Mapping[str, str], name: str) -> dict[str, str]:
    if shutil.which("go") is None:
        raise Unavailable(f"{name}: there is no Go on this machine")
    done = subprocess.run(
        ["go", "env", "-json", *_COMPILER],
        cwd=recipe.folder,
        env=dict(environment),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Unavailable(f"{name}: {_last_line(done.stderr)}")
    found = json.loads(done.stdout)
    return {**recipe.environment, **{key: str(found.get(key, "")) for key in _COMPILER}}


def _build(
    recipe: Recipe, name: str, path: Path, environment: Mapping[str, str], version: str
) -> None:
    is_test = name in recipe.tests
    package = recipe.tests[name] if is_test else recipe.programs[name]
    _say(f"{name}: fetching modules (recipe {recipe.name}, {version})")
    packages = _fetch(recipe, name, package, environment, is_test)
    verb = ("test", "-c") if is_test else ("build",)
    # On the same file system, so that the finished program appears at once and whole.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{name}-") as made:
        linking = f"-ldflags=-s -w {_versions(recipe, environment)}"
        command = ["go", *verb, "-v", *_FLAGS, linking, "-o", f"{made}/{name}", package]
        began = time.monotonic()
        status, output = _run_with_reports(command, recipe, environment, name, packages)
        if status:
            raise BuildFailed(f"{name}: recipe {recipe.name}: {output.strip()[-4000:]}")
        Path(made, name).replace(path)
    _say(f"{name}: built in {time.monotonic() - began:.0f} s")


def _fetch(
    recipe: Recipe, name: str, package: str, environment: Mapping[str, str], is_test: bool
) -> int:
    """Get the modules that a package needs; returns how many packages there are in all."""
    tested = ("-test",) if is_test else ()
    done = subprocess.run(
        ["go", "list", "-mod=readonly", "-deps", *tested, package],
        cwd=recipe.folder,
        env=dict(environment),
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return done.stdout.count("\n")
    if any(sign in done.stderr for sign in _RECIPE_IS_WRONG):
        raise BuildFailed(f"{name}: recipe {recipe.name}: {done.stderr.strip()[-4000:]}")
    raise Unavailable(f"{name}: {_last_line(done.stderr)}")


def _versions(recipe: Recipe, environment: Mapping[str, str]) -> str:
    """What tells the linker about the variables for versions."""
    flags = []
    for variable, module in recipe.versions.items():
        done = subprocess.run(
            ["go", "list", "-mod=readonly", "-m", "-f", "{{.Version}}", module],
            cwd=recipe.folder,
            env=dict(environment),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BuildFailed(f"recipe {recipe.name}: versions: {_last_line(done.stderr)}")
        flags.append(f"-X {variable}={done.stdout.strip()}")
    return " ".join(flags)


def _run_with_reports(
    command: list[str], recipe: Recipe, environment: Mapping[str, str], name: str, packages: int
) -> tuple[int, str]:
    """Run a build to its end, saying now and then how far it is. Returns status and messages."""
    began = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            command, cwd=recipe.folder, env=dict(environment), stdout=output, stderr=output
        ) as process,
    ):
        while True:
            try:
                status = process.wait(_SECONDS_BETWEEN_REPORTS)
            except subprocess.TimeoutExpired:
                output.seek(0)
                compiled = sum(not _is_message(line) for line in output)
                of_all = f", {compiled} of {packages} packages compiled" if compiled else ""
                _say(f"{name}: building for {time.monotonic() - began:.0f} s{of_all}")
                continue
            except BaseException:
                process.terminate()
                raise
            output.seek(0)
            return status, "".join(line for line in output if _is_message(line))


def _is_message(line: str) -> bool:
    """``go build -v`` writes the name of each package that it compiles on a line of its own."""
    return " " in line or "\t" in line


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1].strip() if lines else "the go command failed without a message"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
