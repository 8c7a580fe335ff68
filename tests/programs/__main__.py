"""``python -m tests.programs build [NAME…]``: builds programs by hand; without names: all."""

from __future__ import annotations

import argparse
import sys

from tests.programs.build import BuildFailed, Unavailable, program
from tests.programs.recipe import recipes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    build = verbs.add_parser("build", help="build programs and print where they are")
    build.add_argument("names", metavar="NAME", nargs="*", help="a program, or a whole recipe")
    chosen = parser.parse_args()
    status = 0
    for name in _programs(chosen.names):
        try:
            print(program(name))
        except Unavailable as missing:
            print(f"not built: {missing}", file=sys.stderr)
            status = 1
        except (BuildFailed, LookupError) as wrong:
            print(wrong.args[0], file=sys.stderr)
            status = 2
    return status


def _programs(names: list[str]) -> list[str]:
    of_recipe = {recipe.name: [*recipe.programs, *recipe.tests] for recipe in recipes()}
    if not names:
        names = list(of_recipe)
    # A program may be called like its recipe, which then stands for all of it.
    return [program for name in names for program in of_recipe.get(name, [name])]


if __name__ == "__main__":
    sys.exit(main())
