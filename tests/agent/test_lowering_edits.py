"""Tables that follow edits, against tables made of the cluster as it is, from scratch."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import settings
from hypothesis.stateful import initialize, invariant
from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compilation, compile_cluster
from kubeverdict.compile.incremental.editable import Editable
from kubeverdict.compile.incremental.keeping import Keeper, Kept
from kubeverdict.compile.ports import place
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import REFERENCE
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.lowering.known_ends import KnownEnds
from kubeverdict_agent.lowering.services import ListedServices, listed_services
from kubeverdict_agent.lowering.tables import Local, Lowering, lower
from tests.agent.meaning import meaning
from tests.clusters.edits import ClusterChanges, some_cluster
from tests.clusters.generated import ends, services, without_icmp_types
from tests.clusters.services import Made, policies

NODE = "node-1"
OWN = ("10.0.0.254", "fd00::fe")
PLACES = [
    place(protocol, port) for protocol in (Protocol.TCP, Protocol.UDP) for port in (53, 80, 8080)
]


def some_lowered_cluster(seed: int) -> Cluster:
    return without_icmp_types(some_cluster(seed, 8, 5))


def locals_of(compiled: CompiledPolicy) -> tuple[Local, ...]:
    keys = sorted(
        (pod.namespace, pod.name) for pod in compiled.pods if pod.node == NODE and pod.addresses
    )
    return tuple(Local(slot, *key, Mode.ENFORCE) for slot, key in enumerate(keys))


def enforced(compiled: CompiledPolicy) -> np.ndarray:
    return np.array([pod.name < "m" for pod in compiled.pods], np.bool_)


class Changes(ClusterChanges):
    """One lowering goes on through all edits."""

    def some(self, seed: int) -> Cluster:
        return some_lowered_cluster(seed)

    @initialize()
    def begin(self) -> None:
        self.lowering = Lowering(NODE)

    @invariant()
    def equals_lowering_from_scratch(self) -> None:
        if not hasattr(self, "cluster") or not hasattr(self, "lowering"):
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
    cluster = some_lowered_cluster(1)
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


def test_services_follow_the_pods_behind_them() -> None:
    """Whether or not a pod that changes is behind one; those behind it move up or down."""
    kept_ones = 0
    for seed in range(30):
        random = Random(seed)
        made, other = Made(seed), Made(seed + 500)
        cluster = replace(made.cluster, policies=policies(seed))
        keeper = Keeper(Kept(0, compile_cluster(cluster)))
        lowering, known = Lowering("n1"), KnownEnds("n1")
        for step in range(8):
            compiled = keeper.now.compiled
            locals_ = tuple(
                Local(slot, pod.namespace, pod.name, Mode.ENFORCE)
                for slot, pod in enumerate(compiled.pods)
                if pod.node == "n1"
            )
            guarded = enforced(compiled)
            kept = lowering.lower(compiled, locals_, (), guarded)
            fresh = lower(compiled, "n1", locals_, (), guarded)
            assert meaning(compiled, kept, PLACES) == meaning(compiled, fresh, PLACES), seed
            before = known.services(compiled)
            everything = listed_services(compiled, compiled.cluster, "n1")
            assert of_services(before) == of_services(everything), seed
            pods = [*cluster.pods, *(replace(pod, name=f"x{step}") for pod in other.pods)]
            pod = random.choice(pods) if pods else None
            if pod is not None and random.random() < 0.3:
                edit = Edit("", pods_out=((pod.namespace, pod.name),))
            elif pod is not None and random.random() < 0.5:
                alone = replace(pod, name="alone", labels={"alone": "1"}, host_network=False)
                edit = Edit("", pods_in=(replace(alone, addresses=(f"10.1.{seed}.{step}",)),))
            elif pod is not None:
                edit = Edit("", pods_in=(replace(pod, phase="Running"),))
            cluster = edited(keeper.now.compiled.cluster, edit)
            keeper.keep(edit)
            kept_ones += bool(before.addresses) and known.services(keeper.now.compiled) is before
    assert kept_ones > 20


def of_services(listed: ListedServices) -> dict[object, object]:
    """By address and port, the ends that they lead to."""
    found: dict[object, set[tuple[int, int]]] = {}
    for port, end, target in zip(
        listed.port.tolist(), listed.ends.tolist(), listed.targets.tolist(), strict=True
    ):
        for address in listed.addresses[listed.group[port]]:
            found.setdefault((address, int(listed.place[port])), set()).add((end, target))
    return dict(found)


def test_every_address_has_a_class_that_there_is() -> None:
    """Also those of a family that no pod of the cluster uses."""
    for seed in range(20):
        cluster = some_lowered_cluster(seed)
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
        compiled = compile_cluster(some_lowered_cluster(seed))
        texts = [str(end) for end in ends(compiled.cluster, ()) if isinstance(end, str)]
        addresses = [address for text in texts if (address := parse_address(text))]
        Random(seed).shuffle(addresses)
        found = KnownEnds(NODE).ends_of(compiled, addresses)
        assert found.tolist() == address_ids(compiled, list(map(str, addresses))).tolist()
        compared += len(addresses)
    assert compared > 400
