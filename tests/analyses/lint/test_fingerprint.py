"""A finding is known by what it is about, whatever moves around it."""

from __future__ import annotations

import pytest

from kubeverdict.analyses.findings import Check, Finding, Severity
from kubeverdict.analyses.lint.baseline import Known, compare, remembered
from tests.analyses.lint.cases import EGRESS, NAMESPACES, WEB, found, policy, workload
from tests.analyses.lint.reading import lint_text


def to(*blocks: str) -> str:
    rules = ", ".join(f"{{to: [{{ipBlock: {{cidr: {block}}}}}]}}" for block in blocks)
    return policy("out", f"{EGRESS}, egress: [{rules}]")


def metadata_open(*parts: str) -> set[str]:
    return {one.fingerprint for one in found("metadata-open", *parts)}


def test_rules_beside_it_and_lines_do_not_matter() -> None:
    (one,) = metadata_open(WEB, to("169.0.0.0/8"))
    assert metadata_open(WEB, "\n\n", to("10.0.0.0/8", "169.0.0.0/8")) == {one}


def test_what_the_rule_says_matters() -> None:
    assert metadata_open(WEB, to("169.0.0.0/8")).isdisjoint(metadata_open(WEB, to("0.0.0.0/0")))


def test_the_number_of_pods_does_not_matter() -> None:
    def known(*parts: str) -> set[str]:
        hits = found("dns-blocked", WEB, *parts, policy("deny", EGRESS))
        return {one.fingerprint for one in hits}

    assert known() == known(workload("api"), workload("jobs"))


def test_findings_of_a_cluster_are_distinguished() -> None:
    text = NAMESPACES + WEB + workload("db", "data") + to("0.0.0.0/0", "169.0.0.0/8")
    findings = lint_text(text).findings
    assert len({one.fingerprint for one in findings}) == len(findings) > 4


def finding(fingerprint: str, rule: str = "peer-split") -> Finding:
    return Finding(rule, Severity.NOTE, "m", fingerprint=fingerprint)


CHECKS = (Check("peer-split", ""), Check("dns-blocked", "", skipped="turned off"))


@pytest.mark.parametrize(
    ("baseline", "new", "known", "gone"),
    [
        ("", "aab", 0, ""),
        ("aab", "", 3, ""),
        ("ab", "a", 2, ""),
        ("aaab", "", 3, "a"),
        ("c", "aab", 0, "c"),
    ],
)
def test_as_many_are_known_as_the_baseline_has(
    baseline: str, new: str, known: int, gone: str
) -> None:
    given = [Known(letter, "peer-split") for letter in baseline]
    left, compared = compare(map(finding, "aab"), CHECKS, given)
    assert "".join(one.fingerprint for one in left) == new
    assert (compared.known, "".join(one.fingerprint for one in compared.gone)) == (known, gone)


def test_what_was_not_looked_at_is_not_gone() -> None:
    _, compared = compare([], CHECKS, [Known("a", "dns-blocked"), Known("b", "no-such-rule")])
    assert compared.gone == ()


def test_what_is_remembered_is_known() -> None:
    findings = lint_text(NAMESPACES + WEB + to("0.0.0.0/0")).findings
    kept = remembered(findings)
    assert kept == remembered(reversed(findings))
    new, compared = compare(findings, [Check(one.id, "") for one in findings], kept)
    assert (new, compared.known, compared.gone) == ([], len(findings), ())
