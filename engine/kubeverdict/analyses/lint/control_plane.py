"""Connections without which a cluster does not work: those of its control plane.

The API server calls webhooks and aggregated APIs, and the metrics server asks the kubelets. The
kubelet's probes come from the pod's own node, which every CNI here lets in.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.findings import Severity
from kubeverdict.analyses.lint.exposure import ExposedPort, Exposure
from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit, listed
from kubeverdict.analyses.lint.reach import anyone_outside, blamed, deniers, let_in, sample
from kubeverdict.analyses.wellknown import (
    API_SERVER_LABELS,
    API_SERVER_SERVICE,
    API_SERVER_TUNNEL_LABELS,
    CONTROL_PLANE_NODE_LABELS,
    KUBELET_PORT,
    METRICS_SERVER,
    NAME_KEYS,
)
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import ApiServerCalls
from kubeverdict.model.counts import count
from kubeverdict.model.policy import Direction, Policy
from kubeverdict.model.ports import Protocol


def check(facts: Facts) -> Iterator[Hit]:
    if not (facts.denying[Direction.INGRESS] or facts.denying[Direction.EGRESS]):
        return
    yield from _calls(facts)
    yield from _metrics(facts)


# --- the API server --------------------------------------------------------------------------


class Called(msgspec.Struct, frozen=True, eq=False):
    """Calls of one object to one port of one kind of pods. ``names`` are its webhooks."""

    caller: ApiServerCalls
    backend: ExposedPort
    kind: int
    target: int
    names: list[str]
    required: list[bool]


class ApiServer:
    """Where the API server's connections come from, as far as the input shows."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    @cached_property
    def tunnels(self) -> list[int]:
        """Pods that pass its connections on, as endpoint ids: those of konnectivity."""
        found = []
        for number, kind in enumerate(self._facts.kinds):
            if API_SERVER_TUNNEL_LABELS.items() <= kind.labels.items():
                pod = sample(self._facts, number)
                found += [pod] if pod is not None else []
        return found

    @cached_property
    def addresses(self) -> list[str]:
        """Its addresses: those that it publishes, of its pods, and of the nodes of the control
        plane."""
        cluster = self._facts.cluster
        kinds = [
            number
            for number, kind in self._facts.kinds_in("kube-system")
            if API_SERVER_LABELS.items() <= kind.labels.items()
        ]
        texts = [text for pod in self._facts.pods(kinds) for text in pod.addresses]
        for node in cluster.nodes:
            if not CONTROL_PLANE_NODE_LABELS.isdisjoint(node.labels):
                texts += node.addresses
        for listed_by in cluster.endpoints:
            if (listed_by.namespace, listed_by.service) == API_SERVER_SERVICE:
                ends = (end for group in listed_by.groups for end in group.endpoints)
                texts += [end.address for end in ends]
        return [text for text in dict.fromkeys(texts) if parse_address(text) is not None]

    @property
    def ends(self) -> NDArray[np.int64]:
        """Where its connections come from, as endpoint ids: anywhere outside where it is not
        known."""
        if self.tunnels:
            return np.array(self.tunnels, np.int64)
        known = [_ends(self._facts, text) for text in self.addresses]
        return np.concatenate(known) if known else anyone_outside(self._facts)

    def kept_out(self, pod: int, port: int) -> str | None:
        """Who of it is not let into a pod: where it comes from, in words; empty where that is not
        known and no client outside can connect. None where it can."""
        if self.tunnels:
            inside = let_in(self._facts, self.ends, pod, Protocol.TCP, port)
            return None if inside.all() else "through its konnectivity agents"
        out = [
            text
            for text in self.addresses
            if not let_in(self._facts, _ends(self._facts, text), pod, Protocol.TCP, port).all()
        ]
        if self.addresses:
            return f"from {listed(out)}" if out else None
        anyone = anyone_outside(self._facts)
        return None if let_in(self._facts, anyone, pod, Protocol.TCP, port).any() else ""


