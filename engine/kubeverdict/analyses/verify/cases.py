"""From assertions to cases: who is at each end, and on which ports."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kubeverdict.analyses.conditions import Context, peer_text
from kubeverdict.analyses.ends import find_end
from kubeverdict.analyses.verify.judging import Case
from kubeverdict.analyses.verify.ports import NamedPorts, every_port, places
from kubeverdict.analyses.verify.sides import Side, Sides
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import Problem, UsageError
from kubeverdict.model.assertions import Assertion, Claim, EndPart, EndSpec, PortName, WorkloadName
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import PodPeer
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.selectors import Requirement


class ProvesNothing(Exception):
    """An assertion that would hold whatever policies say; with the place of what is wrong."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class CaseMaker:
    """Makes the cases of assertions about one compiled cluster."""

    def __init__(self, compiled: CompiledPolicy, assertions: Iterable[Assertion]) -> None:
        self._compiled = compiled
        self._sides = Sides(compiled, label_keys(assertions))
        self._names = NamedPorts(compiled.pods)
        self._everything = every_port(compiled)
        self._others: dict[Side, Side] = {}
        self._parts: dict[tuple[Side, PortName, PortRange], Side] = {}
        self._context: Context | None = None

    def cases(self, assertion: Assertion) -> list[Case]:
        """The cases of an assertion.

        Raises ProvesNothing where an end or the name of a port matches nothing and the assertion
        does not say that it may.
        """
        source, destination = self.side(assertion.source), self.side(assertion.destination)
        if not assertion.may_be_empty:
            for word, side in (("from", source), ("to", destination)):
                if not side:
                    raise self._empty(assertion, word)
            if assertion.claim in (Claim.ALLOW, Claim.DENY) and _is_one_pod(source, destination):
                message = "both ends are the same pod: no policy is about that"
                raise _proves_nothing(assertion, "", message)
        source, destination = self.ends(assertion)
        denied = assertion.claim is not Claim.ALLOW
        if assertion.ports is None:
            return [Case(source, destination, self._everything, denied)]
        numbered = [port for port in assertion.ports if isinstance(port, PortRange)]
        found = [Case(source, destination, places(numbered), denied)] if numbered else []
        for port in assertion.ports:
            if isinstance(port, PortName):
                found += self._named(assertion, port, source, destination)
        return found

    def side(self, end: EndSpec) -> Side:
        """Who is at an end."""
        return self._sides.of(end)

    def pods(self, end: EndSpec) -> list[Pod]:
        """The pods at an end."""
        return [self._compiled.pods[n] for n in np.flatnonzero(self.side(end).pods).tolist()]

    def ends(self, assertion: Assertion) -> tuple[Side, Side]:
        """Between whom something is claimed: of `only` all the others are at one end."""
        source, destination = self.side(assertion.source), self.side(assertion.destination)
        if assertion.claim is Claim.ONLY_FROM:
            source = self._all_but(source)
        elif assertion.claim is Claim.ONLY_TO:
            destination = self._all_but(destination)
        return source, destination

    def protocols(self, name: PortName) -> list[Protocol]:
        """The protocols that pods have a port of this name for; TCP where none has one."""
        held = {port.protocol for port in self._names.holders(name)}
        return sorted(held) or [name.protocol or Protocol.TCP]

    def _named(
        self, assertion: Assertion, name: PortName, source: Side, destination: Side
    ) -> list[Case]:
        holders = self._names.holders(name)
        found = []
        for port, mask in holders.items():
            part = self._parts.get((destination, name, port))
            if part is None:
                part = Side(destination.pods & mask)
                self._parts[destination, name, port] = part
            if part:
                found.append(Case(source, part, places([port]), assertion.claim is not Claim.ALLOW))
        # What must not be reached besides the ends of `only to` need not have such a port.
        if not found and assertion.claim is not Claim.ONLY_TO and not assertion.may_be_empty:
            message = f"no pod of the destination has a port named {name}"
            raise _proves_nothing(assertion, "ports", message)
        return found

    def _all_but(self, side: Side) -> Side:
        if side not in self._others:
            self._others[side] = side.others()
        return self._others[side]

    def _empty(self, assertion: Assertion, word: str) -> ProvesNothing:
        end = assertion.source if word == "from" else assertion.destination
        messages = "; ".join(map(self._nothing, end.parts))
        message = f"{messages}: an end that is empty proves nothing (mayBeEmpty: true lets it be)"
        return _proves_nothing(assertion, word, message)

    def _nothing(self, part: EndPart) -> str:
        if isinstance(part, WorkloadName):
            try:
                find_end(self._compiled, str(part))
            except UsageError as error:
                return str(error)
        if not isinstance(part, PodPeer):
            return f"{part} matches nothing"
        if self._context is None:
            compiled = self._compiled
            self._context = Context(compiled.cluster, compiled.profile, compiled.policies)
        hints = [
            *(self._context.hint("pod", one) for one in _requirements(part)),
            *(self._context.hint("namespace", one) for one in part.namespaces.requirements),
        ]
        return f"no pod matches {peer_text(part)}{''.join(text for text, _ in hints)}"


def label_keys(assertions: Iterable[Assertion]) -> set[str]:
    """Every label key that the ends of assertions ask pods about."""
    return {
        requirement.key
        for assertion in assertions
        for end in (assertion.source, assertion.destination)
        for part in end.parts
        if isinstance(part, PodPeer) and part.pods is not None
        for requirement in part.pods.terms()
    }


def _requirements(peer: PodPeer) -> tuple[Requirement, ...]:
    return peer.pods.requirements if peer.pods is not None else ()


def _is_one_pod(source: Side, destination: Side) -> bool:
    if source.addresses or destination.addresses or source.pods.sum() != 1:
        return False
    return bool(np.array_equal(source.pods, destination.pods))


def _proves_nothing(assertion: Assertion, word: str, message: str) -> ProvesNothing:
    place = {
        "from": assertion.source_origin,
        "to": assertion.destination_origin,
    }.get(word, assertion.origin)
    return ProvesNothing(Problem(place.file, place.line, word, message))
