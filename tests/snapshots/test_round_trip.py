"""A snapshot answers as what it was made of."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict import snapshots
from kubeverdict.analyses.connections import connections
from kubeverdict.analyses.explain import explain
from kubeverdict.analyses.notes import notes
from kubeverdict.analyses.questions import parse_port
from kubeverdict.analyses.whatif import whatif
from kubeverdict.compile.compiled import CompiledPolicy, RuleRef
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import KubeverdictError, UsageError
from kubeverdict.evaluate.delta import delta
from kubeverdict.evaluate.ends import address_ids, pod_id
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.pairs import count_pairs
from kubeverdict.evaluate.scenarios.outcome import Judged, Outcome
from kubeverdict.evaluate.scenarios.workbench import evaluate, workbench
from kubeverdict.manifests import apply, load
from kubeverdict.model.cluster import Cluster, Pod, Service, ServicePort
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from kubeverdict.render import FORMATS, render
from kubeverdict.render.style import Style
from kubeverdict.snapshots import Snapshot
from tests.cli.running import SHOP, SHOP_CHANGE
from tests.clusters.generated import (
    SINGLE_KNOB_PROFILES,
    change_cluster,
    clusters,
    profiles,
    random_cluster,
    random_probes,
)
from tests.clusters.records import allow, block, pod, policy_of, xy_cluster
from tests.services import inputs
from tests.snapshots.comparing import assert_holds

SERVICES = (
    Service("shop", "web", {"app": "web"}, (ServicePort(Protocol.TCP, 80, "http"),)),
    Service(
        "data", "db", {"app": "db"}, (ServicePort(Protocol.TCP, 80, 8080),), addresses=("10.9.0.1",)
    ),
)


def again(compiled: CompiledPolicy, **options: Any) -> Snapshot:
    return snapshots.read_bytes(snapshots.to_bytes(compiled, **options))


@settings(max_examples=60)
@given(cluster=clusters(tiers=True), profile=profiles(), static=st.booleans())
def test_every_field_of_any_cluster(cluster: Cluster, profile: Profile, static: bool) -> None:
    compiled = compile_cluster(replace(cluster, services=SERVICES), profile, static=static)
    bench = workbench(compiled)
    assert_holds(again(compiled, workbench=bench), compiled, bench)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_field_of_larger_clusters(profile: Profile) -> None:
    compiled = compile_cluster(
        replace(random_cluster(1, pods=120, policies=40), services=SERVICES), profile
    )
    bench = workbench(compiled)
    assert_holds(again(compiled, workbench=bench), compiled, bench)


def test_without_a_workbench() -> None:
    compiled = compile_cluster(random_cluster(1))
    assert_holds(again(compiled), compiled, None)


def test_an_empty_cluster() -> None:
    compiled = compile_cluster(Cluster())
    bench = workbench(compiled)
    assert_holds(again(compiled, workbench=bench), compiled, bench)


def test_a_profile_that_nobody_knows_is_stored_by_value() -> None:
    own = replace(REFERENCE, name="own", title="Our own", icmp="always", unverified=("hairpin",))
    found = again(compile_cluster(random_cluster(1), own)).compiled.profile
    assert found == own


def test_the_widest_addresses_and_any_letters() -> None:
    ways = (Direction.INGRESS, Direction.EGRESS)
    rules = [allow(way, (block("::/0", "ffff:ffff::/32"), block("0.0.0.0/0"))) for way in ways]
    pods = (pod("x/a", {"ключ": "värde\n", "": '"\\'}, "10.0.0.1", "fd00::1"),)
    compiled = compile_cluster(xy_cluster(pods, policy_of("x/π", *rules)))
    assert_holds(again(compiled), compiled)


def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "\udcff.yaml"
    try:
        path.write_bytes((SHOP / "shop" / "policies.yaml").read_bytes())
    except OSError:
        pytest.skip("this file system takes text only")
    compiled = compile_cluster(load([str(path)]).cluster)
    assert compiled.policies
    assert_holds(again(compiled), compiled)


def test_text_that_cannot_be_stored_is_refused() -> None:
    compiled = compile_cluster(xy_cluster((pod("x/a", {"a": "\udcff"}, "10.0.0.1"),)))
    with pytest.raises(UsageError, match=r"cannot hold the text '\\udcff'"):
        snapshots.to_bytes(compiled)


@pytest.mark.parametrize(
    "profile", [*PROFILES.values(), *SINGLE_KNOB_PROFILES[:6]], ids=lambda profile: profile.name
)
def test_verdicts_and_the_rules_that_decide(profile: Profile) -> None:
    made = random_cluster(3, tiers=profile.name == "reference")
    compiled = compile_cluster(made, profile)
    stored = again(compiled).compiled
    assert count_pairs(stored) == count_pairs(compiled)
    probes = random_probes(made, compiled.pods, 400, seed=1)
    for one, other in zip(answers(compiled, probes), answers(stored, probes), strict=True):
        assert one == other


def answers(compiled: CompiledPolicy, probes: Any) -> list[object]:
    """Whether each flow is allowed, and the text of the rules or the reasons why."""

    def end(one: Pod | str) -> int:
        if isinstance(one, str):
            return int(address_ids(compiled, [one])[0])
        known = next(pod for pod in compiled.pods if str(pod) == str(one))
        return pod_id(compiled, known)

    found: list[object] = []
    for probe in probes:
        verdicts = judge(
            compiled,
            [end(probe.source)],
            [end(probe.destination)],
            [probe.protocol],
            [probe.port],
            family=probe.family,
        )
        deciders = (int(verdicts.egress[0]), int(verdicts.ingress[0]))
        texts = [told(compiled.rules[one]) if one >= 0 else one for one in deciders]
        found.append((bool(verdicts.allowed[0]), texts))
    return found


def told(ref: object) -> object:
    """A rule by its names, so that those of different objects can be compared."""
    if isinstance(ref, RuleRef):
        return str(ref.policy), ref.policy.kind, ref.rule.direction, ref.rule.index
    return ref


def test_scenarios() -> None:
    before = random_cluster(4, pods=60, policies=20)
    after = change_cluster(Random(1).choice, before)
    compiled = compile_cluster(before)
    bench = workbench(compiled)
    stored = again(compiled, workbench=bench).workbench
    assert stored is not None
    # Few, so that plain Python does.
    edits = [Edit(str(p), policies_out=(policy_key(p),)) for p in before.policies[:6]]
    edits += [Edit(str(p), policies_in=(p,)) for p in after.policies[-6:]]
    edits += [Edit(str(p), pods_in=(p,)) for p in after.pods[-3:]]
    edits.append(Edit("profile", profile="flannel"))
    for one, other in zip(evaluate(bench, edits), evaluate(stored, edits), strict=True):
        assert figures(one) == figures(other)


def figures(outcome: Outcome) -> object:
    def judged(one: Judged | None) -> object:
        return one and (one.allowed, told(one.egress), told(one.ingress))

    shown = [
        (one.opens, str(one.source), str(one.destination), one.protocol, one.port, one.family)
        for one in outcome.examples
    ]
    deciders = [(judged(one.before), judged(one.after)) for one in outcome.examples]
    return shown, deciders, replace(outcome, examples=(), seconds=0.0)


def test_a_change_of_what_was_stored_is_a_change_of_what_was_read() -> None:
    before = random_cluster(5, pods=60, policies=20)
    compiled = compile_cluster(before)
    stored = again(compiled).compiled
    gone = Edit("without", policies_out=(policy_key(before.policies[0]),))
    changed = compile_cluster(edited(before, gone))
    assert delta(stored, compile_cluster(edited(stored.cluster, gone))).counts == (
        delta(compiled, changed).counts
    )
    # The other rules of the cluster are those of the snapshot, not copies.
    kept = edited(stored.cluster, gone).policies
    assert all(any(one is other for other in stored.cluster.policies) for one in kept)


def texts(base: Cluster, compiled: CompiledPolicy) -> dict[str, str]:
    """What the verbs print about the shop, in every format."""
    style = Style()
    reports: dict[str, list[object]] = {"explain": [], "list": [connections(compiled)]}
    for source, destination, port in (
        ("deploy/shop/checkout", "svc/data/orders-db", "5432/TCP"),
        ("deploy/shop/checkout", "sts/data/orders-db", "5432/TCP"),
        ("shop/frontend", "shop/checkout", "http"),
        ("platform/prometheus", "data/search", "metrics"),
        ("shop/payments", "203.0.113.7", "443"),
        ("203.0.113.7", "shop/payments", "icmp"),
        ("shop/payment", "shop/cart", "80"),
    ):
        try:
            report = explain(compiled, source, destination, parse_port(port))
        except KubeverdictError as error:
            reports.setdefault("error", []).append(str(error))
        else:
            reports["explain"].append(report)
    changed = compile_cluster(apply(base, load([str(SHOP_CHANGE)])), compiled.profile)
    reports["whatif"] = [whatif(compiled, changed)]
    found = {
        f"{verb} {number} {form}": render(verb, form, report, style)
        for verb, all_of_them in reports.items()
        if verb != "error"
        for number, report in enumerate(all_of_them)
        for form in FORMATS[verb]
    }
    found["errors"] = "\n".join(map(str, reports.get("error", [])))
    found["notes"] = "\n".join(notes(compiled))
    return found


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("cni", ["reference", "aws-vpc-cni", "weave", "flannel"])
def test_reports_are_the_same_to_the_letter(form: str, cni: str, tmp_path: Path) -> None:
    source = SHOP if form == "yaml" else shop_as_a_dump(tmp_path)
    loaded = load([str(source)])
    compiled = compile_cluster(loaded.cluster, PROFILES[cni])
    path = str(tmp_path / "shop.kvs")
    snapshots.write(path, compiled)
    expected = texts(loaded.cluster, compiled)
    stored = snapshots.read(path).compiled
    assert texts(stored.cluster, stored) == expected
    assert (f".{form}:" in expected["explain 0 tree"]) == (cni != "flannel")


def shop_as_a_dump(folder: Path) -> Path:
    """The shop as kubectl would print it, on other lines than those of the manifests."""
    files = sorted(SHOP.rglob("*.yaml"))
    items = [item for path in files for item in yaml.safe_load_all(path.read_bytes()) if item]
    path = folder / "shop.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1))
    return path


def test_what_was_said_of_the_input_is_kept() -> None:
    compiled = compile_cluster(Cluster())
    remarks = (("warning", "a.yaml:3: 2 CiliumNetworkPolicy objects are not evaluated"),)
    assert again(compiled, remarks=remarks).remarks == remarks
    assert again(compiled).remarks == ()


def test_the_digest_tells_contents_apart() -> None:
    made = random_cluster(6, pods=20, policies=5)
    compiled = compile_cluster(made)
    known = again(compiled).digest
    assert known == again(compile_cluster(made)).digest
    assert known != again(compile_cluster(replace(made, pods=made.pods[1:]))).digest
    assert known != again(compile_cluster(made, PROFILES["calico"])).digest
    assert known != again(compiled, workbench=workbench(compiled)).digest
    assert known != again(compiled, remarks=(("note", "one"),)).digest


def test_a_snapshot_of_a_snapshot() -> None:
    compiled = compile_cluster(random_cluster(7, pods=40, policies=10), PROFILES["kube-router"])
    bench = workbench(compiled)
    first = again(compiled, workbench=bench)
    second = again(first.compiled, workbench=first.workbench)
    assert second.digest == first.digest
    assert_holds(second, compiled, bench)


def test_endpoints_and_addresses_of_services_are_kept() -> None:
    names = (*inputs.BALANCER, "apiserver", "apiserver-slice", "apiserver-policy")
    compiled = inputs.compiled(names)
    restored = again(compiled).compiled
    asked = [
        ("ops/controller", "10.96.0.1", "443"),
        ("shop/web", "203.0.113.51", "80"),
        ("shop/web", "192.168.1.2", "30080"),
        ("shop/web", "svc/shop/alias", "80"),
        ("shop/web", "10.96.0.22", "80"),
    ]
    for source, destination, port in asked:
        question = parse_port(port)
        report = explain(compiled, source, destination, question)
        assert explain(restored, source, destination, question) == report
