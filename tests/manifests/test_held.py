"""Objects that come and go one by one: the cluster, and every edit, as a load of them has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.held import Held, ObjectKey, Unread
from kubeverdict.manifests.loading import load_documents
from kubeverdict.manifests.policies import path_of
from kubeverdict.manifests.resources import Resource, group_of
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, edited
from kubeverdict.model.policy import Policy, says_the_same
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from kubeverdict.model.unevaluated import Gap
from kubeverdict.session.session import Session
from tests.clusters.calico_documents import CalicoMaker
from tests.clusters.cilium_documents import CiliumMaker
from tests.clusters.firewall_documents import FirewallMaker
from tests.clusters.generated_documents import NAMESPACES, NODE, Maker, Object
from tests.compile.test_edits import agree


def resource_of(item: Object) -> Resource:
    return group_of(item["apiVersion"]), item["kind"]


def document_of(item: Object) -> Document:
    return Document(Unread("here"), json.dumps(item).encode())


def key_of(item: Object) -> ObjectKey:
    metadata = item["metadata"]
    return ObjectKey(resource_of(item), metadata.get("namespace", ""), metadata["name"])


def workload(kind: str, name: str, replicas: int, owner: Object | None = None) -> Object:
    group = "batch/v1" if kind == "Job" else "apps/v1"
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c"}]},
    }
    metadata: Object = {"namespace": "a", "name": name}
    if owner:
        metadata["ownerReferences"] = [owner_of(owner)]
    spec: Object = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}


def owner_of(item: Object) -> Object:
    return {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "name": item["metadata"]["name"],
        "controller": True,
    }


def owned(pod: Object, owner: Object, template: str = "") -> Object:
    labels = {**pod["metadata"]["labels"], **({"pod-template-hash": template} if template else {})}
    metadata = {**pod["metadata"], "namespace": "a", "labels": labels}
    return {**pod, "metadata": {**metadata, "ownerReferences": [owner_of(owner)]}}


def others(maker: Maker) -> list[Object]:
    """Workloads with and without pods, what is not evaluated, and what is wrong."""
    deployment = workload("Deployment", "web", 2)
    replica_set = workload("ReplicaSet", "web-77", 2, deployment)
    daemons = workload("DaemonSet", "daemon", 0)
    pods = [maker.pod(number) for number in range(20, 24)]
    wrong = maker.usual(90)
    wrong["spec"] = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]}
    return [
        deployment,
        replica_set,
        daemons,
        workload("StatefulSet", "db", maker.choose((0, 1))),
        owned(pods[0], replica_set, "77"),
        owned(pods[1], replica_set, "77"),
        owned(pods[2], daemons),
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "n2", "labels": {"role": "core"}},
        },
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"namespace": "a", "name": "mesh"},
            "spec": {},
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "hook"},
            "webhooks": [
                {"name": "x.y.z", "clientConfig": {"service": {"namespace": "a", "name": "web"}}}
            ],
        },
        wrong,
    ]


MAKERS: dict[str, tuple[Profile, Callable[[Any], list[Object]]]] = {
    "plain": (REFERENCE, lambda choose: Maker(choose).cluster(6, 2, 4, baseline=True)),
    "tiers": (REFERENCE, lambda choose: Maker(choose).cluster_of_tiers(6, 4, 2)),
    "calico": (PROFILES["calico"], lambda choose: CalicoMaker(choose).calico_cluster(6, 6, 2)),
    "firewall": (REFERENCE, lambda choose: FirewallMaker(choose).firewalled_cluster(6, 4, 2)),
    "cilium": (PROFILES["cilium"], lambda choose: CiliumMaker(choose).cilium_cluster(6, 6, 2)),
}


def pool(kind: str, random: Random) -> list[Object]:
    """Documents in several versions each."""
    _, make = MAKERS[kind]
    found: list[Object] = []
    for _ in range(3):
        maker = Maker(random.choice)
        found += [*make(random.choice), *others(maker), NODE, *NAMESPACES]
        found += [
            {**space, "metadata": {**space["metadata"], "labels": {"team": random.choice("xy")}}}
            for space in NAMESPACES
        ]
    return found


def content(cluster: Cluster) -> dict[str, object]:
    """What a cluster holds, to be compared: in any order, and without what is only implied."""

    def listed(items: Sequence[Any]) -> list[str]:
        return sorted(repr(msgspec.structs.astuple(one)) for one in items)

    spaces = [one for one in cluster.namespaces if not one.implied]
    return {
        "namespaces": listed(spaces),
        **{
            field: listed(getattr(cluster, field))
            for field in ("pods", "nodes", "services", "endpoints", "ingresses", "api_server_calls")
        },
        "definitions": listed(cluster.references.definitions),
        "referring": sorted(map(str, cluster.references.policies)),
    }


def gaps(cluster: Cluster) -> set[tuple[str, Gap, str]]:
    return {(one.kind, one.gap, name) for one in cluster.unevaluated for name in one.names}


def policies_alike(one: Sequence[Policy], other: Sequence[Policy]) -> bool:
    sides = [{(each.kind, str(each)): each for each in side} for side in (one, other)]
    return sides[0].keys() == sides[1].keys() and all(
        says_the_same(policy, sides[1][key]) for key, policy in sides[0].items()
    )


def loaded(objects: Sequence[Object]) -> Cluster:
    return load_documents(map(document_of, objects), skip_invalid=True).cluster


def check(held: Cluster, objects: Sequence[Object]) -> None:
    """``held`` is what a load of ``objects`` gives, and names those that cannot be read."""
    fresh = loaded(objects)
    now, then = content(held), content(fresh)
    broken = {
        (key.resource[1], Gap.POLICY, path_of(key.namespace, key.name))
        for key, item in zip(map(key_of, objects), objects, strict=True)
        if load_documents([document_of(item)], skip_invalid=True).skipped
    }
    assert gaps(held) == gaps(fresh) | broken
    assert now == then
    assert policies_alike(held.policies, fresh.policies)


class Following(RuleBasedStateMachine):
    """Any sequence of objects that come, change and go."""

    @initialize(seed=st.integers(0, 10_000), kind=st.sampled_from(sorted(MAKERS)))
    def start(self, seed: int, kind: str) -> None:
        self.random = Random(seed)
        self.pool = pool(kind, self.random)
        self.held = Held()
        self.objects: dict[ObjectKey, Object] = {}
        for item in self.random.sample(self.pool, len(self.pool) // 3):
            self.put(item)
        self.session = Session.of(self.held.whole(), MAKERS[kind][0])
        self.step = 0
        self.check()

    def put(self, item: Object) -> None:
        self.objects[key_of(item)] = item
        self.held.take(self.held.read(resource_of(item), document_of(item)))

    @rule(data=st.data(), count=st.sampled_from((1, 1, 1, 3, 8)))
    def events(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            item = self.pool[data.draw(st.integers(0, len(self.pool) - 1))]
            if data.draw(st.booleans()):
                self.put(item)
            else:
                self.objects.pop(key_of(item), None)
                self.held.remove(key_of(item))
        self.session.keep(self.held.edit())
        self.check()

    def check(self) -> None:
        self.step += 1
        compiled = self.session.now.compiled
        check(compiled.cluster, list(self.objects.values()))
        agree(compiled, compiled.cluster, self.step)
        assert self.held.edit() == Edit("live")


TestFollowing = Following.TestCase
TestFollowing.settings = settings(
    max_examples=10, stateful_step_count=6, deadline=None, phases=(Phase.generate,)
)


@pytest.mark.long
def test_following_at_length() -> None:
    run_state_machine_as_test(
        Following, settings=settings(max_examples=1_500, stateful_step_count=30, deadline=None)
    )


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_objects_are_known_by_their_own_names(kind: str) -> None:
    """A deletion names the object, whatever its policy is called or is about."""
    for item in pool(kind, Random(0)):
        assert Held().read(resource_of(item), document_of(item)).key == key_of(item)


def test_a_policy_that_is_called_otherwise_than_its_object() -> None:
    """Calico stores ``default.x`` for what its users call ``x``, and global policies may be about
    one namespace."""
    space = "projectcalico.org/name == 'a'"
    for name, spec in (("default.x", {}), ("y", {"namespaceSelector": space})):
        item: Object = {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "GlobalNetworkPolicy",
            "metadata": {"name": name},
            "spec": {"selector": "all()", "types": ["Ingress"], **spec},
        }
        held = Held()
        held.take(held.read(resource_of(item), document_of(item)))
        assert [str(one) for one in held.whole().policies] == [name.removeprefix("default.")]
        assert held.remove(key_of(item))
        assert [name for _, _, name in held.edit().policies_out] == [name.removeprefix("default.")]


def test_the_same_again_changes_nothing() -> None:
    held = Held()
    objects = pool("calico", Random(4))
    for item in objects:
        held.take(held.read(resource_of(item), document_of(item)))
    whole = held.whole()
    last = {key_of(item): item for item in objects}
    assert not any(
        held.take(held.read(resource_of(item), document_of(item))) for item in last.values()
    )
    assert held.edit() == Edit("live")
    assert held.whole() is not whole


def test_a_pod_alone_costs_nobody_else() -> None:
    """Where every workload has its pods, an edit names one pod."""
    random = Random(1)
    held = Held()
    items = [*NAMESPACES, *(Maker(random.choice).pod(number) for number in range(9))]
    for item in items:
        held.take(held.read(resource_of(item), document_of(item)))
    cluster = held.whole()
    pod = {**items[-1], "metadata": {**items[-1]["metadata"], "labels": {"app": "new"}}}
    held.take(held.read(resource_of(pod), document_of(pod)))
    edit = held.edit()
    assert [one.labels for one in edit.pods_in] == [{"app": "new"}]
    assert edit == Edit("live", pods_in=edit.pods_in)
    assert len(edited(cluster, edit).pods) == 9
