"""The classic mistakes: what ``kubeverdict lint`` finds.

In: a compiled cluster, where its objects came from, and which rules are wanted. Out: a
:class:`LintReport`. :mod:`catalogue` has the table of rules; each other module is one family of
them, a generator of hits over the :class:`~kubeverdict.analyses.lint.facts.Facts` of a cluster.

Decided:

* A finding is about a policy, at the field to change, or about a namespace that lacks one; what
  concerns many pods is one finding with a count and an example.
* What the input does not hold is not known: in a repository without the pods of other teams
  it is no finding that selectors match nothing there.
* Whether a policy matters is asked of the compiled rules, exactly, and never guessed from texts.

Rejected: rules as plug-ins (they share what they look at, and are read side by side).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Set

import msgspec

from kubeverdict.analyses.findings import Check, Finding, Severity
from kubeverdict.analyses.lint import (
    breadth,
    control_plane,
    coverage,
    dns,
    exposure,
    intent,
    misleading,
    onesided,
    other_apis,
    ports,
    selectors,
    tiers,
)
from kubeverdict.analyses.lint.baseline import Compared, Known, compare
from kubeverdict.analyses.lint.catalogue import RULES, known
from kubeverdict.analyses.lint.conditional import certain
from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit, Places
from kubeverdict.analyses.redundancy import Removable, by_rules
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.model.profile import Profile
from kubeverdict.model.sources import FieldPath
from kubeverdict.model.unevaluated import Unevaluated

__all__ = ["RULES", "LintReport", "LintSettings", "in_full", "lint", "without_known"]

_FAMILIES = (
    dns,
    selectors,
    ports,
    onesided,
    breadth,
    exposure,
    control_plane,
    coverage,
    misleading,
    other_apis,
    tiers,
)

# Rules that say something about pods: without a pod in the input nothing was looked at.
_NEED_PODS = (
    "dns-blocked",
    "dns-no-tcp",
    "dns-selector",
    "dns-node-local",
    "selector-typo",
    "policy-selects-nothing",
    "peer-selects-nothing",
    "peer-host-network",
    "port-not-listened",
    "port-name-unknown",
    "port-name-varies",
    "port-protocol",
    "egress-one-sided",
    "ingress-one-sided",
    "ingress-from-everywhere",
    "block-in-cluster",
    "service-unreachable",
    "service-source",
    "ingress-unreachable",
    "webhook-unreachable",
    "aggregated-api-unreachable",
    "metrics-unreachable",
    "denial-isolates",
    "order-tie",
    "baseline-unreached",
    "baseline-opens",
    "no-default-deny-ingress",
    "no-default-deny-egress",
    "pod-unselected",
    "partial-replicas",
    "policy-shadowed",
    "policy-redundant",
)
NO_PODS = "no pod in the input"

_IDLE = ("policy-shadowed", "policy-redundant")
_MISSES = ("selector-typo", "peer-selects-nothing", "namespace-selects-nothing")


class LintSettings(msgspec.Struct, frozen=True):
    """What an organisation wants: rules that are off, by id, and the annotations that every
    policy must have."""

    disable: tuple[str, ...] = ()
    required_annotations: tuple[str, ...] = ()


DEFAULTS = LintSettings()


class LintReport(msgspec.Struct, frozen=True):
    """The findings, by file and line, and the rules that were looked at. ``suppressed`` counts
    what annotations on policies turned off; ``compared`` is there where findings that are known
    were left out. ``removable`` are the policies that can be deleted together, if there are any.
    ``whole``: formats for people show every finding too."""

    profile: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    suppressed: int = 0
    compared: Compared | None = None
    removable: Removable | None = None
    whole: bool = False
    verb: str = "lint"
    unevaluated: tuple[Unevaluated, ...] = ()

    @property
    def without_pods(self) -> int:
        """The rules that were not looked at because the input has no pod."""
        return sum(check.skipped == NO_PODS for check in self.checks)

    @property
    def counts(self) -> dict[Severity, int]:
        return {
            severity: sum(one.severity is severity for one in self.findings)
            for severity in Severity
        }


def without_known(report: LintReport, baseline: Iterable[Known]) -> LintReport:
    """A report of what is new since ``baseline`` was written."""
    findings, compared = compare(report.findings, report.checks, baseline)
    return msgspec.structs.replace(
        report, findings=tuple(findings), compared=compared, removable=None
    )


def in_full(report: LintReport) -> LintReport:
    """A report that formats for people show every finding of."""
    return msgspec.structs.replace(report, whole=True)


def lint(
    compiled: CompiledPolicy,
    places: Places,
    settings: LintSettings = DEFAULTS,
    others: Sequence[Profile] = (),
) -> LintReport:
    """Look for mistakes in the policies of a cluster, judged as its profile does.

    ``places`` says where objects other than policies are. ``others`` are the CNIs to compare with.
    Raises UsageError for a rule that does not exist.
    """
    with collector_paused():
        return _lint(compiled, places, settings, others)


def _lint(
    compiled: CompiledPolicy, places: Places, settings: LintSettings, others: Sequence[Profile]
) -> LintReport:
    off = known(settings.disable, "disable")
    facts = Facts(compiled, others)
    checks = tuple(_checks(off, facts, settings))
    made = {check.id for check in checks if not check.skipped}
    kept: list[Hit] = []
    suppressed = 0
    hits = _hits(facts, settings)
    if compiled.least:
        hits = certain(facts, hits)
    for hit in _without_repeats(hits):
        if hit.rule not in made:
            continue
        if hit.policy is not None and intent.is_off(hit.policy, hit.rule):
            suppressed += 1
            continue
        kept.append(hit)
    # What is about one document together: its lines are looked up once.
    kept.sort(key=lambda hit: id(hit.policy))
    findings = sorted({hit.finding(places) for hit in kept}, key=_order)
    return LintReport(
        compiled.profile.name,
        checks,
        tuple(findings),
        suppressed,
        removable=_removable(facts, made),
        unevaluated=compiled.unevaluated,
    )


def _removable(facts: Facts, made: Set[str]) -> Removable | None:
    """The policies that can be deleted together, without those for which the rules are turned
    off."""
    if not made >= set(_IDLE):
        return None
    policies = facts.compiled.policies
    kept = [
        cover
        for cover in facts.removal.together
        if not any(intent.is_off(policies[cover.policy], rule) for rule in _IDLE)
    ]
    found = msgspec.structs.replace(facts.removal, together=tuple(kept))
    return by_rules(facts.compiled, found) if kept else None


def _hits(facts: Facts, settings: LintSettings) -> Iterator[Hit]:
    for family in _FAMILIES:
        yield from family.check(facts)
    yield from intent.check(facts, settings.required_annotations)


def _without_repeats(hits: Iterator[Hit]) -> Iterator[Hit]:
    """Without what says of a rule for DNS again that its selector matches nothing."""
    said: set[tuple[int, FieldPath]] = set()
    for hit in hits:
        if hit.policy is not None and hit.source is not None:
            place = id(hit.policy)
            if hit.rule == "dns-selector":
                said.add((place, hit.source.path))
            elif hit.rule in _MISSES and (place, hit.source.path[:-1]) in said:
                continue
        yield hit


def _order(one: Finding) -> tuple[object, ...]:
    return one.file, one.line, list(Severity).index(one.severity), one.id, one.objects, one.message


def _checks(off: Collection[str], facts: Facts, settings: LintSettings) -> Iterator[Check]:
    """The rules, with the reason for those that were not looked at."""
    why = {one: "turned off" for one in off}
    if not facts.cluster.pods:
        for one in _NEED_PODS:
            why.setdefault(one, NO_PODS)
    if not facts.others:
        why.setdefault("cni-differs", "only one CNI was named")
    if not settings.required_annotations:
        why.setdefault("annotation-missing", "no annotation is required")
    calls = {calls.kind for calls in facts.cluster.api_server_calls}
    if "APIService" not in calls:
        why.setdefault("aggregated-api-unreachable", "no APIService in the input")
    if not calls - {"APIService"}:
        why.setdefault("webhook-unreachable", "no webhook in the input")
    if not facts.cluster.services:
        for one in ("ingress-from-everywhere", "service-unreachable", "service-source"):
            why.setdefault(one, "no Service in the input")
    for rule in RULES:
        yield msgspec.structs.replace(rule, skipped=why[rule.id]) if rule.id in why else rule
