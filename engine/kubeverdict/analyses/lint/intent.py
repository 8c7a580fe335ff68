"""What an organisation wants to know of each policy, and rules that are turned off on one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kubeverdict.analyses.lint.catalogue import BY_ID
from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit, inside
from kubeverdict.analyses.spelling import closest
from kubeverdict.model.policy import Policy

PREFIX = "kubeverdict.io/lint-disable."


def check(facts: Facts, required: Sequence[str]) -> Iterator[Hit]:
    """Findings about annotations; ``required`` are the keys that every policy must have."""
    for policy in facts.policies:
        source = inside(policy.source, "metadata", "annotations")
        for key in required:
            if not policy.annotations.get(key, "").strip():
                message = f"has no annotation {key}"
                fix = f"Add the annotation {key}."
                yield Hit("annotation-missing", message, policy, source, fix=fix, key=key)
        for key, reason in policy.annotations.items():
            if not key.startswith(PREFIX):
                continue
            where = inside(source, key)
            rule = key.removeprefix(PREFIX)
            if rule not in BY_ID:
                guess = closest(rule, BY_ID)
                hint = f" ({guess})" if guess else ""
                yield Hit("suppression", f"there is no rule {rule}{hint}", policy, where)
            elif not reason.strip():
                message = f"turns {rule} off without a reason, so the rule stays on"
                yield Hit("suppression", message, policy, where)


def is_off(policy: Policy, rule: str) -> bool:
    """Whether an annotation turns a rule off for a policy, with a reason."""
    return bool(policy.annotations.get(f"{PREFIX}{rule}", "").strip())
