"""iptables and ipset: what a filter table and its sets are, as the texts that their tools load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.baselines.loading import LoadCommand
from kubeverdict.model.policy import BlockPeer

Flavour = Literal["legacy", "nft"]
BUILT_IN = ("INPUT", "FORWARD", "OUTPUT")
_EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class IpSet:
    """A set of ``hash:ip``, ``hash:net`` or ``hash:ip,port``; members as ``ipset add`` has them."""

    kind: str
    members: tuple[str, ...]

    @property
    def header(self) -> str:
        return f"{self.kind} family inet hashsize 1024 maxelem 1048576"


@dataclass(frozen=True, slots=True)
class FilterTable:
    """A filter table with its sets.

    ``in_place`` says how the CNI changes what is there: only the chains and members that differ
    (Calico), or everything, sets by swapping (kube-router).
    """

    flavour: Flavour
    in_place: bool
    chains: Mapping[str, Sequence[str]]  # rules without -A and the chain; built-in ones included
    sets: Mapping[str, IpSet] = field(default_factory=dict)

    def install(self) -> tuple[LoadCommand, ...]:
        """What builds it where there is nothing."""
        fill = _fill(self.sets) if self.in_place else _swap_in(self.sets)
        return (*_ipset(fill), self._restore(self.chains))

    def update(self, old: FilterTable) -> tuple[LoadCommand, ...]:
        """What turns ``old`` into this. Sets come first: rules that name one need it."""
        gone = [f"destroy {name}" for name in old.sets if name not in self.sets]
        if not self.in_place:
            return (*_ipset(_swap_in(self.sets)), self._restore(self.chains), *_ipset(gone))
        changed = {
            name: rules for name, rules in self.chains.items() if old.chains.get(name) != rules
        }
        unused = [name for name in old.chains if name not in self.chains]
        rules = (self._restore(changed, unused, flush=False),) if changed or unused else ()
        return (*_ipset(_differences(old.sets, self.sets)), *rules, *_ipset(gone))

    def remove(self) -> tuple[LoadCommand, ...]:
        """What takes it away."""
        nothing: dict[str, list[str]] = {chain: [] for chain in BUILT_IN}
        return (self._restore(nothing), LoadCommand(("ipset", "destroy")))

    def _restore(
        self, chains: Mapping[str, Sequence[str]], unused: Sequence[str] = (), *, flush: bool = True
    ) -> LoadCommand:
        lines = ["*filter"]
        for name in chains:
            lines.append(f":{name} {'ACCEPT' if name in BUILT_IN else '-'} [0:0]")
        # Without a flush of the table, naming a built-in chain does not empty it.
        if not flush:
            lines += [f"-F {name}" for name in chains if name in BUILT_IN]
        lines += [f"-A {name} {rule}" for name, rules in chains.items() for rule in rules]
        lines += [f"-F {name}" for name in unused] + [f"-X {name}" for name in unused]
        text = "\n".join([*lines, "COMMIT", ""])
        tool = f"iptables-{self.flavour}-restore"
        return LoadCommand((tool,) if flush else (tool, "--noflush"), text)


def _ipset(lines: Iterable[str]) -> tuple[LoadCommand, ...]:
    text = "".join(f"{line}\n" for line in lines)
    return (LoadCommand(("ipset", "restore", "-exist"), text),) if text else ()


def _fill(sets: Mapping[str, IpSet]) -> Iterable[str]:
    for name, ip_set in sets.items():
        yield f"create {name} {ip_set.header}"
        for member in ip_set.members:
            yield f"add {name} {member}"


def _swap_in(sets: Mapping[str, IpSet]) -> Iterable[str]:
    """Each set is filled under another name and swapped with the one in use."""
    for name, ip_set in sets.items():
        spare = f"TMP-{ip_set.kind.replace(':', '-')}"
        yield f"create {spare} {ip_set.header}"
        yield f"flush {spare}"
        for member in ip_set.members:
            yield f"add {spare} {member}"
        yield f"create {name} {ip_set.header}"
        yield f"swap {name} {spare}"
    for kind in dict.fromkeys(ip_set.kind for ip_set in sets.values()):
        yield f"destroy TMP-{kind.replace(':', '-')}"


def _differences(old: Mapping[str, IpSet], new: Mapping[str, IpSet]) -> Iterable[str]:
    yield from _fill({name: ip_set for name, ip_set in new.items() if name not in old})
    for name, ip_set in new.items():
        before = old.get(name)
        if before is None or before == ip_set:
            continue
        was, now = set(before.members), set(ip_set.members)
        for member in sorted(now - was):
            yield f"add {name} {member}"
        for member in sorted(was - now):
            yield f"del {name} {member}"


def net_members(blocks: Iterable[BlockPeer]) -> tuple[str, ...]:
    """Blocks and their excepts as members of a ``hash:net``, which cannot hold a /0."""
    members: dict[str, None] = {}
    for peer in blocks:
        for block, ending in ((peer.block, ""), *((part, " nomatch") for part in peer.excepts)):
            halves = ("0.0.0.0/1", "128.0.0.0/1") if str(block) == _EVERYWHERE else (str(block),)
            members.update(dict.fromkeys(half + ending for half in halves))
    return tuple(members)
