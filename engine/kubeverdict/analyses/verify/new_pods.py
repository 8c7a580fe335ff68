"""Assertions judged for pods that do not exist and could be created.

A new pod may be in any namespace that exists, with any labels and any names of ports. Its address
is one where pods are (or in the ranges that the assertions name), and one stands for all that no
rule distinguishes. A workload stands for pods with the labels that all of its pods have. What
policies can distinguish becomes one pod each, in a small cluster with the policies that can decide,
and the engine judges these.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from kubeverdict.analyses.port_text import Ports
from kubeverdict.analyses.verify.cases import CaseMaker
from kubeverdict.analyses.verify.doubts import condition_of
from kubeverdict.analyses.verify.judging import Case, Cell, Failure, Judge
from kubeverdict.analyses.verify.listing import FailureLister
from kubeverdict.analyses.verify.new_pod_kinds import NewPodSet
from kubeverdict.analyses.verify.questions import RangeQuestion, questions
from kubeverdict.analyses.verify.report import NewPod, Violation
from kubeverdict.analyses.verify.sides import Side
from kubeverdict.analyses.verify.small_cluster import GoverningPolicies, SmallCluster, cases
from kubeverdict.analyses.verify.spans import of_block
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.model.addresses import Address, Family, parse_address
from kubeverdict.model.assertions import Assertion, Claim, EndSpec, WorkloadName
from kubeverdict.model.cluster import CONTROLLER_LABELS, Pod
from kubeverdict.model.policy import Action, BlockPeer, PodPeer
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.selectors import Operator, Requirement, Selector

# Pairs of identities at which an assertion fails that are looked at.
_CELLS = 20_000
# Examples that are shown of one question.
_EXAMPLES = 1_000


class NewPodJudge:
    """Judges assertions about one cluster for pods that it does not have."""

    def __init__(
        self, compiled: CompiledPolicy, maker: CaseMaker, pod_ranges: Sequence[BlockPeer]
    ) -> None:
        self._compiled = compiled
        self._maker = maker
        self._policies = GoverningPolicies(compiled.policies)
        self._candidates = (
            _in_ranges(compiled, pod_ranges) if pod_ranges else addresses_in_use(compiled)
        )

    @property
    def has_addresses(self) -> bool:
        """Whether anything is known about the addresses of pods."""
        return bool(self._candidates)

    def violations(self, assertion: Assertion) -> tuple[list[Violation], bool]:
        """What breaks an assertion, one example for each pair of namespaces and of what decides;
        and whether there may be more. Raises TooManyError."""
        claim = assertion.claim
        source, destination = self._maker.ends(assertion)
        spans = (source.addresses, destination.addresses)
        cluster = SmallCluster(
            self._compiled,
            self._policies,
            self._new_pod_set(assertion.source, claim is Claim.ONLY_FROM),
            self._new_pod_set(assertion.destination, claim is Claim.ONLY_TO),
            spans,
        )
        asked = questions(self._compiled, assertion, cluster.rules, self._maker.protocols)
        sources = cluster.sources(self._candidates)
        variants = [variant for question in asked for variant in question.variants]
        destinations = cluster.destinations(self._candidates, variants)
        small = cluster.compiled(pod for pod, _ in (*sources, *destinations))
        compiled = small.bound(self._compiled.at_least)
        denied = claim is not Claim.ALLOW
        made = cases(compiled, asked, sources, destinations, spans, denied)
        judge = Judge(compiled, made, _CELLS)
        failures = judge.failures()
        examples = _Examples(small, compiled, judge)
        found: list[Violation] = []
        for question, case, failure in zip(asked, made, failures, strict=True):
            found += examples.of(question, case, failure)
        return found, any(failure.more for failure in failures)

    def _new_pod_set(self, end: EndSpec, others: bool) -> NewPodSet:
        peers: list[PodPeer] = []
        for part in end.parts:
            if isinstance(part, PodPeer):
                peers.append(part)
            elif isinstance(part, WorkloadName):
                peers += self._like(part)
        return NewPodSet(tuple(peers), others)

    def _like(self, name: WorkloadName) -> list[PodPeer]:
        """Pods with the labels that all pods of a workload have, save what controllers write."""
        numbers = np.flatnonzero(self._maker.side(EndSpec((name,))).pods).tolist()
        labels = [self._compiled.pods[number].labels.items() for number in numbers]
        if not labels:
            return []
        selector = Selector.of(
            Requirement(key, Operator.IN, (value,))
            for key, value in set(labels[0]).intersection(*labels[1:])
            if key not in CONTROLLER_LABELS
        )
        return [PodPeer(selector, name.namespace)]


class _Simplest(NamedTuple):
    """A pod with few labels, or addresses, as a side of its own."""

    labels: int
    side: Side
    namespace: str


class _Examples:
    """Names what was found among new pods."""

    def __init__(self, both: CompiledPolicy, compiled: CompiledPolicy, judge: Judge) -> None:
        """``compiled`` is the bound of ``both`` that was judged."""
        self._both = both
        self._compiled = compiled
        self._judge = judge
        self._lister = FailureLister(compiled, judge, _EXAMPLES)
        self._known: dict[tuple[int, int, Side], list[_Simplest]] = {}
        self._passed = {
            port
            for ref in compiled.rules
            if ref.rule.counted(compiled.at_least) is Action.PASS
            for port in ref.rule.ports or ()
            if isinstance(port, NamedPort)
        }
        self._passed |= {
            port
            for ref in compiled.rules
            for port in ref.rule.excluded_ports
            if isinstance(port, NamedPort)
        }

    def of(self, question: RangeQuestion, case: Case, failure: Failure) -> list[Violation]:
        """The simplest pair of pods for each way in which a case fails."""
        best: dict[tuple[object, ...], tuple[int, Cell, Side, Side]] = {}
        for cell in failure.cells:
            # Which numbers a name may stand for is of no interest.
            decided = (0 if question.name else cell.ports, cell.egress, cell.ingress)
            for one, other in product(
                self._simplest(cell.plane, cell.source, case.source),
                self._simplest(cell.plane, cell.destination, case.destination),
            ):
                key = (one.namespace, other.namespace, *decided)
                size = one.labels + other.labels
                if key not in best and len(best) >= _EXAMPLES:
                    failure.more = True
                elif key not in best or size < best[key][0]:
                    best[key] = (size, cell, one.side, other.side)
        found = []
        for _, cell, source, destination in best.values():
            chosen = Case(source, destination, case.ports, case.denied)
            if question.name:
                names: tuple[str, ...] = (question.name,)
            else:
                cell, names = self._one_port(cell, destination)
            for violation in self._lister.violations(chosen, Failure([cell]), misses=False):
                found.append(self._shown(violation, question.name, names))
        return found

    def _one_port(self, cell: Cell, destination: Side) -> tuple[Cell, tuple[str, ...]]:
        """The ports of a cell that need no name, or else one of them with the names that it needs:
        a name of a pod that is shown stands for one number."""
        held: dict[tuple[Protocol, int], set[NamedPort]] = {}
        for pod in np.flatnonzero(destination.pods).tolist():
            for port in self._compiled.pods[pod].ports:
                name = NamedPort(port.protocol, port.name)
                held.setdefault((port.protocol, port.number), set()).add(name)
        if not held:
            return cell, ()
        texts = self._judge.slices.texts
        places = texts.places(cell.ports)
        names = [held.get(place, set()) & self._needed(cell, *place) for place in places]
        free = [not some for some in names]
        if not any(free):
            free[0] = True
        first = free.index(True)
        ports = texts.part(cell.ports, free)
        chosen = cell._replace(ports=ports, sample=(*cell.sample[:2], *places[first]))
        return chosen, tuple(sorted({one.name for one in names[first]}))

    def _needed(self, cell: Cell, protocol: Protocol, number: int) -> set[NamedPort]:
        """The names that the rules that decide about a port ask for, where they do not ask for its
        number, and those that lead to them past other tiers."""
        needed = set(self._passed)
        for decided in (cell.egress, cell.ingress):
            ports = self._compiled.rules[decided].rule.ports or () if decided >= 0 else ()
            numbered = (one for one in ports if isinstance(one, PortRange))
            if not any(one.protocol is protocol and one.covers(number) for one in numbered):
                needed |= {port for port in ports if isinstance(port, NamedPort)}
        return needed

    def _simplest(self, plane: int, identity: int, side: Side) -> list[_Simplest]:
        """Of the pods of an identity at a side, in each namespace the one with fewest labels."""
        known = self._known.get((plane, identity, side))
        if known is not None:
            return known
        one = self._judge.maps[plane]
        nobody = np.zeros_like(side.pods)
        found: dict[str, tuple[int, int]] = {}
        if identity < one.plane.pods:
            for number in one.pods(identity, side).tolist():
                pod = self._compiled.pods[number]
                labels = (len(pod.labels), number)
                found[pod.namespace] = min(labels, found.get(pod.namespace, labels))
            known = []
            for namespace, (size, number) in found.items():
                alone = nobody.copy()
                alone[number] = True
                known.append(_Simplest(size, Side(alone), namespace))
        else:
            known = [_Simplest(0, Side(nobody, side.addresses), "")]
        self._known[plane, identity, side] = known
        return known

    def _shown(self, violation: Violation, name: str, names: tuple[str, ...]) -> Violation:
        opener, answerer = (self._pod(text) for text in violation.sample[:2])
        ports = violation.ports
        if name:
            ports = Ports(tuple((protocol, name) for protocol, _ in ports.protocols))
        return replace(
            violation,
            pairs=0,
            family="",
            ports=ports,
            condition=condition_of(self._both, violation.sample),
            new_source=_new_pod(opener),
            new_destination=_new_pod(answerer, violation.sample[2], names),
        )

    def _pod(self, name: str) -> Pod | None:
        namespace, _, short = name.partition("/")
        number = self._compiled.pod_ids.get((namespace, short))
        return None if number is None else self._compiled.pods[number]


def _new_pod(pod: Pod | None, port: str = "", names: tuple[str, ...] = ()) -> NewPod | None:
    if pod is None:
        return None
    return NewPod(
        pod.namespace,
        dict(pod.labels),
        "".join(pod.addresses),
        port if names else "",
        names,
        pod.node,
    )


def addresses_in_use(compiled: CompiledPolicy) -> list[Address]:
    """Of the addresses of pods one in each interval that rules distinguish."""
    found: dict[tuple[Family, int], Address] = {}
    space = compiled.addresses
    starts: dict[Family, list[int]] = {4: [], 6: []}
    for atom in range(space.atoms):
        family, first, _ = space.interval(atom)
        starts[family].append(first)
    known = slice(None) if compiled.profile.dual_stack else slice(1)
    for pod in compiled.pods:
        for text in pod.addresses[known]:
            address = parse_address(text)
            if address is not None:
                atom = bisect_right(starts[address.family], address.value)
                found.setdefault((address.family, atom), address)
    return list(found.values())


def _in_ranges(compiled: CompiledPolicy, ranges: Sequence[BlockPeer]) -> list[Address]:
    """One address in each interval that rules distinguish and that has a part in ``ranges``."""
    found: list[Address] = []
    space = compiled.addresses
    for family, first, last in (span for block in ranges for span in of_block(block)):
        for atom in range(space.atoms):
            own, low, high = space.interval(atom)
            if own == family and low <= last and first <= high:
                found.append(Address(family, max(low, first)))
    return found
