"""Why a connection is allowed or denied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.blocks import CellBlock, blocks
from kubeverdict.analyses.decisions import Decider, Decision, between
from kubeverdict.analyses.ends import End, Party, address_party, find_end, party_id
from kubeverdict.analyses.questions import Flow, PortQuestion, resolve_port
from kubeverdict.analyses.services import AskedPorts, find_entries, no_backend, parties, remarks
from kubeverdict.errors import UsageError
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.services import judge_backend, untranslated
from kubeverdict.model.addresses import Family
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol, icmp_match
from kubeverdict.model.unevaluated import Unevaluated
from kubeverdict.services import Choice, Client, Frontend, ServiceResolver

if TYPE_CHECKING:
    from kubeverdict.compile.compiled import CompiledPolicy


class Answer(msgspec.Struct, frozen=True):
    """One verdict, for every connection from one of ``sources`` to one of ``destinations``.

    ``whole_source`` and ``whole_destination`` say whether those are all that the question
    named. ``family`` is given where IPv4 and IPv6 differ, ``through`` for a Service.
    ``condition`` is what the verdict depends on, where it does; ``allowed`` is then false.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    protocol: str
    port: int
    allowed: bool
    egress: Decision
    ingress: Decision
    whole_source: bool
    whole_destination: bool
    family: Family | None = None
    through: str = ""
    condition: str = ""

    @property
    def hairpins(self) -> tuple[str, ...]:
        """The pods that come back to themselves through the Service."""
        return tuple(name for name in self.sources if self.through and name in self.destinations)


class Explanation(msgspec.Struct, frozen=True):
    """The report. ``allowed`` is true where every answer is. ``via`` is how a Service is reached,
    where it was asked about by one of its addresses."""

    profile: str
    source: str
    destination: str
    port: str
    allowed: bool
    answers: tuple[Answer, ...]
    notes: tuple[str, ...]
    unevaluated: tuple[Unevaluated, ...] = ()
    via: str = ""


class Question(msgspec.Struct, frozen=True, eq=False):
    """One protocol and port, from every source to every destination."""

    sources: tuple[Party, ...]
    destinations: tuple[Party, ...]
    protocol: Protocol
    port: int
    entry: Frontend | None = None

    @property
    def family(self) -> Family | None:
        """The family that a type of ICMP is of."""
        has_type = self.protocol is Protocol.ICMP and self.port
        return icmp_match(self.port).version if has_type else None


# What came out for one flow: allowed, then what decided egress and ingress.
Outcome = tuple[bool, int, int]
# The same where as much as possible is allowed, and as little; alike without conditional rules.
Bounded = tuple[Outcome, Outcome]


def explain(
    compiled: CompiledPolicy, source: str, destination: str, port: PortQuestion | None
) -> Explanation:
    """Judge the connections that the question stands for, and say what decided each.

    ``source`` and ``destination`` are as :func:`find_end` takes them; ``destination`` may also be
    a Service: ``svc/NS/NAME``, its name in DNS or an address of it. Only then may ``port`` be None
    (all ports of the Service). Raises :class:`UsageError` where a name or a port does not exist.
    """
    resolver = ServiceResolver(compiled.cluster)
    origin = find_end(compiled, source)
    asked = find_entries(compiled, resolver, destination, port)
    if asked is not None:
        return _service_explanation(compiled, resolver, origin, asked, port)
    if port is None:
        raise UsageError("--port is missing; only a Service (svc/NS/NAME) goes without")
    target = find_end(compiled, destination)
    writer = _Writer(compiled, len(origin.parties), len(target.parties))
    answers = [
        answer
        for question in _pod_questions(origin, target, port)
        for answer in writer.answers(question)
    ]
    return Explanation(
        profile=compiled.profile.name,
        source=origin.name,
        destination=target.name,
        port=port.text,
        allowed=all(answer.allowed for answer in answers),
        answers=tuple(answers),
        notes=(*origin.notes, *target.notes),
        unevaluated=compiled.unevaluated,
    )


