"""Changes of generated clusters, in any order, for everything that follows them."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compilation
from kubeverdict.compile.incremental.keeping import Keeper, Kept
from kubeverdict.model.cluster import METADATA_NAME, Cluster, Pod
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.model.profile import REFERENCE
from tests.clusters.conditions import with_conditions
from tests.clusters.generated import random_cluster

# Another cluster of this seed more is where new policies and pods are from.
OTHER = 1_000


def some_cluster(seed: int, pods: int, policies: int) -> Cluster:
    """Every other one uses the whole language, every fourth one with conditional rules."""
    made = random_cluster(seed, pods, policies, tiers=seed % 2 == 0)
    return with_conditions(made, seed) if seed % 4 == 0 else made


class ClusterChanges(RuleBasedStateMachine):
    """A compiled cluster that keeps edits, each of which meets what earlier ones left. ``cluster``
    is what it should be."""

    pods, policies = 6, 4

    @initialize(seed=st.integers(0, 500))
    def start(self, seed: int) -> None:
        self.cluster, self.other = self.some(seed), self.some(seed + OTHER)
        made = compilation(self.cluster, REFERENCE)
        self.keeper = Keeper(Kept(0, made.compiled), made)
        self.compiled: CompiledPolicy = made.compiled

    def some(self, seed: int) -> Cluster:
        return some_cluster(seed, self.pods, self.policies)

    def change(self, edit: Edit) -> None:
        self.cluster = edited(self.cluster, edit)
        self.compiled = self.keeper.keep(edit).compiled

    def a_pod(self, number: int) -> Pod | None:
        pods = self.cluster.pods
        return pods[number % len(pods)] if pods else None

    @rule(number=st.integers(0, 4), copy=st.integers(0, 2))
    def put_policy(self, number: int, copy: int) -> None:
        policy = self.other.policies[number % len(self.other.policies)]
        self.change(Edit("", policies_in=(replace(policy, name=f"new-{copy}"),)))

    @rule(number=st.integers(0, 9))
    def take_policy(self, number: int) -> None:
        if self.cluster.policies:
            policy = self.cluster.policies[number % len(self.cluster.policies)]
            self.change(Edit("", policies_out=(policy_key(policy),)))

    @rule(number=st.integers(0, 7), copy=st.integers(0, 2))
    def put_pod(self, number: int, copy: int) -> None:
        pod = self.other.pods[number % len(self.other.pods)]
        self.change(Edit("", pods_in=(replace(pod, name=f"new-{copy}"),)))

    @rule(number=st.integers(0, 9))
    def take_pod(self, number: int) -> None:
        if pod := self.a_pod(number):
            self.change(Edit("", pods_out=((pod.namespace, pod.name),)))

    @rule(number=st.integers(0, 9), model=st.integers(0, 7))
    def relabel(self, number: int, model: int) -> None:
        if pod := self.a_pod(number):
            labels = self.other.pods[model % len(self.other.pods)].labels
            self.change(Edit("", pods_in=(replace(pod, labels=labels),)))

    @rule(number=st.integers(0, 9), model=st.integers(0, 7))
    def readdress(self, number: int, model: int) -> None:
        if pod := self.a_pod(number):
            addresses = self.other.pods[model % len(self.other.pods)].addresses
            self.change(Edit("", pods_in=(replace(pod, addresses=addresses),)))

    @rule(number=st.integers(0, 9), model=st.integers(0, 9))
    def relabel_namespace(self, number: int, model: int) -> None:
        spaces, others = self.cluster.namespaces, self.other.namespaces
        if spaces and others:
            space, other = spaces[number % len(spaces)], others[model % len(others)]
            labels = {**other.labels, METADATA_NAME: space.name}
            self.change(Edit("", namespaces_in=(replace(space, labels=labels, implied=False),)))

    @rule(number=st.integers(0, 9), with_pods=st.booleans())
    def take_namespace(self, number: int, with_pods: bool) -> None:
        if self.cluster.namespaces:
            name = self.cluster.namespaces[number % len(self.cluster.namespaces)].name
            gone = [(one.namespace, one.name) for one in self.cluster.pods if one.namespace == name]
            pods = tuple(gone) if with_pods else ()
            self.change(Edit("", namespaces_out=(name,), pods_out=pods))
