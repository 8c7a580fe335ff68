"""Removing everything that an agent ever put on a node, also one that was killed.

Needs no agent and no state: programs are known by the folder they are pinned in, as maps are, or by
their place and name among filters.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from kubeverdict.errors import UsageError
from kubeverdict_agent.agent import locked
from kubeverdict_agent.datapath.maps import remove_pins
from kubeverdict_agent.node.attaching import Attacher


@dataclass(frozen=True)
class Removed:
    """``links`` are interface indexes."""

    links: tuple[int, ...]
    pins: bool
    state: bool


def detach(bpffs: Path, state: Path) -> Removed:
    """Remove programs from every link of this network namespace, the maps pinned in ``bpffs``
    and the folder ``state``. Raises UsageError while an agent runs."""
    had_state = state.exists()
    with locked(state, bpffs), contextlib.closing(Attacher(bpffs)) as attacher:
        links = tuple(index for index in attacher.everywhere() if attacher.detach(index))
        had_pins = bpffs.is_dir()
        try:
            remove_pins(bpffs)
        except OSError as error:
            raise UsageError(f"{bpffs}: cannot be removed: {error.strerror}") from None
        shutil.rmtree(state, ignore_errors=True)
    return Removed(links, had_pins, had_state)
