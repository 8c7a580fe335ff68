"""Why an assertion that nothing violates may be violated all the same."""

from __future__ import annotations

from collections.abc import Iterable

from kubeverdict.analyses.explain import explain
from kubeverdict.analyses.questions import parse_port
from kubeverdict.analyses.unevaluated import sentences
from kubeverdict.analyses.verify.judging import Case
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.model.assertions import Claim
from kubeverdict.model.unevaluated import Gap


class Doubts:
    """What was not evaluated in one cluster, as far as it could decide."""

    def __init__(self, compiled: CompiledPolicy) -> None:
        found = compiled.unevaluated
        self._policies = [one for one in found if one.gap is Gap.POLICY]
        self._restrictions = [one for one in found if one.gap is Gap.RESTRICTION]
        ids = {}
        if compiled.uncertain:
            ids = {f"{space}/{name}": number for (space, name), number in compiled.pod_ids.items()}
        self._uncertain = [
            (one, [ids[name] for name in one.names if name in ids]) for one in compiled.uncertain
        ]

    def about(self, claim: Claim, cases: Iterable[Case]) -> tuple[str, ...]:
        """The reasons to doubt an assertion: policies that could deny what should be allowed or
        allow what should be denied, and selectors that may or may not select pods at its ends."""
        found = list(self._policies)
        if claim is Claim.ALLOW:
            found += self._restrictions
        sides = [side for case in cases for side in (case.source, case.destination)]
        found += [
            one for one, pods in self._uncertain if any(side.pods[pods].any() for side in sides)
        ]
        return sentences(found)


def condition_of(compiled: CompiledPolicy, sample: tuple[str, str, str]) -> str:
    """What it depends on whether a connection is allowed, where rules are conditional; empty where
    it is certain. ``sample`` is as in a violation."""
    if not compiled.least:
        return ""
    source, destination, text = sample
    protocol, _, number = text.partition(" ")
    port = parse_port(f"{number}/{protocol}" if number.isdigit() else protocol.lower())
    answers = explain(compiled, source, destination, port).answers
    return "; ".join(dict.fromkeys(one.condition for one in answers if one.condition))