def _ends(facts: Facts, address: str) -> NDArray[np.int64]:
    return address_ids(facts.compiled, [address]).astype(np.int64)


def _calls(facts: Facts) -> Iterator[Hit]:
    isolated = facts.denying[Direction.INGRESS]
    found: dict[tuple[int, str, int, int], Called] = {}
    for caller, call, backend in Exposure(facts).called:
        for kind, target in backend.targets:
            if kind in isolated:
                key = (id(caller), str(backend.service), kind, target)
                called = found.setdefault(key, Called(caller, backend, kind, target, [], []))
                called.names.extend([call.name] if call.name else [])
                called.required.append(call.required)
    server = ApiServer(facts)
    for called in found.values():
        pod = sample(facts, called.kind)
        kept_out = server.kept_out(pod, called.target) if pod is not None else None
        if pod is not None and kept_out is not None:
            ends = server.ends
            policy = blamed(facts, called.kind, ends, pod, Protocol.TCP, called.target)
            yield _unreachable(facts, called, kept_out, policy)


def _unreachable(facts: Facts, called: Called, kept_out: str, policy: Policy) -> Hit:
    caller = called.caller
    workloads = facts.workloads([called.kind])
    rule, what, effect = _EFFECTS[caller.kind]
    severity = None
    if rule == "webhook-unreachable" and not any(called.required):
        severity = Severity.WARNING
        effect = "guards is admitted unchecked (failurePolicy: Ignore)"
    names = f" ({listed(called.names)})" if called.names else ""
    message = (
        f"the API server cannot reach TCP {called.target} of {listed(workloads)}"
        f"{f' {kept_out}' if kept_out else ''}: {what} {caller.kind} {caller}{names} {effect}"
    )
    objects = (f"{caller.kind} {caller}", f"Service {called.backend.service}", *workloads[:3])
    fix = (
        f"Allow ingress on TCP {called.target} without a `from`, or from the addresses of the "
        "control plane."
    )
    key = " ".join(objects[:3])
    return Hit(rule, message, policy, objects=objects, severity=severity, fix=fix, key=key)


_EFFECTS = {
    **dict.fromkeys(
        ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"),
        ("webhook-unreachable", "every write that", "guards fails (failurePolicy: Fail)"),
    ),
    "CustomResourceDefinition": (
        "webhook-unreachable",
        "every request for the resources of",
        "in another version than the stored one fails",
    ),
    "APIService": ("aggregated-api-unreachable", "every request for the API of", "fails"),
}


# --- the metrics server ----------------------------------------------------------------------


def _metrics(facts: Facts) -> Iterator[Hit]:
    """The metrics server asks the kubelet of every node."""
    compiled = facts.compiled
    for number in sorted(facts.denying[Direction.EGRESS]):
        labels = facts.kinds[number].labels
        if not any(labels.get(key) == METRICS_SERVER for key in NAME_KEYS):
            continue
        pod = sample(facts, number)
        if pod is None:
            continue
        hosts = compiled.first_host + np.arange(len(compiled.hosts))
        ends = hosts if hosts.size else compiled.first_atom + np.arange(compiled.addresses.atoms)
        columns = (np.full(ends.size, value) for value in (Protocol.TCP, KUBELET_PORT))
        decided = judge(compiled, np.full(ends.size, pod), ends, *columns).egress
        denied = facts.denied(decided)
        blocked = int(denied.sum())
        if not blocked or (not hosts.size and blocked < ends.size):
            continue
        nodes = f"{blocked:,} of {count(ends.size, 'address')} of nodes" if hosts.size else "nodes"
        workloads = facts.workloads([number])
        message = f"{listed(workloads)} cannot reach TCP {KUBELET_PORT} of {nodes}"
        end = int(ends[denied][0])
        way = deniers(facts, Direction.EGRESS, number, (pod, end), Protocol.TCP, KUBELET_PORT)
        policy = way[0]
        yield Hit("metrics-unreachable", message, policy, objects=tuple(workloads[:3]))
