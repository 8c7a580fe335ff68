"""What is asked of a destination that does not exist yet: ports, and what names they may have.

A name may stand for any number, so one number of each range that rules distinguish will do. A port
that an assertion names has that name and no other; one that it numbers may have any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kubeverdict.analyses.verify.ports import Ranges, every_port, places
from kubeverdict.analyses.verify.values import TooManyError
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.ports import port_list
from kubeverdict.model.assertions import Assertion, Claim, PortName
from kubeverdict.model.cluster import ContainerPort
from kubeverdict.model.policy import Action, Rule
from kubeverdict.model.ports import PORT_PROTOCOLS, NamedPort, PortRange, Protocol

_PORTS = 65536
# Names whose presence may work both ways; each doubles the pods that are looked at.
_FREE_NAMES = 8


@dataclass(frozen=True, slots=True)
class PortNames:
    """The names that ports of a new pod have, each for all of ``numbers`` of its protocol."""

    names: frozenset[NamedPort] = frozenset()
    numbers: tuple[PortRange, ...] = ()

    def of_container(self) -> tuple[ContainerPort, ...]:
        return tuple(
            ContainerPort(name.name, name.protocol, number.first)
            for name in sorted(self.names)
            for number in self.numbers
            if number.protocol is name.protocol
        )


class RangeQuestion(NamedTuple):
    """``ranges`` on destinations with any one of ``variants``. ``name`` is set where the ports
    are those of a name, whatever its number."""

    ranges: Ranges
    variants: list[PortNames]
    name: str = ""


def questions(
    compiled: CompiledPolicy,
    assertion: Assertion,
    rules: Sequence[Rule],
    protocols: Callable[[PortName], list[Protocol]],
) -> list[RangeQuestion]:
    """The questions behind the ports of an assertion; ``protocols`` tells those of a name.

    Raises TooManyError.
    """
    everything = every_port(compiled)
    asked = assertion.ports
    numbered = (
        everything
        if asked is None
        else places(port for port in asked if isinstance(port, PortRange))
    )
    found = []
    if numbered:
        numbers = representatives(numbered, rules)
        denied = assertion.claim is not Claim.ALLOW
        names = _names(rules, denied, compiled.at_least)
        found.append(RangeQuestion(numbered, [PortNames(each, numbers) for each in names]))
    for port in asked or ():
        if isinstance(port, PortName):
            used = protocols(port)
            own = frozenset(NamedPort(protocol, port.name) for protocol in used)
            numbers = tuple(
                one for one in representatives(everything, rules) if one.protocol in used
            )
            found.append(RangeQuestion(places(numbers), [PortNames(own, numbers)], port.name))
    return found


def _names(rules: Iterable[Rule], denied: bool, at_least: bool) -> list[frozenset[NamedPort]]:
    """The sets of names to look at.

    A rule that allows only ever opens more by matching, and one that denies only ever closes
    more; of a name that it excludes it is the other way round. So names that are in rules of one
    of these kinds alone take what is worse for the
    claim: that nothing gets through (``denied``), or that all does. Others take both.
    """
    contrary = {Action.ALLOW: Action.DENY, Action.DENY: Action.ALLOW, Action.PASS: Action.PASS}
    actions: dict[NamedPort, set[Action]] = {}
    for rule in rules:
        action = rule.counted(at_least)
        for port in rule.ports or ():
            if isinstance(port, NamedPort) and action is not None:
                actions.setdefault(port, set()).add(action)
        for excluded in rule.excluded_ports:
            if isinstance(excluded, NamedPort) and action is not None:
                actions.setdefault(excluded, set()).add(contrary[action])
    there = {Action.ALLOW} if denied else {Action.DENY}
    settled = ({Action.ALLOW}, {Action.DENY})
    fixed = {name for name, used in actions.items() if used == there}
    free = [name for name, used in actions.items() if used not in settled]
    if len(free) > _FREE_NAMES:
        raise TooManyError(f"more than {_FREE_NAMES} names of ports that rules of all kinds have")
    return [
        frozenset(fixed | {name for bit, name in enumerate(free) if number >> bit & 1})
        for number in range(1 << len(free))
    ]


def representatives(ranges: Ranges, rules: Iterable[Rule]) -> tuple[PortRange, ...]:
    """The first port of each part of ``ranges`` that rules distinguish."""
    lists = {(*(rule.ports or ()), *rule.excluded_ports) for rule in rules}
    cuts = {cut for ports in lists for span in port_list(ports) for cut in span}
    found = set()
    for first, stop in ranges:
        found |= {first, *(cut for cut in cuts if first < cut < stop)}
    return tuple(
        PortRange(Protocol(one // _PORTS), one % _PORTS, one % _PORTS)
        for one in sorted(found)
        if one < len(PORT_PROTOCOLS) * _PORTS
    )
