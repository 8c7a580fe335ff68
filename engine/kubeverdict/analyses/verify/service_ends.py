"""Assertions about Services: asked of the backends, on the ports that these listen on.

``to: svc/shop/db`` or an address of a Service stands for what a connection to it ends at. Such an
assertion becomes one for each target port, and one for what else its end names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from kubeverdict.analyses.ends import KINDS
from kubeverdict.analyses.services import known_ports, remarks
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import Problem, UsageError
from kubeverdict.model.addresses import BITS, format_address, parse_block
from kubeverdict.model.assertions import (
    Assertion,
    Claim,
    EndPart,
    EndSpec,
    PortAsked,
    PortName,
    WorkloadName,
)
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import BlockPeer
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.services import Backend, Client, Frontend, ServiceResolver, Via

_NAMED = 3  # sources that a note names


class CannotAsk(Exception):
    """An assertion about a Service that says nothing, with the place of what is wrong."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class ServiceEnds:
    """Looks through the Services of one compiled cluster. ``notes`` say what was not judged, and
    what is not known of the connections."""

    def __init__(self, compiled: CompiledPolicy) -> None:
        self._compiled = compiled
        self._resolver = ServiceResolver(compiled.cluster)
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def through(
        self, assertion: Assertion, sources: Callable[[], Iterable[Pod]]
    ) -> list[Assertion]:
        """``assertion`` itself, or those that it stands for where its destination names Services.
        ``sources`` gives the pods at its source. Raises CannotAsk."""
        self._check_source(assertion)
        plain: list[EndPart] = []
        frontends: list[Frontend] = []
        for part in assertion.destination.parts:
            entries = self._entries(assertion, part)
            if entries and entries[0].service.headless and assertion.ports is not None:
                # Nothing translates ports: what is asked is asked of the pods.
                backends = (one for entry in entries for one in self._resolver.backends(entry))
                plain += dict.fromkeys(map(_part, backends))
                continue
            frontends += entries or ()
            if entries is None or self._is_plain_too(assertion, part, entries):
                plain.append(part)
        if not frontends:
            return [replace(assertion, destination=EndSpec(tuple(plain)))]
        if self._compiled.profile.service_egress == "cluster-ip":
            title = self._compiled.profile.title
            message = f"{title} judges egress before a Service is translated: name its pods instead"
            raise self._cannot(assertion, "to", message)
        if assertion.claim is Claim.ONLY_TO:
            backends = (one for entry in frontends for one in self._resolver.backends(entry))
            parts = dict.fromkeys((*plain, *map(_part, backends)))
            return [replace(assertion, destination=EndSpec(tuple(parts)))]
        found = [replace(assertion, destination=EndSpec(tuple(plain)))] if plain else []
        for entry in frontends:
            asked = list(self._asked(assertion, entry, sources))
            if not asked:
                message = (
                    f"svc/{entry.service} has no backend on the nodes of these sources, which drop "
                    "the connections whatever policies say (internalTrafficPolicy Local)"
                )
                raise self._cannot(assertion, "to", message)
            found += asked
        return found

    def _asked(
        self, assertion: Assertion, entry: Frontend, sources: Callable[[], Iterable[Pod]]
    ) -> Iterator[Assertion]:
        service = entry.service
        only_local = service.internal_traffic == "Local" and entry.via.is_internal
        self._note(assertion, remarks(entry, Client()))
        if not only_local or assertion.claim is Claim.ONLY_FROM:
            yield from self._on_targets(assertion, entry, self._resolver.backends(entry))
            return
        blocks = tuple(part for part in assertion.source.parts if isinstance(part, BlockPeer))
        if blocks:
            # On which node connections from addresses are sent on is not known.
            self._note(assertion, remarks(entry, Client(), unsure=True))
            outside = replace(assertion, source=EndSpec(blocks))
            yield from self._on_targets(outside, entry, self._resolver.backends(entry))
        by_node: dict[str, list[Pod]] = {}
        for pod in sources():
            by_node.setdefault(pod.node, []).append(pod)
        for node, pods in by_node.items():
            choice = self._resolver.choice(entry, Client(node))
            if choice.dropped:
                clients = ", ".join(map(str, pods[:_NAMED])) + (" …" if len(pods) > _NAMED else "")
                dropped = (
                    f"connections of {clients} to svc/{service} are dropped: it has no backend on "
                    f"node {node} (internalTrafficPolicy Local), whatever policies say"
                )
                self._note(assertion, [dropped])
                continue
            self._note(assertion, remarks(entry, Client(node), choice.unsure))
            own = EndSpec(tuple(WorkloadName(pod.namespace, pod.name, "pod") for pod in pods))
            yield from self._on_targets(replace(assertion, source=own), entry, choice.backends)

    def _note(self, assertion: Assertion, texts: Iterable[str]) -> None:
        self._notes |= dict.fromkeys(f"{assertion.name}: {text}" for text in texts)

    def _on_targets(
        self, assertion: Assertion, entry: Frontend, backends: Iterable[Backend]
    ) -> Iterator[Assertion]:
        by_target: dict[int, dict[EndPart, None]] = {}
        for backend in backends:
            by_target.setdefault(backend.target, {})[_part(backend)] = None
        for target, parts in by_target.items():
            port = PortRange(entry.port.protocol, target, target)
            yield replace(assertion, destination=EndSpec(tuple(parts)), ports=(port,))

    def _check_source(self, assertion: Assertion) -> None:
        for part in assertion.source.parts:
            address = _address(part)
            if _service(part) or (address and self._resolver.is_virtual(address)):
                message = f"{_text(part)}: a Service opens no connections"
                raise self._cannot(assertion, "from", message)

    def _entries(self, assertion: Assertion, part: EndPart) -> tuple[Frontend, ...] | None:
        """The ports of a Service that an assertion is about, those with backends; None for an end
        that is no Service."""
        address, name = _address(part), _service(part)
        if name is not None:
            known = self._resolver.named(*name)
            if known is None:
                raise self._cannot(assertion, "to", f"no Service {'/'.join(name)} in the input")
            service, why = self._resolver.followed(known)
            if service is None:
                raise self._cannot(assertion, "to", f"svc/{known} is {why}")
            every = [Frontend(service, port) for port in service.ports]
        elif address:
            every = [one for one in self._resolver.entries(address) if one.via is not Via.PROXY]
            if not every and not self._claims(address):
                return None
        else:
            return None
        # What may be reached and nothing else may be reached on whatever port.
        headless = name is not None and every and every[0].service.headless
        ports = None if assertion.claim is Claim.ONLY_TO or headless else assertion.ports
        found = tuple(one for one in every if _is_about(ports, one))
        if not found:
            if address and not self._claims(address):
                return None
            services = dict.fromkeys(one.service for one in every)
            known_to_it = known_ports(port for service in services for port in service.ports)
            message = f"{_text(part)} has no such port; it has {known_to_it}"
            raise self._cannot(assertion, "to", message)
        for entry in found:
            try:
                backends = self._resolver.backends(entry)
            except UsageError as error:
                raise self._cannot(assertion, "to", str(error)) from None
            if not backends and not assertion.may_be_empty:
                why = self._resolver.why_none(entry.service)
                message = f"svc/{entry.service} has no backend: {why}"
                raise self._cannot(assertion, "to", message)
        return tuple(entry for entry in found if self._resolver.backends(entry))

    def _is_plain_too(
        self, assertion: Assertion, part: EndPart, entries: tuple[Frontend, ...]
    ) -> bool:
        """Whether an end is asked about on ports other than those of Services: a node is."""
        address = _address(part)
        if not address or self._claims(address):
            return False
        taken = {(entry.port.protocol, entry.front_port) for entry in entries}
        return assertion.ports is None or any(
            not isinstance(port, PortRange)
            or port.first != port.last
            or (port.protocol, port.first) not in taken
            for port in assertion.ports
        )

    def _claims(self, address: str) -> bool:
        """Whether an address is that of Services on every port. What a balancer forwards itself
        goes to the balancer."""
        holders = self._resolver.holders(address)
        translated = any(via is not Via.PROXY for _, via in holders)
        return translated and self._resolver.is_virtual(address)

    def _cannot(self, assertion: Assertion, word: str, message: str) -> CannotAsk:
        place = assertion.source_origin if word == "from" else assertion.destination_origin
        return CannotAsk(Problem(place.file, place.line, word, message))


