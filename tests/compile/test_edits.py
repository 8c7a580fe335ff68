"""A cluster after edits equals one compiled from scratch: verdicts and the rules that decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant
from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compilation, compile_cluster
from kubeverdict.compile.incremental.editable import CannotEdit, Editable
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.pairs import count_pairs, rows
from kubeverdict.model.cluster import METADATA_NAME, Cluster, Namespace
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.model.policy import NETWORK_POLICY_TIER
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from kubeverdict.model.selectors import Selector
from tests.clusters.edits import OTHER, ClusterChanges, some_cluster
from tests.clusters.generated import Probe, random_probes
from tests.clusters.records import block, cluster, labels, pod, pods_where, policy, selector
from tests.conformance.answers import end_ids

PROBES = 40


def answers(compiled: CompiledPolicy, probes: Sequence[Probe]) -> list[tuple[bool, object, object]]:
    """The verdict of each probe, and what decides each direction, by name."""

    def name(decider: int) -> object:
        if decider < 0:
            return decider
        ref = compiled.rules[decider]
        return policy_key(ref.policy), ref.rule.direction, ref.rule.index

    found = []
    for probe in probes:
        source, destination = end_ids(compiled, [probe.source, probe.destination])
        verdict = judge(
            compiled, [source], [destination], [probe.protocol], [probe.port], family=probe.family
        )
        egress, ingress = int(verdict.egress[0]), int(verdict.ingress[0])
        found.append((bool(verdict.allowed[0]), name(egress), name(ingress)))
    return found


def cells(compiled: CompiledPolicy) -> list[int]:
    """For each plane, pods by pods by ports of all rows of its reachability matrix."""
    return [
        sum(
            int(plane.weight[row.destinations].sum())
            * int(plane.weight[sources].sum())
            * int(compiled.ports.weight[atoms].sum())
            for row in rows(compiled, plane)
            for sources, atoms in zip(row.sources, row.atoms, strict=True)
        )
        for plane in compiled.planes
    ]


def agree(kept: CompiledPolicy, cluster: Cluster, seed: int) -> None:
    """Whether ``kept`` is ``cluster``, compiled from scratch."""
    anew = compile_cluster(cluster, kept.profile)
    assert set(kept.pod_ids) == set(anew.pod_ids)
    assert [kept.pods[place] for place in kept.pod_ids.values()] == [
        anew.pods[anew.pod_ids[key]] for key in kept.pod_ids
    ]
    assert {policy_key(one) for one in kept.cluster.policies} == {
        policy_key(one) for one in cluster.policies
    }
    assert [policy_key(one) for one in kept.policies] == [policy_key(one) for one in anew.policies]
    shared = Counter(address for pod in anew.pods for address in pod.addresses)
    probes = [
        probe
        for probe in random_probes(cluster, list(anew.pods), PROBES, seed)
        # An address that several pods have is the first one's, and which comes first may differ.
        if not any(
            isinstance(end, str) and shared[str(ip_address(end))] > 1
            for end in (probe.source, probe.destination)
        )
    ]
    assert answers(kept, probes) == answers(anew, probes)
    # Once no rule is conditional any more, the bounds are alike.
    for bound in kept.least:
        assert answers(bound, probes) == answers((*anew.least, anew)[0], probes)
        assert set(bound.pod_ids) == set(anew.pod_ids)
    if [plane.families for plane in kept.planes] == [plane.families for plane in anew.planes]:
        assert count_pairs(kept) == count_pairs(anew)
        assert cells(kept) == cells(anew)


def any_edit(random: Random, cluster: Cluster, other: Cluster) -> Edit:
    """A change of a policy, pod or namespace; ``other`` is where new ones are from."""
    kind = random.choice(("add", "change", "remove", "join", "leave", "relabel", "namespace"))
    if kind == "remove" and cluster.policies:
        return Edit(kind, policies_out=(policy_key(random.choice(cluster.policies)),))
    if kind == "change" and cluster.policies and other.policies:
        old, new = random.choice(cluster.policies), random.choice(other.policies)
        if old.namespace and new.namespace:
            new = replace(new, name=old.name, namespace=old.namespace, kind=old.kind)
        return Edit(kind, policies_in=(new,))
    if kind == "add" and other.policies:
        name = f"new-{random.randrange(99)}"
        return Edit(kind, policies_in=(replace(random.choice(other.policies), name=name),))
    if kind == "leave" and cluster.pods:
        pod = random.choice(cluster.pods)
        return Edit(kind, pods_out=((pod.namespace, pod.name),))
    if kind == "namespace" and cluster.namespaces:
        space, like = random.choice(cluster.namespaces), random.choice(other.namespaces)
        labels = {**like.labels, METADATA_NAME: space.name}
        return Edit(kind, namespaces_in=(replace(space, labels=labels),))
    if kind == "relabel" and cluster.pods and other.pods:
        pod, model = random.choice(cluster.pods), random.choice(other.pods)
        ports = model.ports if random.random() < 0.3 else pod.ports
        return Edit(kind, pods_in=(replace(pod, labels=model.labels, ports=ports),))
    if other.pods:
        name = f"new-{random.randrange(50)}"
        return Edit(kind, pods_in=(replace(random.choice(other.pods), name=name),))
    return Edit("nothing")


def opened(cluster: Cluster, profile: Profile) -> Editable | None:
    """None where the cluster says what single edits do not follow."""
    try:
        return Editable(compilation(cluster, profile))
    except CannotEdit:
        return None


# The reference first: most of the others follow edits in the same way.
@pytest.mark.parametrize("profile", [REFERENCE, *PROFILES.values()], ids=lambda one: one.name)
def test_generated_edits(profile: Profile) -> None:
    applied = Counter[bool]()
    for seed in range(16):
        random = Random(seed)
        pods, policies = random.choice([(3, 2), (8, 5), (25, 12)])
        cluster = some_cluster(seed, pods, policies)
        other = some_cluster(seed + 12 * OTHER, pods, policies)
        kept = opened(cluster, profile)
        for step in range(8):
            edit = any_edit(random, cluster, other)
            cluster = edited(cluster, edit)
            try:
                after = kept.apply(edit) if kept else None
            except CannotEdit:
                after = None
            if after is None:
                kept = opened(cluster, profile)
                continue
            applied[any(one.tier != NETWORK_POLICY_TIER for one in cluster.policies)] += 1
            agree(after, cluster, step)
    follows = profile.enforces and not profile.named_port_union
    follows &= profile.named_port_to_anyone != "own-namespace"
    assert min(applied[True], applied[False]) > 10 or not follows


class Edits(ClusterChanges):
    @invariant()
    def equals_compiling_anew(self) -> None:
        if hasattr(self, "compiled"):
            agree(self.compiled, self.cluster, 1)


TestEdits = Edits.TestCase
TestEdits.settings = settings(max_examples=20, stateful_step_count=10, deadline=None)


def test_a_policy_that_selects_pods_and_tells_them_apart_by_address() -> None:
    """Its block is about some of the pods that its selector is about, which were alike before."""
    pods = [pod(f"x/a-{n}", "app=a", f"10.0.{n}.1", workload="a") for n in (0, 1)]
    start = cluster([*pods, pod("x/b", "app=b", "10.0.2.1")], [])
    asked = policy("x/in", "app=a", ingress=[([block("10.0.0.0/24"), block("10.0.2.0/24")], None)])
    edit = Edit("", policies_in=(asked,))
    kept = Editable(compilation(start, REFERENCE)).apply(edit)
    agree(kept, edited(start, edit), 1)
    assert count_pairs(kept) == count_pairs(compile_cluster(edited(start, edit), REFERENCE))


def test_blocks_that_leave_no_pod_where_it_was() -> None:
    """Each of two pods is in another block than the other: neither is what both were before."""
    pods = [pod(f"x/a-{n}", "app=a", f"10.0.{n}.1", workload="a") for n in (0, 1)]
    start = cluster(pods, [], namespaces={"x": ""})
    peers = block("10.0.0.0/24"), block("10.0.1.0/24")
    asked = policy("x/in", "app=a", ingress=[([peer], None) for peer in peers])
    kept = Editable(compilation(start, REFERENCE))
    for edit in (
        Edit("told apart", policies_in=(asked,)),
        Edit("relabelled", namespaces_in=(labelled("x", "team=one"),)),
        Edit("alike again", policies_out=(policy_key(asked),)),
        Edit("joined", pods_in=(pod("x/a-2", "app=a", "10.0.2.1", workload="a"),)),
    ):
        start = edited(start, edit)
        agree(kept.apply(edit), start, 1)


def labelled(name: str, text: str) -> Namespace:
    return Namespace(name, {METADATA_NAME: name, **labels(text)})


def test_a_namespace_whose_labels_change() -> None:
    """It is followed, with the pods in it, for policies before and after."""
    pods = [pod(f"{space}/{n}", f"app={n}", f"10.0.{at}.{ord(n)}")
            for at, space in enumerate("xyz") for n in "abb"[:2]]  # fmt: skip
    asks = policy("x/in", "app=a", ingress=[([pods_where("team=one", "app=b")], None)])
    start = cluster(pods, [asks], namespaces={"x": "team=one", "y": "team=one", "z": ""})
    kept = Editable(compilation(start, REFERENCE))
    more = replace(asks, name="more", pods=selector("app=b"))
    for edit in (
        Edit("away", namespaces_in=(labelled("y", "team=two"),)),
        Edit("near", namespaces_in=(labelled("z", "team=one"),)),
        Edit("asked", policies_in=(more,)),
        Edit("own", namespaces_in=(labelled("x", ""),)),
        Edit("back", namespaces_in=(labelled("y", "team=one"),)),
        Edit("joins", pods_in=(pod("y/c", "app=b", "10.0.1.9"),)),
        Edit("unknown", namespaces_out=("y",)),
        Edit("gone", namespaces_out=("z",), pods_out=(("z", "a"), ("z", "b"))),
        Edit("again", namespaces_in=(labelled("z", "team=one"),), pods_in=tuple(pods[-2:])),
    ):
        start = edited(start, edit)
        before = count_pairs(kept.compiled)
        after = kept.apply(edit)
        agree(after, start, 1)
        assert edit.name in ("own", "joins", "again") or count_pairs(after) != before, edit.name
        spaces = [(one.name, one.labels) for one in after.cluster.namespaces]
        assert sorted(spaces, key=str) == sorted(
            ((one.name, one.labels) for one in start.namespaces), key=str
        )


def test_a_policy_where_there_is_no_pod() -> None:
    start = cluster([], [], namespaces={"x": ""})
    for subject in (selector("app=a"), Selector.any_of((selector("app=a"), selector("app=b")))):
        edit = Edit("", policies_in=(replace(policy("x/in", ingress=[]), pods=subject),))
        kept = Editable(compilation(start, REFERENCE)).apply(edit)
        agree(kept, edited(start, edit), 1)
