"""The verb ``examples``: what lies in the package to try things with."""

from __future__ import annotations

import os
from pathlib import Path

import click

from kubeverdict.command.failures import CLEAN, write_out
from kubeverdict.command.running import FILES, verb
from kubeverdict.errors import UsageError

FOLDER = Path(__file__).parents[1] / "examples"

# What each of them is, and a command that shows it where they were copied to.
_EXAMPLES = {
    "shop": (
        "a web shop whose checkout does not reach its database, because of a typo",
        "explain -f shop --from shop/checkout --to svc/data/orders-db",
    ),
    "shop-change": (
        "a proposed repair: it opens more than it should, and closes something",
        "whatif -f shop --apply shop-change",
    ),
    "shop-dns": (
        "egress policies with a broken rule for DNS",
        "lint -f shop -f shop-dns",
    ),
    "shop-cilium": (
        "a shop on Cilium, where a rule for one Service opens a port to everybody",
        "lint -f shop-cilium --cni cilium",
    ),
    "shop-calico": (
        "Calico's policies before the shop's own: their tier denies more than they say",
        "whatif -f shop --apply shop-calico --cni calico",
    ),
    "shop-assertions.yaml": (
        "what the shop's teams promise each other",
        "verify -f shop -f shop-dns --assertions shop-assertions.yaml",
    ),
    "shop-flows.jsonl": (
        "connections of the shop as Hubble logs them",
        "replay -f shop --flows shop-flows.jsonl --apply shop-change",
    ),
    "shop.svg": (
        "who reaches whom in the shop, by namespace",
        "list -f shop -o svg > picture.svg",
    ),
}


@verb()
@click.option(
    "--copy", "target", type=FILES, metavar="DIR", help="Copy them to DIR; nothing is overwritten."
)
def examples(target: str | None) -> int:
    """Examples to try the other verbs with, and where they are."""
    lines = []
    for name, (what, command) in _EXAMPLES.items():
        lines += [name, f"  {what}", f"  $ kubeverdict {command}"]
    if target is None:
        lines += [
            "",
            f"They are in {FOLDER}; the commands work there",
            "To copy them: kubeverdict examples --copy DIR",
        ]
    else:
        _copy(Path(target))
        lines += ["", f"Copied to {target}; the commands above work there"]
    write_out("".join(f"{line}\n" for line in lines))
    return CLEAN


def _copy(target: Path) -> None:
    """All or none. Raises UsageError where something would be overwritten, or cannot be written."""
    import shutil

    for name in _EXAMPLES:
        if os.path.lexists(target / name):
            raise UsageError(f"{target / name} is there already, and is not overwritten")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in _EXAMPLES:
            source = FOLDER / name
            if source.is_dir():
                shutil.copytree(source, target / name)
            else:
                shutil.copyfile(source, target / name)
    except OSError as error:  # also what copytree collects
        reason = error.strerror or "not all of them can be written"
        raise UsageError(f"{target}: {reason}") from error