def _service_explanation(
    compiled: CompiledPolicy,
    resolver: ServiceResolver,
    origin: End,
    asked: AskedPorts,
    port: PortQuestion | None,
) -> Explanation:
    """One answer a backend, and one for sources whose node drops the connection."""
    writer = _Writer(compiled, len(origin.parties), 0)
    answers: list[Answer] = []
    notes = [*origin.notes, *asked.notes]
    for entry in asked.entries:
        answered = len(answers)
        for choice, sources in _choices(resolver, origin, entry):
            client = _client(resolver, sources[0])
            notes += remarks(entry, client, choice.unsure)
            if choice.dropped:
                answers.append(_dropped(entry, origin, sources))
            for backend, party in parties(compiled, choice.backends):
                protocol = entry.port.protocol
                question = Question(tuple(sources), (party,), protocol, backend.target, entry)
                answers += writer.answers(question)
        if len(answers) == answered:
            notes.append(f"port {entry.through} has no backend")
    if not answers:
        raise no_backend(resolver, asked.service)
    return Explanation(
        profile=compiled.profile.name,
        source=origin.name,
        destination=f"svc/{asked.service}",
        port=port.text if port else "all ports",
        allowed=all(answer.allowed for answer in answers),
        answers=tuple(answers),
        notes=tuple(dict.fromkeys(notes)),
        unevaluated=compiled.unevaluated,
        via=asked.via,
    )


def _choices(
    resolver: ServiceResolver, origin: End, entry: Frontend
) -> list[tuple[Choice, list[Party]]]:
    """The sources by the backends that they get to."""
    found: dict[Choice, list[Party]] = {}
    for party in origin.parties:
        found.setdefault(resolver.choice(entry, _client(resolver, party)), []).append(party)
    return list(found.items())


def _client(resolver: ServiceResolver, party: Party) -> Client:
    if party.pod is not None:
        return Client(party.pod.node)
    node = resolver.node_of(str(party.addresses[0]))
    return Client(node, inside=bool(node))


def _dropped(entry: Frontend, origin: End, sources: list[Party]) -> Answer:
    decision = Decision(False, "no-local-backend")
    return Answer(
        sources=tuple(party.name for party in sources),
        destinations=(f"svc/{entry.service}",),
        protocol=entry.port.protocol.name,
        port=entry.front_port,
        allowed=False,
        egress=decision,
        ingress=decision,
        whole_source=len(sources) == len(origin.parties),
        whole_destination=True,
    )


def _pod_questions(origin: End, target: End, port: PortQuestion) -> list[Question]:
    """One question for each port that a name stands for, as destinations may differ in it."""
    by_port: dict[tuple[Protocol, int], list[Party]] = {}
    for party in target.parties:
        for resolved in resolve_port(port, party):
            by_port.setdefault(resolved, []).append(party)
    return [
        Question(origin.parties, tuple(parties), protocol, number)
        for (protocol, number), parties in by_port.items()
    ]


class _Writer:
    """Turns questions into answers; holds what is looked up along the way."""

    def __init__(self, compiled: CompiledPolicy, sources: int, destinations: int) -> None:
        self._compiled = compiled
        self._decider = Decider(compiled)
        self._least = Decider(compiled.least[0]) if compiled.least else self._decider
        self._sources = sources
        self._destinations = destinations

    def answers(self, question: Question) -> list[Answer]:
        tables = _tables(self._compiled, question)
        return [
            self._answer(question, block, family)
            for family, table in tables
            for block in blocks(table)
        ]

    def _answer(
        self, question: Question, block: CellBlock[Bounded], family: Family | None
    ) -> Answer:
        most, least = block.value
        flow = Flow(
            question.sources[block.sample[0]],
            question.destinations[block.sample[1]],
            question.protocol,
            question.port,
        )
        flow = msgspec.structs.replace(flow, family=family or _judged_on(question, flow))
        leaving = flow
        if question.entry is not None:
            addresses = untranslated(self._compiled, question.entry, family)
            if addresses:
                # What egress rules see is on its way to the Service.
                front = msgspec.structs.replace(flow, port=question.entry.front_port)
                leaving = msgspec.structs.replace(front, destination=address_party(addresses[0]))
        egress = self._decision(Direction.EGRESS, leaving, most[1], least[1])
        ingress = self._decision(Direction.INGRESS, flow, most[2], least[2])
        condition = ""
        if most[0] and not least[0]:
            found = dict.fromkeys((*egress.conditions, *ingress.conditions))
            condition = "; ".join(found) or "a rule has a condition"
        return Answer(
            sources=tuple(question.sources[row].name for row in block.rows),
            destinations=tuple(question.destinations[column].name for column in block.columns),
            protocol=question.protocol.name,
            port=question.port if question.protocol.has_ports else 0,
            allowed=least[0],
            egress=egress,
            ingress=ingress,
            whole_source=len(block.rows) == self._sources,
            whole_destination=len(block.columns) == self._destinations,
            family=family,
            through=question.entry.through if question.entry else "",
            condition=condition,
        )

    def _decision(self, direction: Direction, flow: Flow, most: int, least: int) -> Decision:
        at_most = self._decider.decision(most, direction, flow)
        if self._least is self._decider:
            return at_most
        return between(at_most, self._least.decision(least, direction, flow))


