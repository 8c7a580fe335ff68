"""The parts of pages that follow from the code. ``python -m tests.docs.generated`` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import msgspec

from kubeverdict.manifests.policies import POLICIES, PolicyApi, UnreadApi
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from tests.docs.pages import ROOT
from tests.test_layout import FACE, MAY_IMPORT

SEMANTICS = ROOT / "docs" / "semantics.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
# What the knobs of a profile say. A new knob needs a line here.
KNOBS = {
    "enforces": "whether policies have any effect",
    "unlisted_rules": "rules of a direction that `policyTypes` leaves out: `ignored`, or "
    "`applied`, so that the policy isolates in that direction too",
    "pod_labels": "which labels of pods selectors see: `all`, or those of an `identity`, without "
    "those of Kubernetes itself (but with `app.kubernetes.io`) and those that controllers write",
    "ipblock_matches_pods": "whether an ipBlock matches the addresses of pods",
    "ipblock_matches_nodes": "… and those of nodes",
    "except_scope": "what an `except` subtracts from: its own block (`element`), or all blocks of "
    "the rule, where the longest prefix wins (`rule`)",
    "hostnetwork_subjects": "whether policies select hostNetwork pods",
    "hostnetwork_peers": "whether pod selectors match hostNetwork pods, by the address of their "
    "node: `never`, `always`, or only where a podSelector is written",
    "own_node_to_pod": "whether a node reaches its own pods whatever the policies say",
    "own_node_deniable": "… but for what a rule denies; what isolates does not count",
    "pod_to_own_node": "… and a pod its own node",
    "named_ports": "named ports are looked up (`resolve`), count as every port of the protocol "
    "(`any-port`), or make the whole policy void (`reject-policy`)",
    "named_port_containers": "whose ports have names: `containers`, also `sidecars`, or all init "
    "containers too (`all-init`)",
    "named_port_repeated": "a name that several ports of a pod have: `each` has it, or the `last` "
    "alone, whatever its protocol",
    "named_port_union": "whether a named port stands for the numbers of all pods that the policy "
    "selects, on each of them",
    "named_port_through_ipblock": "whether egress by a named port reaches a pod through an ipBlock",
    "named_port_to_anyone": "egress by a named port without peers: looked up `per-pod`, `never` "
    "allowed, or with the numbers of the policy's `own-namespace` to any destination",
    "named_port_unknown": "a rule all of whose ports are names that no pod has: it allows "
    "`nothing`, or its peers that are pods every port of every protocol (`any-port`)",
    "both_directions": "the rules of a policy of both types: each for its own direction (`apart`), "
    "or between two pods that the policy selects for either (`merged`)",
    "admin_nodes": "AdminNetworkPolicy: whether a rule with the peer `nodes` is understood; if not "
    "it allows nothing, or denies everything",
    "admin_named_ports": "… and a rule with a named port: looked up (`resolve`), or a rule for "
    "every port of every protocol (`any-port`)",
    "cluster_nodes": "ClusterNetworkPolicy: a rule with the peer `nodes` is `read`, `fails-closed` "
    "(it allows nothing, or denies everything), or makes the plug-in refuse the policy "
    "(`refuse-policy`)",
    "cluster_ties": "… policies of one priority: one after the other `by-name`, or `by-index`: the "
    "first rule of each, then the second, of which those that deny come first",
    "cluster_baseline": "… whether the baseline is asked `after-isolation`, about pods that "
    "nothing isolates, or `before-isolation` denies",
    "cluster_exclusions": "… what the peer `namespaces` means with a selector that only excludes "
    "(`NotIn`, `DoesNotExist`): the `pods` of the namespaces that are left, or `everybody`",
    "end_port": "whether `endPort` counts, or the first port alone",
    "icmp": "whether ICMP is judged by `rules`, or `always` allowed",
    "service_egress": "what egress to a Service is judged on: its `backend`, or its `cluster-ip`",
    "hairpin": "a pod that reaches itself through a Service: `judged`, `allowed`, or allowed at "
    "ingress alone",
    "finished_pods_ignored": "whether Succeeded and Failed pods take no part",
    "dual_stack": "whether all addresses of a pod are known to the plug-in, or the first alone",
    "deny": "what a denied client sees: nothing (`drop`), or a refusal (`reject`)",
    "established": "connections that are open while a policy changes",
}
_NOT_KNOBS = {"name", "title", "policy_apis", "unverified", "proved"}


def parts() -> Iterator[tuple[Path, str, str]]:
    """Each page, the mark before the part, and its text."""
    yield SEMANTICS, "apis", apis()
    yield SEMANTICS, "other apis", other_apis()
    yield SEMANTICS, "knobs", knobs()
    yield SEMANTICS, "profiles", profiles()
    yield ARCHITECTURE, "imports", imports()


def apis() -> str:
    lines = ["| API | versions | short names | scope | tier |", "|---|---|---|---|---|"]
    for (group, kind), row in POLICIES.items():
        if isinstance(row, PolicyApi):
            scope = "namespaced" if row.namespaced else "cluster"
            words = (", ".join(row.versions), ", ".join(row.short), scope, row.tier.name)
            lines.append(f"| {kind}, `{group}` | {' | '.join(words)} |")
    return "\n".join(lines)


def other_apis() -> str:
    kinds: dict[str, list[str]] = {}
    for (group, kind), row in POLICIES.items():
        if isinstance(row, UnreadApi) and row.gap is not None and row.gap.decides:
            kinds.setdefault(group, []).append(kind)
    lines = ["| group | kinds |", "|---|---|"]
    lines += [f"| `{group}` | {', '.join(names)} |" for group, names in kinds.items()]
    return "\n".join(lines)


def knobs() -> str:
    lines = ["| field | reference | what it says |", "|---|---|---|"]
    lines += [f"| `{name}` | {_value(REFERENCE, name)} | {KNOBS[name]} |" for name in _names()]
    return "\n".join(lines)


def profiles() -> str:
    lines = [
        "| `--cni` | plug-in | policy APIs | differs in | not verified | proved by |",
        "|---|---|---|---|---|---|",
    ]
    for profile in PROFILES.values():
        differs = [
            f"`{name}`: {_value(profile, name)}"
            for name in _names()
            if getattr(profile, name) != getattr(REFERENCE, name)
        ]
        unverified = ", ".join(f"`{name}`" for name in profile.unverified)
        implements = ", ".join(profile.policy_apis or ()) or "none"
        if profile.policy_apis is None:
            implements = "all that are evaluated"
        cells = (profile.title, implements, ", ".join(differs), unverified, profile.proved)
        lines.append(f"| `{profile.name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _names() -> list[str]:
    return [name for name in Profile.__struct_fields__ if name not in _NOT_KNOBS]


def _value(profile: Profile, name: str) -> str:
    value = msgspec.to_builtins(getattr(profile, name))
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def imports() -> str:
    """The arrows of ``MAY_IMPORT`` that do not follow from others."""
    allowed = {
        part: targets - {"errors", FACE} for part, targets in MAY_IMPORT.items() if part != "errors"
    }
    arrows = [
        f"  {part} --> {target}"
        for part, targets in allowed.items()
        for target in sorted(targets)
        if not any(target in _reached(allowed, other) for other in targets - {target})
    ]
    return "\n".join(["```mermaid", "flowchart BT", *arrows, "```"])


def _reached(allowed: Mapping[str, Set[str]], part: str) -> set[str]:
    """What a part may import, and what that may import in turn."""
    return {part}.union(*(_reached(allowed, target) for target in allowed[part]))


def written(page: str, mark: str, text: str) -> str:
    """The page with the part behind ``mark`` replaced."""
    pattern = rf"(<!-- {mark} -->\n).*?(\n<!-- end -->)"
    found, count = re.subn(pattern, lambda match: f"{match[1]}{text}{match[2]}", page, flags=re.S)
    assert count == 1, mark
    return found


if __name__ == "__main__":
    for path, mark, text in parts():
        path.write_text(written(path.read_text("utf-8"), mark, text), "utf-8")
