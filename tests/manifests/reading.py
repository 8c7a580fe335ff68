"""Ways to read a text in a test, and to see what came of it."""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec
import pytest

from kubeverdict.errors import InputError, Problem
from kubeverdict.manifests import Loaded, load
from kubeverdict.model.policy import Policy


def load_text(text: str | bytes, *, skip_invalid: bool = False) -> Loaded:
    data = text.encode() if isinstance(text, str) else text
    return load(["-"], stdin=io.BytesIO(data), skip_invalid=skip_invalid)


def problems_of(text: str | bytes) -> tuple[Problem, ...]:
    """The errors of a text that has some."""
    with pytest.raises(InputError) as caught:
        load_text(text)
    return caught.value.problems


def told(problems: tuple[Problem, ...]) -> list[str]:
    """Problems as ``field: message``."""
    return [f"{problem.field}: {problem.message}" for problem in problems]


def policy_text(spec: object, **metadata: object) -> str:
    """A NetworkPolicy shop/web as JSON, which is YAML too."""
    return msgspec.json.encode(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "web", "namespace": "shop", **metadata},
            "spec": spec,
        }
    ).decode()


def policy_of(spec: object) -> Policy:
    (policy,) = load_text(policy_text(spec)).cluster.policies
    return policy


def placeless(problem: Problem) -> tuple[str, str, str]:
    """A problem without lines, its own and those that its message names."""
    return problem.subject, problem.field, re.sub(r"(<stdin>):\d+", r"\1", problem.message)


def meaning(loaded: Loaded) -> dict[str, Any]:
    """All that was loaded, without places, to be compared."""
    cluster = loaded.cluster
    plain = {
        name: msgspec.to_builtins(getattr(cluster, name))
        for name in ("namespaces", "pods", "nodes", "services")
    }
    for service in plain["services"]:
        service["also"] = bool(service["also"])  # places
    policies = [
        (
            str(policy),
            policy.pods,
            policy.isolates,
            [(r.direction, r.index, r.action, r.peers, r.ports) for r in policy.rules],
        )
        for policy in cluster.policies
    ]
    warnings = [placeless(warning) for warning in loaded.warnings]
    return plain | {
        "policies": policies,
        "ignored": dict(loaded.ignored),
        "documents": loaded.documents,
        "workloads": loaded.workloads,
        "warnings": warnings,
    }


def ports(*items: object) -> dict[str, Any]:
    """A spec of one ingress rule with these ports."""
    return {"ingress": [{"ports": list(items)}]}


def peers(*items: object) -> dict[str, Any]:
    """A spec of one egress rule with these peers."""
    return {"egress": [{"to": list(items)}]}
