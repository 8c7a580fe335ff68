"""A session: edits that are kept, edits that are forgotten, and threads that share it."""

from __future__ import annotations

import threading
from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.compile.incremental.editable import Editable
from kubeverdict.errors import KubeverdictError
from kubeverdict.evaluate.pairs import count_pairs
from kubeverdict.model.cluster import Namespace
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.session.session import Session
from tests.clusters.edits import some_cluster
from tests.clusters.generated import random_cluster
from tests.compile.test_edits import agree, any_edit


@pytest.mark.parametrize("seed", range(12))
def test_kept_and_forgotten_edits(seed: int) -> None:
    random = Random(seed)
    cluster = some_cluster(seed, 12, 6)
    other = some_cluster(seed + 100, 12, 6)
    session = Session.of(cluster, REFERENCE)
    for step in range(8):
        edit = any_edit(random, cluster, other)
        before = session.now
        agree(session.judge(edit).compiled, edited(cluster, edit), step)
        assert session.now is before
        if random.random() < 0.6:
            cluster = edited(cluster, edit)
            assert session.keep(edit).number == before.number + 1
        agree(session.now.compiled, cluster, step)


def test_a_version_does_not_change() -> None:
    cluster = random_cluster(3, 10, 5)
    session = Session.of(cluster, REFERENCE)
    first = session.now
    pairs = count_pairs(first.compiled)
    for policy in cluster.policies:
        session.keep(Edit("", policies_out=(policy_key(policy),)))
    assert count_pairs(session.now.compiled) != pairs
    assert count_pairs(first.compiled) == pairs
    agree(first.compiled, cluster, 1)


def test_a_forgotten_namespace_leaves_no_trace() -> None:
    """The labels of a namespace that an edit brought must not be known to a later edit."""
    cluster = random_cluster(5, 10, 6)
    session = Session.of(cluster, REFERENCE)
    space = Namespace("guest", {"team": "web"})
    pod = replace(cluster.pods[0], namespace="guest", name="guest", addresses=("10.9.9.9",))
    edit = Edit("", namespaces_in=(space,), pods_in=(pod,))
    session.judge(edit)
    otherwise = Edit("", namespaces_in=(replace(space, labels={"team": "data"}),), pods_in=(pod,))
    session.keep(otherwise)
    agree(session.now.compiled, edited(cluster, otherwise), 1)


def test_what_single_edits_do_not_follow_is_compiled_anew() -> None:
    cluster = random_cluster(7, 10, 6)
    session = Session.of(cluster, REFERENCE)
    space = cluster.namespaces[0]
    edit = Edit("", namespaces_in=(replace(space, labels={**space.labels, "team": "new"}),))
    agree(session.judge(edit).compiled, edited(cluster, edit), 1)
    session.keep(edit)
    cluster = edited(cluster, edit)
    agree(session.now.compiled, cluster, 1)
    policy = Edit("", policies_out=(policy_key(cluster.policies[0]),))
    session.keep(policy)
    agree(session.now.compiled, edited(cluster, policy), 2)


def test_another_network_plugin() -> None:
    cluster = random_cluster(8, 10, 6)
    session = Session.of(cluster, REFERENCE)
    session.keep(Edit("", profile="flannel"))
    assert session.now.compiled.profile is PROFILES["flannel"]
    session.keep(Edit("", policies_out=(policy_key(cluster.policies[0]),)))
    assert session.now.compiled.profile is PROFILES["flannel"]
    assert len(session.now.compiled.cluster.policies) == len(cluster.policies) - 1


def test_a_session_is_as_it_was_after_an_edit_that_cannot_be_compiled() -> None:
    cluster = random_cluster(9, 10, 6)
    session = Session.of(cluster, REFERENCE)
    before = session.now
    pod = replace(cluster.pods[0], addresses=("nonsense",))
    gone = policy_key(cluster.policies[1])
    for make in (session.judge, session.keep):
        with pytest.raises(KubeverdictError):
            make(Edit("", policies_out=(gone,), pods_in=(pod,)))
        assert session.now is before
    edit = Edit("", policies_out=(policy_key(cluster.policies[0]),))
    session.keep(edit)
    agree(session.now.compiled, edited(cluster, edit), 1)


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[Edit]:
    """The edits that were followed."""
    found: list[Edit] = []
    apply = Editable.apply

    def noted(editable: Editable, edit: Edit) -> CompiledPolicy:
        found.append(edit)
        return apply(editable, edit)

    monkeypatch.setattr(Editable, "apply", noted)
    return found


def test_what_takes_longer_to_follow_than_to_compile_is_compiled(followed: list[Edit]) -> None:
    cluster = random_cluster(12, 10, 3)
    session = Session.of(cluster, REFERENCE)
    many = tuple(replace(cluster.policies[0], name=f"p{number}") for number in range(21))
    for count in (21, 20):
        edit = Edit("", policies_in=many[:count])
        agree(session.judge(edit).compiled, edited(cluster, edit), count)
        assert followed == [edit] * (count == 20)


def test_the_first_edit_that_is_judged_of_a_snapshot_is_compiled(followed: list[Edit]) -> None:
    """To follow it the cluster would have to be compiled first; the next one is worth that."""
    cluster = random_cluster(13, 10, 3)
    session = Session.resumed(compile_cluster(cluster, REFERENCE))
    edit = Edit("", policies_out=(policy_key(cluster.policies[0]),))
    for expected in ([], [edit]):
        agree(session.judge(edit).compiled, edited(cluster, edit), len(expected))
        assert followed == expected


def test_versions_are_whole_while_edits_are_kept_and_folded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each kept edit removes a policy or puts it back, in order: so any version is known by its
    number. What edits leave behind is cleared away meanwhile, every time."""
    monkeypatch.setattr(Editable, "worn", property(lambda _: True))
    cluster = random_cluster(11, 20, 6)
    policy = cluster.policies[0]
    edits = [
        Edit("", policies_out=(policy_key(policy),)),
        Edit("", policies_in=(policy,)),
    ]
    expected = [
        count_pairs(compile_cluster(each, REFERENCE))
        for each in (cluster, edited(cluster, edits[0]))
    ]
    session = Session.of(cluster, REFERENCE)
    wrong: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            version = session.now
            if count_pairs(version.compiled) != expected[version.number % 2]:
                wrong.append(version.number)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(60):
        session.keep(edits[number % 2])
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    session.settle()
    session.keep(Edit(""))
    session.settle()
    assert session.now.number == 61
    # Compiled anew, it is as small as at the start.
    first = compile_cluster(cluster, REFERENCE)
    assert [plane.size for plane in session.now.compiled.planes] == [
        plane.size for plane in first.planes
    ]
    agree(session.now.compiled, cluster, 1)
