"""Tables that follow edits, against tables made of the cluster as it is, from scratch."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compilation, compile_cluster
from kubeverdict.compile.incremental.editable import CannotEdit, Editable
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.model.profile import REFERENCE
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.lowering.known_ends import KnownEnds
from kubeverdict_agent.lowering.tables import Local, Lowering, Tables, lower
from tests.agent.meaning import meaning
from tests.clusters.conditions import with_conditions
from tests.clusters.generated import ends, random_cluster, services, without_icmp_types

NODE = "node-1"
OWN = ("10.0.0.254", "fd00::fe")


def some_cluster(seed: int) -> Cluster:
    made = without_icmp_types(random_cluster(seed, pods=8, policies=5, tiers=seed % 2 == 0))
    return with_conditions(made, seed) if seed % 4 == 0 else made


def locals_of(compiled: CompiledPolicy) -> tuple[Local, ...]:
    keys = sorted(
        (pod.namespace, pod.name) for pod in compiled.pods if pod.node == NODE and pod.addresses
    )
    return tuple(Local(slot, *key, Mode.ENFORCE) for slot, key in enumerate(keys))


def enforced(compiled: CompiledPolicy) -> np.ndarray:
    return np.array([pod.name < "m" for pod in compiled.pods], np.bool_)


class Changes(RuleBasedStateMachine):
    """Edits of policies and pods; one lowering goes on through all of them."""

    @initialize(seed=st.integers(0, 500))
    def open(self, seed: int) -> None:
        self.cluster, self.other = some_cluster(seed), some_cluster(seed + 1_000)
        self.lowering = Lowering(NODE)
        self.tables: list[Tables] = []
        self.start()

    def start(self) -> None:
        made = compilation(self.cluster, REFERENCE)
        self.compiled = made.compiled
        self.kept: Editable | None
        try:
            self.kept = Editable(made)
        except CannotEdit:
            self.kept = None

    def change(self, edit: Edit) -> None:
        self.cluster = edited(self.cluster, edit)
        try:
            if self.kept is None:
                raise CannotEdit
            self.compiled = self.kept.apply(edit)
        except CannotEdit:
            self.start()

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
        if self.cluster.pods:
            pod = self.cluster.pods[number % len(self.cluster.pods)]
            self.change(Edit("", pods_out=((pod.namespace, pod.name),)))

    @invariant()
    def equals_lowering_from_scratch(self) -> None:
        if not hasattr(self, "cluster"):
            return
        anew = compile_cluster(self.cluster, REFERENCE)
        places = [int(protocol) * 65536 + port for protocol, port in services(self.cluster)]
        places = [place for place in places if place < 3 * 65536]
        kept = self.lowering.lower(
            self.compiled, locals_of(self.compiled), OWN, enforced(self.compiled)
        )
        fresh = lower(anew, NODE, locals_of(anew), OWN, enforced(anew))
        # Once no pod has an address of a family, nothing is said of it; what was kept may still.
        families = [family for plane in anew.planes for family in plane.families]
        assert meaning(self.compiled, kept, places, families) == meaning(
            anew, fresh, places, families
        )


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)


def test_what_stays_the_same_is_not_made_again() -> None:
    cluster = some_cluster(1)
    kept = Editable(compilation(cluster, REFERENCE))
    lowering = Lowering(NODE)
    locals_ = locals_of(kept.compiled)
    before = lowering.lower(kept.compiled, locals_)
    after = lowering.lower(
        kept.apply(Edit("", policies_out=(policy_key(cluster.policies[0]),))), locals_
    )
    assert after.ipv4 is before.ipv4 and after.ipv6 is before.ipv6
    pod = replace(cluster.pods[0], name="new", addresses=("10.9.9.9",))
    grown = lowering.lower(kept.apply(Edit("", pods_in=(pod,))), locals_)
    assert grown.ipv4.size == before.ipv4.size + 1


def test_every_address_has_a_class_that_there_is() -> None:
    """Also those of a family that no pod of the cluster uses."""
    for seed in range(20):
        cluster = some_cluster(seed)
        pods = [
            replace(pod, addresses=tuple(text for text in pod.addresses if ":" not in text))
            for pod in cluster.pods
        ]
        compiled = compile_cluster(replace(cluster, pods=tuple(pods)))
        tables = lower(compiled, NODE, locals_of(compiled))
        of_intervals = np.concatenate((tables.starts_class4, tables.starts_class6))
        assert of_intervals.max() < tables.cells[0].shape[1] == tables.cells[1].shape[1], seed


def test_addresses_mean_what_they_mean_to_the_engine() -> None:
    compared = 0
    for seed in range(40):
        compiled = compile_cluster(some_cluster(seed))
        texts = [str(end) for end in ends(compiled.cluster, ()) if isinstance(end, str)]
        addresses = [address for text in texts if (address := parse_address(text))]
        Random(seed).shuffle(addresses)
        found = KnownEnds(NODE).ends_of(compiled, addresses)
        assert found.tolist() == address_ids(compiled, list(map(str, addresses))).tolist()
        compared += len(addresses)
    assert compared > 400
