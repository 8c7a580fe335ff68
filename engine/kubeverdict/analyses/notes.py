"""What a reader of any verdict should know about how it was reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeverdict.analyses.unevaluated import sentences
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.model.counts import count, listed
from kubeverdict.model.policy import NETWORK_POLICY, NodePeer, Policy, parts_of
from kubeverdict.model.profile import REFERENCE

# Longer lists are cut short, with a count.
SHOWN = 5


def notes(compiled: CompiledPolicy) -> tuple[str, ...]:
    """One sentence for each thing; none for an ordinary cluster under the reference profile."""
    return (*_about_the_cni(compiled), *compiled.notes, *_about_the_cluster(compiled))


def why_no_pods(inputs: Iterable[CompiledPolicy]) -> str:
    """That there is nothing to judge, and why, of inputs that have no pods."""
    reasons: list[str] = []
    for compiled in inputs:
        reasons += [*_left_out(compiled), *sentences(compiled.unevaluated)]
    return "; ".join(["there are no pods to judge in the input", *dict.fromkeys(reasons)])


def _about_the_cni(compiled: CompiledPolicy) -> Iterator[str]:
    profile = compiled.profile
    if profile.name == REFERENCE.name:
        return
    yield f"judged as {profile.title} does (--cni {profile.name})"
    if profile.deny == "reject":
        yield f"{profile.title} rejects what it denies, where others drop it"
    if profile.established != "unknown":
        yield f"connections that are open while a policy changes are {profile.established}"
    if profile.unverified:
        knobs = ", ".join(profile.unverified)
        yield f"not verified for {profile.title}, so as in the reference profile: {knobs}"


def _about_the_cluster(compiled: CompiledPolicy) -> Iterator[str]:
    yield from _left_out(compiled)
    implied = [space.name for space in compiled.cluster.namespaces if space.implied]
    if implied and compiled.policies:
        names = listed(implied, SHOWN)
        yield f"no Namespace object in the input, so only the name is known of: {names}"
    if not compiled.cluster.nodes and any(map(_is_about_nodes, compiled.policies)):
        yield "no Node object in the input: nothing matches a peer by node"


def _is_about_nodes(policy: Policy) -> bool:
    return policy.kind != NETWORK_POLICY and any(
        isinstance(part, NodePeer)
        for rule in policy.rules
        for peer in rule.peers or ()
        for part in parts_of(peer)
    )


def _left_out(compiled: CompiledPolicy) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for pod, reason in compiled.excluded:
        reasons.setdefault(reason, []).append(str(pod))
    for reason, pods in sorted(reasons.items()):
        yield f"{count(len(pods), 'pod')} left out, {reason}: {listed(pods, SHOWN)}"
