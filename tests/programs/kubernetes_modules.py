"""``python -m tests.programs.kubernetes_modules [RECIPE]``: writes its go.mod and go.sum anew.

Kubernetes requires its staging modules (k8s.io/api and its like) in no version that exists; whoever
imports it has to say which. Change the line ``k8s.io/kubernetes v1.…`` of the recipe's go.mod, then
run this: it replaces each staging module by the one that was published with that version.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.programs.recipe import RECIPES

_REQUIRED = re.compile(r"^(?:require |\t)k8s\.io/kubernetes v1\.(\S+)", re.M)


def version(folder: Path) -> str:
    """The version of Kubernetes that a recipe's go.mod names, as in 1.36.3."""
    found = _REQUIRED.search((folder / "go.mod").read_text("utf-8"))
    if found is None:
        raise ValueError(f"{folder / 'go.mod'}: does not require k8s.io/kubernetes")
    return f"1.{found[1]}"


def main(recipe: str = "kubernetes") -> int:
    folder = RECIPES / recipe
    wanted = version(folder)
    own = _go(folder, "mod", "download", "-json", f"k8s.io/kubernetes@v{wanted}")
    modules = _staging(json.loads(_go(folder, "mod", "edit", "-json", json.loads(own)["GoMod"])))
    staged = f"v0.{wanted.removeprefix('1.')}"
    language = json.loads(_go(folder, "mod", "edit", "-json"))["Go"]
    # Lines of the version before would stay: what is needed indirectly is found anew.
    (folder / "go.mod").write_text(
        f"module kubernetes\n\ngo {language}\n\n"
        f"require k8s.io/kubernetes v{wanted}\n\n"
        "replace (\n" + "".join(f"\t{name} => {name} {staged}\n" for name in modules) + ")\n",
        "utf-8",
    )
    _go(folder, "mod", "tidy")
    return 0


def _staging(module: dict[str, Any]) -> list[str]:
    """The modules that Kubernetes keeps in folders of its own repository."""
    return sorted(
        replaced["Old"]["Path"]
        for replaced in module["Replace"]
        if replaced["New"]["Path"].startswith("./staging/")
    )


def _go(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["go", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
