"""nftables: what a table holds, as the text that ``nft -f`` loads in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bench.baselines.loading import LoadCommand


@dataclass(frozen=True, slots=True)
class NftSet:
    """A set, or a map (``word`` says which): its type and its elements."""

    word: str
    kind: str
    elements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """An IPv4 table. ``hooks`` says which chains are base chains; changes are made in place."""

    table: str
    chains: Mapping[str, tuple[str, ...]]
    hooks: Mapping[str, str]
    sets: Mapping[str, NftSet] = field(default_factory=dict)

    def install(self) -> tuple[LoadCommand, ...]:
        """What builds it where there is nothing."""
        # A map of verdicts needs its chains, rules need their sets: declare all, then fill.
        lines = [f"add table ip {self.table}"]
        lines += [self._chain(name) for name in self.chains]
        for name, nft_set in self.sets.items():
            lines += self._set(name, nft_set)
        lines += self._rules(self.chains)
        return (_load(lines),)

    def update(self, old: Ruleset) -> tuple[LoadCommand, ...]:
        """What turns ``old`` into this."""
        table = f"ip {self.table}"
        lines = [self._chain(name) for name in self.chains if name not in old.chains]
        for name, nft_set in self.sets.items():
            if (before := old.sets.get(name)) is None:
                lines += self._set(name, nft_set)
            elif before != nft_set:
                was, now = set(before.elements), set(nft_set.elements)
                lines += _elements(f"add element {table} {name}", sorted(now - was))
                lines += _elements(f"delete element {table} {name}", sorted(was - now))
        changed = {
            name: rules for name, rules in self.chains.items() if old.chains.get(name) != rules
        }
        lines += [f"flush chain {table} {name}" for name in changed if name in old.chains]
        lines += self._rules(changed)
        gone = [name for name in old.chains if name not in self.chains]
        lines += [f"flush chain {table} {name}" for name in gone]
        lines += [f"delete chain {table} {name}" for name in gone]
        for name, nft_set in old.sets.items():
            if name not in self.sets:
                lines.append(f"delete {nft_set.word} {table} {name}")
        return (_load(lines),) if lines else ()

    def remove(self) -> tuple[LoadCommand, ...]:
        """What takes it away."""
        return (_load([f"delete table ip {self.table}"]),)

    def _chain(self, name: str) -> str:
        hook = self.hooks.get(name)
        body = f" {{ {hook} }}" if hook else ""
        return f"add chain ip {self.table} {name}{body}"

    def _set(self, name: str, nft_set: NftSet) -> Iterator[str]:
        yield f"add {nft_set.word} ip {self.table} {name} {{ {nft_set.kind} }}"
        yield from _elements(f"add element ip {self.table} {name}", nft_set.elements)

    def _rules(self, chains: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
        for name, rules in chains.items():
            for rule in rules:
                yield f"add rule ip {self.table} {name} {rule}"


def _elements(start: str, elements: tuple[str, ...] | list[str]) -> Iterator[str]:
    if elements:
        yield f"{start} {{ {', '.join(elements)} }}"


def _load(lines: list[str]) -> LoadCommand:
    return LoadCommand(("nft", "-f", "-"), "\n".join([*lines, ""]))