def _tables(
    compiled: CompiledPolicy, question: Question
) -> list[tuple[Family | None, list[list[Bounded | None]]]]:
    """The outcomes of a question, row by source; once, or per family where they differ.

    A pair that shares both families is judged on each; other pairs on what they share. A pod
    without an address has either.
    """
    plain = _judge(compiled, question, question.family)
    both = [
        [
            (_families(source) or {4, 6}) & (_families(destination) or {4, 6}) == {4, 6}
            for destination in question.destinations
        ]
        for source in question.sources
    ]
    if question.family is not None or not any(map(any, both)):
        return [(None, plain)]
    tables: list[tuple[Family | None, list[list[Bounded | None]]]] = [
        (
            family,
            [
                [one if shared else other for one, other, shared in zip(*row, strict=True)]
                for row in zip(_judge(compiled, question, family), plain, both, strict=True)
            ],
        )
        for family in (4, 6)
    ]
    if tables[0][1] == tables[1][1]:
        return [(None, tables[0][1])]
    wanted = question.entry.family if question.entry else None
    return tables if wanted is None else [(None, dict(tables)[wanted])]


def _families(party: Party) -> set[Family]:
    """Those that it has; a pod that has no address yet may get one of each."""
    return {address.family for address in party.addresses} or {4, 6}


def _judged_on(question: Question, flow: Flow) -> Family | None:
    """The family that decides where it is one for all pairs of an answer; None where both come to
    the same. A pod without an address has either."""
    if question.family is not None:
        return question.family
    source, destination = _families(flow.source), _families(flow.destination)
    if len(source & destination) == 2:
        return question.entry.family if question.entry else None
    return min((source or {4, 6}) & (destination or {4, 6}), default=None)


def _judge(
    compiled: CompiledPolicy, question: Question, family: Family | None
) -> list[list[Bounded | None]]:
    """Both bounds of :func:`_judge_bound`."""
    most = _judge_bound(compiled, question, family)
    least = _judge_bound(compiled.least[0], question, family) if compiled.least else most
    return [
        [
            (one, other) if one is not None and other is not None else None
            for one, other in zip(*rows, strict=True)
        ]
        for rows in zip(most, least, strict=True)
    ]


def _judge_bound(
    compiled: CompiledPolicy, question: Question, family: Family | None
) -> list[list[Outcome | None]]:
    """An outcome for each source and destination; None where a pod would ask about itself.

    That holds inside a workload only: a question about one pod and itself is answered, and so is
    one about a pod that comes back to itself through a Service.
    """
    sources = np.array([party_id(compiled, party) for party in question.sources], np.int64)
    destinations = np.array(
        [party_id(compiled, party) for party in question.destinations], np.int64
    )
    outcomes = (
        _judge_plain(compiled, question, sources, destinations, family)
        if question.entry is None
        else _judge_backend(
            compiled, question.entry, sources, int(destinations[0]), question.port, family
        )
    )
    alone = len(sources) * len(destinations) == 1 or question.entry is not None
    return [
        [
            outcome if alone or source != destination else None
            for destination, outcome in zip(destinations, row, strict=True)
        ]
        for source, row in zip(sources, outcomes, strict=True)
    ]


def _judge_plain(
    compiled: CompiledPolicy,
    question: Question,
    sources: NDArray[np.int64],
    destinations: NDArray[np.int64],
    family: Family | None,
) -> list[list[Outcome]]:
    count = len(sources) * len(destinations)
    verdicts = judge(
        compiled,
        np.repeat(sources, len(destinations)),
        np.tile(destinations, len(sources)),
        np.full(count, int(question.protocol)),
        np.full(count, question.port),
        family=family,
    )
    flat = list(
        zip(
            verdicts.allowed.tolist(),
            verdicts.egress.tolist(),
            verdicts.ingress.tolist(),
            strict=True,
        )
    )
    width = len(destinations)
    return [flat[start : start + width] for start in range(0, count, width)]


def _judge_backend(
    compiled: CompiledPolicy,
    entry: Frontend,
    sources: NDArray[np.int64],
    destination: int,
    port: int,
    family: Family | None,
) -> list[list[Outcome]]:
    found = (
        judge_backend(compiled, entry, source, destination, port, family)
        for source in sources.tolist()
    )
    return [[(one.allowed, one.egress, one.ingress)] for one in found]
