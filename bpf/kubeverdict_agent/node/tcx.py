"""Programs on the TCX hooks of links (Linux 6.6): each held by a BPF link that is pinned.

Ours is put before all others, and runs before every tc filter, whatever qdisc the link has. The
pins keep programs in place when the agent ends; a link that is gone leaves its pins, which are
removed when they are met.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from kubeverdict_agent.datapath import bpf_links, bpf_syscall
from kubeverdict_agent.datapath.bpf_links import Hook

_PIN = "link-{index}-{hook}"
_PINS = re.compile(r"link-(\d+)-(ingress|egress)")


class TcxHooks:
    """``pins`` is the folder of the maps."""

    def __init__(self, pins: Path) -> None:
        self._pins = pins

    def attach(self, index: int, hook: Hook, program: int) -> None:
        """Put a program (a descriptor) on a hook, first, in place of ours. Raises OSError."""
        pin = self._pin(index, hook)
        wanted = bpf_links.program_number(program)
        with _opened(pin) as link:
            if link is not None:
                found = bpf_links.link_info(link)
                there = (found.ifindex, found.hook) == (index, hook)
                # One that is not first any more is put there by making it anew, which takes
                # another program: none can be on a hook twice.
                stays = found.program == wanted or self._is_first(index, hook, found.program)
                if there and stays:
                    bpf_links.update_link(link, program)
                    return
            self._create(pin, index, hook, program)

    def order(self, index: int, hook: Hook) -> list[int]:
        """The numbers of the programs on a hook, as they run. Raises OSError."""
        return bpf_links.programs_on(index, hook)

    def detach(self, index: int) -> bool:
        """Take ours off a link; False where nothing was there."""
        found = False
        for hook in Hook:
            with contextlib.suppress(FileNotFoundError):
                self._pin(index, hook).unlink()
                found = True
        return found

    def links(self) -> set[int]:
        """Links that have ours, or had it when they were there."""
        try:
            names = os.listdir(self._pins)
        except OSError:
            return set()
        return {int(found[1]) for name in names if (found := _PINS.fullmatch(name))}

    def _create(self, pin: Path, index: int, hook: Hook, program: int) -> None:
        link = bpf_links.create_link(program, index, hook)
        try:
            # The one before stays on the hook until its pin is replaced.
            new = pin.with_name(f"{pin.name}-new")
            with contextlib.suppress(FileNotFoundError):
                new.unlink()
            bpf_syscall.pin(link, new)
            os.replace(new, pin)
        finally:
            os.close(link)

    def _is_first(self, index: int, hook: Hook, program: int) -> bool:
        return bpf_links.programs_on(index, hook)[:1] == [program]

    def _pin(self, index: int, hook: Hook) -> Path:
        return self._pins / _PIN.format(index=index, hook=hook.name.lower())


@contextlib.contextmanager
def _opened(pin: Path) -> Iterator[int | None]:
    """A descriptor of a pinned link; None where there is none."""
    try:
        link = bpf_syscall.open_pin(pin)
    except FileNotFoundError:
        yield None
        return
    try:
        yield link
    finally:
        os.close(link)