def _is_about(ports: tuple[PortAsked, ...] | None, entry: Frontend) -> bool:
    return ports is None or any(
        (port.name in (entry.port.name, entry.port.target) and _has(port, entry.port.protocol))
        if isinstance(port, PortName)
        else port.protocol is entry.port.protocol and port.first <= entry.front_port <= port.last
        for port in ports
    )


def _has(port: PortName, protocol: Protocol) -> bool:
    return port.protocol in (None, protocol)


def _service(part: EndPart) -> tuple[str, str] | None:
    if isinstance(part, WorkloadName) and KINDS.get(part.kind, part.kind) == "service":
        return part.namespace, part.name
    return None


def _text(part: EndPart) -> str:
    name = _service(part)
    return f"svc/{'/'.join(name)}" if name else _address(part)


def _address(part: EndPart) -> str:
    """The one address that an end is, empty for other ends."""
    if isinstance(part, BlockPeer) and part.block.prefix == BITS[part.block.family]:
        return format_address(part.block.family, part.block.first)
    return ""


def _part(backend: Backend) -> EndPart:
    if backend.pod is not None:
        return WorkloadName(backend.pod.namespace, backend.pod.name, "pod")
    block = parse_block(f"{backend.address}/{128 if ':' in backend.address else 32}")
    assert block is not None  # as it was read
    return BlockPeer(block)
