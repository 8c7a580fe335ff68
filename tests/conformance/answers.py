"""One way to ask the engine and the oracle, and one way to read what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiled import Reason as EngineReason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.ends import address_ids, pod_id
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import Policy, Rule
from kubeverdict.model.profile import REFERENCE, Profile
from tests.clusters.generated import Probe
from tests.oracle import Decider, Oracle, Reason


@dataclass(frozen=True)
class Answer:
    """A verdict in words: what decided is ``namespace/policy[index]`` or the name of a reason."""

    allowed: bool
    egress: str
    ingress: str


Ask = Callable[[Cluster, Sequence[Probe]], list[Answer]]


def rule_name(policy: Policy, rule: Rule) -> str:
    return f"{policy}[{rule.index}]"


def ask_oracle(
    cluster: Cluster,
    probes: Sequence[Probe],
    profile: Profile = REFERENCE,
    static: bool = False,
) -> list[Answer]:
    oracle = Oracle(cluster, profile, static)

    def word(decider: Decider) -> str:
        return decider.value if isinstance(decider, Reason) else rule_name(*decider)

    verdicts = [
        oracle.judge(each.source, each.destination, each.protocol, each.port, each.family)
        for each in probes
    ]
    return [Answer(each.allowed, word(each.egress), word(each.ingress)) for each in verdicts]


def ask_engine(
    cluster: Cluster,
    probes: Sequence[Probe],
    profile: Profile = REFERENCE,
    static: bool = False,
) -> list[Answer]:
    compiled = compile_cluster(cluster, profile, static=static)

    def word(decider: int) -> str:
        if decider < 0:
            return EngineReason(decider).name
        ref = compiled.rules[decider]
        return rule_name(ref.policy, ref.rule)

    sources = end_ids(compiled, [each.source for each in probes])
    destinations = end_ids(compiled, [each.destination for each in probes])
    protocols = np.array([each.protocol for each in probes], np.int64)
    ports = np.array([each.port for each in probes], np.int64)
    answers: dict[int, Answer] = {}
    # The engine takes one family for a whole batch.
    for family in {each.family for each in probes}:
        asked = np.array([i for i, each in enumerate(probes) if each.family == family], np.int64)
        verdicts = judge(
            compiled,
            sources[asked],
            destinations[asked],
            protocols[asked],
            ports[asked],
            family=family,
        )
        for index, allowed, egress, ingress in zip(
            asked.tolist(),
            verdicts.allowed.tolist(),
            verdicts.egress.tolist(),
            verdicts.ingress.tolist(),
            strict=True,
        ):
            answers[index] = Answer(allowed, word(egress), word(ingress))
    return [answers[index] for index in range(len(probes))]


def end_ids(compiled: CompiledPolicy, ends: Sequence[Pod | str]) -> np.ndarray:
    """Endpoint ids, each distinct end looked up once."""
    texts = sorted({end for end in ends if isinstance(end, str)})
    ids: dict[Pod | str, int] = dict(zip(texts, address_ids(compiled, texts).tolist(), strict=True))
    for end in ends:
        if end not in ids:
            assert isinstance(end, Pod)
            ids[end] = pod_id(compiled, end)
    return np.array([ids[end] for end in ends], np.int64)


ASK: dict[str, Ask] = {"oracle": ask_oracle, "engine": ask_engine}
