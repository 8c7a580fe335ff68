"""A real API server, followed: every event is an edit, and after any fault the state is what a
fresh list has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kubeverdict import live
from kubeverdict.errors import UsageError
from kubeverdict.live.following import Batch, Follower
from kubeverdict.live.reflector import Timing, now
from kubeverdict.model.policy import Policy
from kubeverdict.model.profile import REFERENCE
from kubeverdict.session.session import Session
from tests.compile.test_edits import agree
from tests.kubernetes.api import Api, ApiError, Object
from tests.kubernetes.loading import load
from tests.live.front import Front
from tests.manifests.test_held import content, gaps, policies_alike

pytestmark = pytest.mark.programs

SPACE = "live-following"
PODS = f"/api/v1/namespaces/{SPACE}/pods"
POLICIES = f"/apis/networking.k8s.io/v1/namespaces/{SPACE}/networkpolicies"
FAST = Timing(silence=3.0, watch=20.0, first_wait=0.05, longest_wait=0.4)
SECONDS = 30.0


def pod(name: str, address: str, **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE, "labels": labels or {"app": name}},
        "spec": {"nodeName": "elsewhere", "containers": [{"name": "main", "image": "none"}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }


def policy(name: str, app: str, client: str) -> Object:
    peers = [{"podSelector": {"matchLabels": {"app": client}}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, "ingress": [{"from": peers}]},
    }


class Seen:
    """A follower and a session that keeps its edits."""

    def __init__(self, access: live.Access, timing: Timing = FAST, **options: Any) -> None:
        self.access = access
        self.follower = Follower(access, timing=timing, **options)
        self.session = Session.of(self.follower.start(), REFERENCE)
        self.batches: list[Batch] = []

    def take(self, seconds: float = 0.2) -> Batch | None:
        batch = self.follower.next(seconds)
        if batch is not None:
            self.session.keep(batch.edit)
            self.batches.append(batch)
        return batch

    def until(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not reached():
            assert time.monotonic() < deadline, (what, self.follower.states)
            self.take()

    @property
    def stale(self) -> list[str]:
        at = now()
        return [one.kind for one in self.follower.states if one.stale(at)]

    def is_fresh(self) -> bool:
        """Whether what is held is what a list has."""
        fresh = live.load(self.access, skip_invalid=True).loaded.cluster
        held = self.session.now.compiled.cluster
        return (
            content(held) == content(fresh)
            and gaps(held) == gaps(fresh)
            and policies_alike(held.policies, fresh.policies)
        )

    def catch_up(self) -> None:
        """Nothing is lost, and the verdicts and the rules that decide are those of the list."""
        self.until(lambda: not self.stale, "stale for ever")
        self.until(self.is_fresh, "it never is what a list has")
        compiled = self.session.now.compiled
        agree(compiled, compiled.cluster, 1)


@pytest.fixture
def server(api_server: Api) -> Iterator[Api]:
    """An API server with three pods and a policy, in a namespace that is then emptied."""
    pods = [pod(name, f"10.9.1.{at}") for at, name in enumerate(("web", "client", "other"), 1)]
    assert load(api_server, [*pods, policy("web", "web", "client")]) == []
    yield api_server
    for where in (PODS, POLICIES):
        query = "?gracePeriodSeconds=0"
        api_server.delete(where + query)


@pytest.fixture
def seen(server: Api) -> Iterator[Seen]:
    made = Seen(live.find_access(str(server.kubeconfig)))
    yield made
    made.follower.close()


@pytest.fixture
def front(server: Api) -> Iterator[Front]:
    with Front(server) as made:
        yield made


@pytest.fixture
def through(front: Front, tmp_path: Path) -> Iterator[Seen]:
    made = Seen(live.find_access(str(front.kubeconfig(tmp_path))))
    yield made
    made.follower.close()


def relabel(server: Api, name: str, **labels: str | None) -> None:
    server.merge(f"{PODS}/{name}", {"metadata": {"labels": labels}})


def policies_of(seen: Seen) -> list[Policy]:
    return [one for one in seen.session.now.compiled.policies if one.namespace == SPACE]


def labels_of(seen: Seen, name: str) -> Any:
    pods = {(one.namespace, one.name): one for one in seen.session.now.compiled.pods}
    return pods[SPACE, name].labels if (SPACE, name) in pods else None


def test_an_event_is_an_edit_with_its_cause(server: Api, seen: Seen) -> None:
    relabel(server, "other", app="client")
    seen.until(lambda: labels_of(seen, "other") == {"app": "client"}, "no event")
    batch = seen.batches[-1]
    assert [one.labels for one in batch.edit.pods_in] == [{"app": "client"}]
    [cause] = batch.causes
    version = server.get(f"{PODS}/other")["metadata"]["resourceVersion"]
    assert (cause.what, cause.kind, cause.path) == ("changed", "Pod", f"{SPACE}/other")
    assert cause.version == version and cause.manager
    assert not seen.session.now.anew


def test_policies_come_change_and_go(server: Api, seen: Seen) -> None:
    server.apply(f"{POLICIES}/more", policy("more", "other", "web"))
    seen.until(lambda: len(policies_of(seen)) == 2, "no policy")
    assert seen.batches[-1].causes[0].manager == "kubeverdict"
    server.apply(f"{POLICIES}/more", policy("more", "client", "web"))
    server.delete(f"{POLICIES}/web")
    seen.catch_up()
    assert {one.what for batch in seen.batches for one in batch.causes} == {
        *("added", "changed", "deleted")
    }
    [left] = policies_of(seen)
    version = server.get(f"{POLICIES}/more")["metadata"]["resourceVersion"]
    assert left.source.file.endswith(f"resourceVersion {version}")


def test_any_events(server: Api, seen: Seen) -> None:
    random = Random(5)
    for step in range(60):
        name = random.choice(("a", "b", "c", "d"))
        match random.randrange(6):
            case 0 | 1:
                load(server, [pod(name, f"10.9.2.{step}", app=random.choice(("web", "client")))])
            case 2:
                remove(server, f"{PODS}/{name}?gracePeriodSeconds=0")
            case 3:
                server.apply(f"{POLICIES}/{name}", policy(name, "web", random.choice(("a", "b"))))
            case 4:
                remove(server, f"{POLICIES}/{name}")
            case 5:
                labels = {"metadata": {"labels": {"team": random.choice("xy")}}}
                server.merge(f"/api/v1/namespaces/{SPACE}", labels)
        if step % 20 == 19:
            seen.catch_up()


def remove(server: Api, where: str) -> None:
    """Delete what may not be there."""
    try:
        server.delete(where)
    except ApiError as error:
        assert error.status == 404


# --- faults ----------------------------------------------------------------------------------


def test_connections_are_cut(server: Api, front: Front, through: Seen) -> None:
    front.cut()
    relabel(server, "other", app="client")
    through.until(lambda: labels_of(through, "other") == {"app": "client"}, "lost")
    through.catch_up()


def test_nobody_answers_for_a_while(server: Api, front: Front, through: Seen) -> None:
    front.down()
    through.until(lambda: "pods" in through.stale, "the outage is not seen")
    held = labels_of(through, "other")
    relabel(server, "other", app="client")
    through.take(1.0)
    assert labels_of(through, "other") == held  # what was known stays
    state = next(one for one in through.follower.states if one.kind == "pods")
    assert state.age(now()) > 0.5 and state.error
    front.up()
    through.catch_up()
    assert labels_of(through, "other") == {"app": "client"}


def test_connections_are_half_open(server: Api, front: Front, through: Seen) -> None:
    front.stall()
    relabel(server, "other", app="client")
    began = time.monotonic()
    through.until(lambda: labels_of(through, "other") == {"app": "client"}, "hung")
    assert time.monotonic() - began > FAST.silence / 2
    through.catch_up()


def test_a_busy_server_is_left_alone(server: Api, front: Front, through: Seen) -> None:
    front.refuse(429, times=2, where="/api/v1/pods", Retry_After="1")
    front.cut()
    began = time.monotonic()
    relabel(server, "other", app="client")
    through.until(lambda: labels_of(through, "other") == {"app": "client"}, "lost")
    assert time.monotonic() - began > 1.5
    through.catch_up()


def test_a_gateway_times_out(server: Api, front: Front, through: Seen) -> None:
    front.refuse(504, times=6)
    front.cut()
    relabel(server, "other", app="client")
    through.until(lambda: labels_of(through, "other") == {"app": "client"}, "lost")
    through.catch_up()


def test_a_watch_is_gone(server: Api, front: Front, through: Seen) -> None:
    """410 in place of the watch: all is listed again."""
    front.refuse(410, times=1, where="/api/v1/pods?watch=1")
    front.cut()
    server.delete(f"{PODS}/other?gracePeriodSeconds=0")
    through.until(lambda: labels_of(through, "other") is None, "it was not seen to go")
    through.catch_up()


def test_a_server_that_does_not_list_by_a_watch(server: Api, front: Front, tmp_path: Path) -> None:
    front.refuse(422, times=200, where="sendInitialEvents")
    made = Seen(live.find_access(str(front.kubeconfig(tmp_path))))
    try:
        assert any("limit=500" in one for one in front.asked)
        relabel(server, "other", app="client")
        made.until(lambda: labels_of(made, "other") == {"app": "client"}, "lost")
        made.catch_up()
    finally:
        made.follower.close()


def test_a_list_expires_while_it_is_read(
    server: Api, front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeverdict.live.reflector._PAGE", 2)
    front.refuse(422, times=200, where="sendInitialEvents")
    front.refuse(410, times=3, where="continue=")
    made = Seen(live.find_access(str(front.kubeconfig(tmp_path))))
    try:
        made.catch_up()
    finally:
        made.follower.close()


def test_a_clock_that_jumps(
    server: Api, through: Seen, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    for jump in (86_400.0, -86_400.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        front.cut()
        relabel(server, "other", app=f"at{jump:.0f}".replace("-", "minus"))
        through.catch_up()
        assert not through.stale


RIGHTS: list[Object] = [
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "follower"},
        "rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "watch"]},
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "follower"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "follower",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "follower"}],
    },
]
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/follower"


def may(server: Api, *resources: str) -> None:
    rules = [{"apiGroups": ["*"], "resources": list(resources), "verbs": ["list", "watch"]}]
    server.merge(ROLE, {"rules": rules})


def test_a_right_goes_and_comes(server: Api, front: Front, tmp_path: Path) -> None:
    assert load(server, RIGHTS) == []
    path = str(front.kubeconfig(tmp_path))
    access = live.find_access(path, impersonation=live.Impersonation("follower"))
    made = Seen(access)
    try:
        made.catch_up()
        may(server, "pods", "namespaces", "services", "endpointslices")
        time.sleep(0.5)  # an authorizer takes a moment
        front.cut()

        def missed() -> set[str]:
            return {one.kind for one in made.session.now.compiled.cluster.unevaluated if one.detail}

        made.until(lambda: "NetworkPolicy" in missed(), "the refusal is not told")
        assert len(policies_of(made)) == 1  # what was known before is used
        relabel(server, "other", app="client")
        made.until(lambda: labels_of(made, "other") == {"app": "client"}, "others stand still")
        server.apply(f"{POLICIES}/more", policy("more", "other", "web"))
        may(server, "*")
        made.until(lambda: not missed(), "it is not known that all may be read again")
        made.catch_up()
        assert len(policies_of(made)) == 2
    finally:
        made.follower.close()


def test_no_start_without_pods_and_namespaces(server: Api) -> None:
    access = live.find_access(
        str(server.kubeconfig), impersonation=live.Impersonation("nobody-at-all")
    )
    follower = Follower(access, timing=FAST)
    try:
        with pytest.raises(UsageError, match=r"no answer without .*forbidden"):
            follower.start()
    finally:
        follower.close()


DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "authorizationpolicies.security.istio.io"},
    "spec": {
        "group": "security.istio.io",
        "scope": "Namespaced",
        "names": {
            "kind": "AuthorizationPolicy",
            "plural": "authorizationpolicies",
            "singular": "authorizationpolicy",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}
MESH: Object = {
    "apiVersion": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "deny", "namespace": SPACE},
    "spec": {},
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def test_a_kind_comes_goes_and_comes_again(server: Api, seen: Seen) -> None:
    where = f"{DEFINITIONS}/{DEFINITION['metadata']['name']}"
    objects = f"/apis/security.istio.io/v1/namespaces/{SPACE}/authorizationpolicies"

    def named() -> bool:
        found = seen.session.now.compiled.cluster.unevaluated
        return any(one.kind == "AuthorizationPolicy" and one.names for one in found)

    def make() -> None:
        server.create(DEFINITIONS, DEFINITION)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                server.create(objects, MESH)
                return
            except ApiError as error:
                assert error.status == 404
                time.sleep(0.1)

    try:
        make()
        seen.until(named, "a kind that appears is not followed")
        server.delete(where)
        seen.until(lambda: not named(), "a kind that goes leaves its objects")
        seen.catch_up()
        make()
        seen.until(named, "a kind that was made again is not followed")
        seen.catch_up()
    finally:
        remove(server, where)
