"""Connections through a Service, one backend at a time."""

from __future__ import annotations

from dataclasses import dataclass

from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.evaluate.ends import address_ids, service_id
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.addresses import Family
from kubeverdict.services.resolver import Frontend, Via


@dataclass(frozen=True, slots=True)
class BackendVerdict:
    """As :class:`~kubeverdict.evaluate.flows.Verdicts`, for one connection."""

    allowed: bool
    egress: int
    ingress: int


def judge_backend(
    compiled: CompiledPolicy,
    entry: Frontend,
    source: int,
    backend: int,
    target: int,
    family: Family | None = None,
) -> BackendVerdict:
    """A connection from ``source`` by way of ``entry`` that is sent to ``target`` (a port number)
    of ``backend``; ends are endpoint ids.

    Judged on the backend and its port, except what the profile does differently: egress on the
    cluster IP before translation, and a pod that reaches itself. What a load balancer forwards
    itself has left the cluster before: egress is judged on the balancer's address.
    """

    def ask(destination: int, number: int) -> BackendVerdict:
        verdicts = judge(
            compiled,
            [source],
            [destination],
            [entry.port.protocol],
            [number],
            family=family,
            through_service=True,
        )
        return BackendVerdict(
            bool(verdicts.allowed[0]), int(verdicts.egress[0]), int(verdicts.ingress[0])
        )

    def allows(rule: int) -> bool:
        return rule not in (Reason.NO_RULE_MATCHES, Reason.NO_ADDRESS) and (
            rule < 0 or compiled.allows(rule)
        )

    judged = ask(backend, target)
    egress, ingress = judged.egress, judged.ingress
    if egress == Reason.NO_ADDRESS or not compiled.profile.enforces:
        return judged
    hairpin = compiled.profile.hairpin if source == backend else "judged"
    if hairpin == "allowed":
        return BackendVerdict(True, Reason.HAIRPIN, Reason.HAIRPIN)
    if hairpin == "ingress-allowed":
        ingress = Reason.HAIRPIN
    addresses = untranslated(compiled, entry, family)
    if addresses:
        # Rules find the Service by the labels it selects, on the target port; an ipBlock finds
        # an address on the port that the client uses.
        listed = service_id(compiled, entry.service) if entry.via.is_internal else None
        seen = [ask(listed, target).egress] if listed is not None else []
        seen += [ask(end, entry.front_port).egress for end in address_ids(compiled, addresses)]
        egress = next((rule for rule in seen if allows(rule)), seen[0])
    return BackendVerdict(allows(egress) and allows(ingress), egress, ingress)


def untranslated(
    compiled: CompiledPolicy, entry: Frontend, family: Family | None = None
) -> list[str]:
    """The addresses on which egress by way of an entry is judged, because they have not been
    translated yet; none where it is judged at the backends."""
    if entry.via is not Via.PROXY and compiled.profile.service_egress == "backend":
        return []
    texts = (entry.address,) if entry.address else entry.service.addresses
    return [text for text in texts if family is None or (":" in text) == (family == 6)]
