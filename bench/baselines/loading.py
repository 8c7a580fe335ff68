"""How rules get into a node: commands, and what a dataplane is to those who install it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self

from bench.lab import run_in

# Tens of thousands of rules through iptables-nft on a slow machine.
_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class LoadCommand:
    """A tool to run in the node's namespace, and the text that it reads."""

    argv: tuple[str, ...]
    text: str = ""

    def __str__(self) -> str:
        return f"# {' '.join(self.argv)}\n{self.text}"


class Rendering(Protocol):
    """The state of a dataplane."""

    def install(self) -> tuple[LoadCommand, ...]:
        """What builds it where there is nothing."""

    def update(self, old: Self) -> tuple[LoadCommand, ...]:
        """What turns ``old`` into this, as the CNI does it."""

    def remove(self) -> tuple[LoadCommand, ...]:
        """What takes it away."""


def run(netns: str, commands: Iterable[LoadCommand]) -> None:
    """Run the commands in order. Raises RuntimeError with the message of one that fails."""
    for command in commands:
        run_in(netns, command.argv, input=command.text, timeout=_TIMEOUT)
