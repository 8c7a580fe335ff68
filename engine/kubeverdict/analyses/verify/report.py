"""The results of assertions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kubeverdict.analyses.decisions import Decision, because
from kubeverdict.analyses.findings import Check, Finding, Severity
from kubeverdict.analyses.port_text import Ports
from kubeverdict.model.unevaluated import Unevaluated


class NewPod(msgspec.Struct, frozen=True):
    """A pod that does not exist and could: it has these labels and no others. ``port_names`` are
    the names that its ``port`` (a protocol and a number) would have, ``address`` and ``node`` where
    they matter."""

    namespace: str
    labels: dict[str, str]
    address: str = ""
    port: str = ""
    port_names: tuple[str, ...] = ()
    node: str = ""

    def __str__(self) -> str:
        labels = ",".join(f"{key}={value}" for key, value in sorted(self.labels.items()))
        parts = [f"with {labels}" if labels else "without labels"]
        if self.address:
            parts.append(f"at {self.address}")
        if self.node:
            parts.append(f"on node {self.node}")
        if self.port_names:
            parts.append(f"port {self.port} named {', '.join(self.port_names)}")
        return f"a new pod in {self.namespace} {', '.join(parts)}"


class Violation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Connections that an assertion forbids and policies allow, or the other way round.

    All from ``source`` to ``destination``, on ``ports``, are decided by the same rules. Ends are
    workloads, parts of workloads (``shop/web[Deployment]{web-0}``) or ranges of addresses.
    ``sample`` is one of them: pods or addresses, and a port. ``pairs`` counts pod pairs.
    ``new_source`` and ``new_destination`` are set where an end is a pod that does not exist yet;
    ``condition`` is then what the violation depends on, if it is not certain.
    """

    source: str
    destination: str
    ports: Ports
    egress: Decision
    ingress: Decision
    sample: tuple[str, str, str]
    pairs: int = 0
    family: str = ""
    new_source: NewPod | None = None
    new_destination: NewPod | None = None
    condition: str = ""


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """One assertion. ``claim`` is ``allow``, ``deny``, ``only from`` or ``only to``.

    ``error`` says why it could not be judged. ``pairs`` counts the pod pairs that violate it;
    ``more`` says that not every violation is listed. ``doubts`` are the reasons why it is not known
    that it holds where nothing was seen to violate it: policies that were not evaluated.
    """

    name: str
    claim: str
    file: str
    line: int
    description: str = ""
    error: str = ""
    error_line: int = 0
    violations: tuple[Violation, ...] = ()
    pairs: int = 0
    more: bool = False
    doubts: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        if self.error:
            return "error"
        if self.violations:
            return "violated"
        return "unknown" if self.doubts else "holds"

    @property
    def should(self) -> str:
        """The verdict that each violation has and should not have."""
        return "denied" if self.claim == "allow" else "allowed"


class Verification(msgspec.Struct, frozen=True):
    """The report. ``anyone`` says whether pods were judged that do not exist."""

    profile: str
    anyone: bool
    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()
    unevaluated: tuple[Unevaluated, ...] = ()

    @property
    def verb(self) -> str:
        return "verify"

    @property
    def failed(self) -> bool:
        """Whether an assertion could not be judged."""
        return any(one.error for one in self.results)

    @property
    def violated(self) -> bool:
        return any(one.violations for one in self.results)

    @property
    def unknown(self) -> bool:
        """Whether of an assertion it is not known that it holds."""
        return any(one.status == "unknown" for one in self.results)

    @property
    def checks(self) -> Sequence[Check]:
        # What the description says may be put in other words; the name is what CI knows it by.
        return [
            Check(one.name, "", why=one.description, file=one.file, line=one.line)
            for one in self.results
        ]

    @property
    def findings(self) -> Sequence[Finding]:
        found: list[Finding] = []
        for one in self.results:
            if one.error:
                found.append(Finding(one.name, Severity.ERROR, one.error, one.file, one.error_line))
            found += [_finding(one, violation) for violation in one.violations]
            if one.status == "unknown":
                message = f"not known to hold: {'; '.join(one.doubts)}"
                found.append(Finding(one.name, Severity.WARNING, message, one.file, one.line))
            if one.more:
                message = f"{one.pairs:,} pod pairs in all; not all are listed"
                found.append(Finding(one.name, Severity.ERROR, message, one.file, one.line))
        return found


def _finding(result: Result, violation: Violation) -> Finding:
    """At the rule that decides, or else at the assertion."""
    file, line = result.file, result.line
    objects: list[str] = []
    for decision in (violation.egress, violation.ingress):
        for policy, where in _policies(decision):
            objects.append(policy)
            if decision.allowed == (result.should == "allowed"):
                file, line = where
    return Finding(
        id=result.name,
        severity=Severity.ERROR,
        message=f"{connection(violation)} is {result.should}: {reasons(result, violation)}",
        file=file,
        line=line,
        objects=tuple(dict.fromkeys(objects)),
        why=result.description,
    )


def _policies(decision: Decision) -> list[tuple[str, tuple[str, int]]]:
    if decision.rule is not None:
        policy = decision.rule.policy
        return [(f"{policy.kind} {policy.name}", (decision.rule.file, decision.rule.line))]
    return [
        (f"{miss.policy.kind} {miss.policy.name}", (miss.policy.file, miss.policy.line))
        for miss in decision.isolated_by
    ]


def connection(violation: Violation, arrow: str = "->") -> str:
    """The ends and the ports of a violation."""
    source, destination = (
        str(new_pod or name)
        for new_pod, name in (
            (violation.new_source, violation.source),
            (violation.new_destination, violation.destination),
        )
    )
    family = f" ({violation.family})" if violation.family else ""
    return f"{source} {arrow} {destination} {violation.ports}{family}"


def reasons(result: Result, violation: Violation) -> str:
    """What decides: of a connection that should be allowed the sides that deny it, of any other
    both sides."""
    sides = (("egress", violation.egress), ("ingress", violation.ingress))
    allowed = result.should == "allowed"
    return "; ".join(f"{name} {because(one)}" for name, one in sides if one.allowed == allowed)
