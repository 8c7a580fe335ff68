"""Connections through a Service, one backend at a time."""

from __future__ import annotations

from dataclasses import dataclass

from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.evaluate.ends import address_ids, service_id
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Service, ServicePort


@dataclass(frozen=True, slots=True)
class BackendVerdict:
    """As :class:`~kubeverdict.evaluate.flows.Verdicts`, for one connection."""

    allowed: bool
    egress: int
    ingress: int


def judge_backend(
    compiled: CompiledPolicy,
    service: Service,
    port: ServicePort,
    source: int,
    backend: int,
    target: int,
    family: Family | None = None,
) -> BackendVerdict:
    """A connection from ``source`` to ``port`` of ``service`` that is sent to ``target`` (a port
    number) of ``backend``; ends are endpoint ids.

    Judged on the backend and its port, except what the profile does differently: egress on the
    cluster IP before translation, and a pod that reaches itself.
    """

    def ask(destination: int, number: int) -> BackendVerdict:
        verdicts = judge(
            compiled,
            [source],
            [destination],
            [port.protocol],
            [number],
            family=family,
            through_service=True,
        )
        return BackendVerdict(
            bool(verdicts.allowed[0]), int(verdicts.egress[0]), int(verdicts.ingress[0])
        )

    def allows(rule: int) -> bool:
        return rule not in (Reason.NO_RULE_MATCHES, Reason.NO_ADDRESS) and (
            rule < 0 or compiled.rules[rule].rule.action == 0
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
    listed = service_id(compiled, service)
    if listed is not None:
        # Rules find the Service by the labels it selects, on the target port; an ipBlock finds
        # its cluster IP on the port that the client uses.
        by_labels = ask(listed, target).egress
        addresses = [
            text for text in service.addresses if family is None or (":" in text) == (family == 6)
        ]
        by_address = [ask(end, port.port).egress for end in address_ids(compiled, addresses)]
        egress = next((rule for rule in (by_labels, *by_address) if allows(rule)), by_labels)
    return BackendVerdict(allows(egress) and allows(ingress), egress, ingress)
