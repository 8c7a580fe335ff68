"""What bulk says of the scenarios that it makes or reads, against the oracle on what each leaves.

Through the command and its JSON Lines. The documents that a scenario leaves are put together here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol
from tests.cli.running import run_here
from tests.clusters.generated_documents import APPS, Maker, Object
from tests.counting import count_changes
from tests.oracle import decides_to_allow
from tests.oracle_parts import End, Flow
from tests.verbs.changed import Key, key, plain, written
from tests.verbs.connected import Connected, Open, decider, first_address
from tests.verbs.plain import Plain

SEEDS = range(40)
POLICIES = ("AdminNetworkPolicy", "NetworkPolicy")
Documents = dict[Key, Object]


def by_key(documents: Iterable[Object]) -> Documents:
    return {key(one): one for one in documents}


def path(one: Key) -> str:
    return "/".join(filter(None, (one[0].lower(), *one[1:])))


def made_cluster(seed: int) -> tuple[Maker, Documents]:
    make = Maker(Random(seed).choice)
    sizes = make.choose((2, 3)), make.choose((1, 2)), make.choose((1, 2, 3))
    return make, by_key(make.cluster(*sizes))


def bulk(base: Path, *options: object) -> dict[str, Object]:
    done = run_here("bulk", "-f", base, *options, "-o", "jsonl")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert done.status == int(any(one["changes"] for one in found))
    return {one["name"]: one for one in found}


class Asked:
    """The oracle before and after some scenario."""

    def __init__(self, before: Plain, after: Plain) -> None:
        self.before, self.after = before, after
        connected = Connected(before, after)
        self.old, self.new = (ported(connected.on(one)) for one in (before, after))

    def effects(self) -> Object:
        """What the report of a scenario has to say."""
        counts = count_changes(self.before.oracle, self.after.oracle, 4)
        figures = {
            "pairs_opened": counts.pairs_opened,
            "pairs_closed": counts.pairs_closed,
            "ports_opened": counts.ports_opened,
            "ports_closed": counts.ports_closed,
        }
        opened, closed = less(self.new, self.old), less(self.old, self.new)
        pods = {end for pair in (opened | closed) for end in pair if "/" in end}
        return {
            "figures": figures,
            "workloads": len(pods),
            "namespaces": len({pod.partition("/")[0] for pod in pods}),
            "outside_opened": has_addresses(opened),
            "outside_closed": has_addresses(closed),
            "changes": bool(opened or closed),
        }

    def check_example(self, example: Object) -> None:
        """It opens or closes, and is decided as it says."""
        number, _, protocol = example["port"].partition("/")
        for each, when, allowed in (
            (self.before, "before", not example["opens"]),
            (self.after, "after", example["opens"]),
        ):
            source, destination = (
                end_of(each, example[side]) for side in ("source", "destination")
            )
            if source is None or destination is None:
                assert when not in example and not allowed
                continue
            assert example[when]["allowed"] is allowed
            flow = Flow(source, destination, Protocol[protocol], int(number), 4)
            for direction in Direction:
                way = each.oracle._direction(direction, flow)
                told = example[when][direction.word]
                assert told["allowed"] is decides_to_allow(way.decided)
                rule = told.get("rule")
                assert (rule and viewed(rule)) == decider(way)


def viewed(rule: Mapping[str, Any]) -> tuple[str, str, str]:
    policy = rule["policy"]
    return policy["kind"], policy["name"], rule["field"]


def end_of(plain: Plain, name: str) -> End | None:
    if "/" not in name or name[0].isdigit():
        return first_address(name)
    found = [pod for pod in plain.oracle.managed if str(pod) == name]
    return plain.oracle.end(found[0]) if found else None


def ported(found: Open) -> Open:
    """Without what has no ports, which bulk does not count."""
    kept = {
        pair: frozenset(one for one in ports if one[0].has_ports) for pair, ports in found.items()
    }
    return {pair: ports for pair, ports in kept.items() if ports}


def less(more: Open, other: Open) -> Open:
    found = {pair: ports - other.get(pair, frozenset()) for pair, ports in more.items()}
    return {pair: ports for pair, ports in found.items() if ports}


def has_addresses(found: Open) -> bool:
    return any("/" not in end for pair in found for end in pair)


def effects_told(report: Object) -> Object:
    found = {name: report.get(name, False) for name in ("outside_opened", "outside_closed")}
    found |= {name: report.get(name, 0) for name in ("workloads", "namespaces")}
    return found | {"figures": report["figures"], "changes": report["changes"]}


def agree(folder: Path, base: Documents, left: Mapping[str, Documents], told: Object) -> None:
    """Every scenario, by name, with the documents that it leaves."""
    assert told.keys() == left.keys()
    before = plain(written(folder, "before.yaml", list(base.values())))
    for name, documents in left.items():
        after = plain(written(folder, "after.yaml", list(documents.values())))
        asked, report = Asked(before, after), told[name]
        assert effects_told(report) == asked.effects(), name
        for example in report.get("examples", ()):
            asked.check_example(example)


def without(base: Documents, *gone: Key) -> Documents:
    return {one: document for one, document in base.items() if one not in gone}


def relabelled(pod: Object, label: str) -> Object:
    new = deepcopy(pod)
    name, _, value = label.partition("=")
    new["metadata"]["labels"].pop(name.rstrip("-"), None)
    if value:
        new["metadata"]["labels"][name] = value
    return new


@pytest.mark.parametrize("seed", SEEDS)
def test_delete_each_and_relabel_each(seed: int, tmp_path: Path) -> None:
    _, base = made_cluster(seed)
    label = ("app=web", "app=db", "app-", "env=x")[seed % 4]
    file = written(tmp_path, "base.yaml", list(base.values()))
    told = bulk(file, "--delete-each", "--relabel-each", label)
    left = {f"delete {path(one)}": without(base, one) for one in base if one[0] in POLICIES}
    for one, pod in base.items():
        if one[0] == "Pod":
            left[f"label {path(one)} {label}"] = base | {one: relabelled(pod, label)}
    agree(tmp_path, base, left, told)
    for name, report in told.items():
        assert ("redundant" in report) is (name.startswith("delete") and not report["changes"])


def new_policies(make: Maker, base: Documents) -> list[Object]:
    """Some that are new and some that take the place of others."""
    found = [make.admin(20), make.usual(21), make.usual(22)]
    old = [one for one in base if one[0] == "NetworkPolicy"]
    taken = make.choose(old)
    found[1]["metadata"] = {"namespace": taken[1], "name": taken[2]}
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_apply_each(seed: int, tmp_path: Path) -> None:
    make, base = made_cluster(seed)
    applied = by_key(new_policies(make, base))
    file = written(tmp_path, "base.yaml", list(base.values()))
    told = bulk(file, "--apply-each", written(tmp_path, "new.yaml", list(applied.values())))
    left = {f"apply {path(one)}": base | {one: policy} for one, policy in applied.items()}
    agree(tmp_path, base, left, told)


# --- several changes in a scenario ---------------------------------------------------------------


def scenario(make: Maker, base: Documents) -> tuple[list[Object], Documents]:
    """Some changes, and the documents that they leave."""
    changes: list[Object] = []
    left = dict(base)
    for kind in make.choose(
        (("NetworkPolicy",), ("AdminNetworkPolicy", "Pod"), POLICIES, ("Pod",))
    ):
        there = [one for one in left if one[0] == kind]
        if make.choose((True, False)) and there:
            gone = make.choose(there)
            changes.append({"delete": path(gone)})
            left = without(left, gone)
    if make.choose((True, False)):
        new = make.choose((make.admin, make.usual, make.pod))(30)
        changes.append({"apply": new})
        left = left | {key(new): new}
    pods = [one for one in left if one[0] == "Pod"]
    if pods and (not changes or make.choose((True, False))):
        one, app = make.choose(pods), make.choose(APPS)
        changes.append({"label": path(one), "set": {"app": app}, "remove": ["x"]})
        left = left | {one: relabelled(left[one], f"app={app}")}
    return changes or [{"delete": path(key(list(base.values())[-1]))}], left


@pytest.mark.parametrize("seed", SEEDS)
def test_scenarios_of_several_changes(seed: int, tmp_path: Path) -> None:
    make, base = made_cluster(seed)
    scenarios, left = [], {}
    for number in range(4):
        changes, left[f"s{number}"] = scenario(make, base)
        scenarios.append({"name": f"s{number}", "changes": changes})
    (tmp_path / "scenarios.json").write_text(json.dumps(scenarios))
    file = written(tmp_path, "base.yaml", list(base.values()))
    told = bulk(file, "--scenarios", tmp_path / "scenarios.json")
    agree(tmp_path, base, left, told)


# --- one on top of the other ---------------------------------------------------------------------


def broken(opens: Sequence[Open], step: int) -> Open:
    """What a step closes although it is open before the first and after the last."""
    closed = less(opens[step], opens[step + 1])
    kept = {pair: ports & opens[0].get(pair, frozenset()) for pair, ports in closed.items()}
    found = {pair: ports & opens[-1].get(pair, frozenset()) for pair, ports in kept.items()}
    return {pair: ports for pair, ports in found.items() if ports}


def states(folder: Path, base: Documents, applied: Documents) -> Iterator[Documents]:
    yield base
    for one, policy in applied.items():
        base = base | {one: policy}
        yield base


@pytest.mark.parametrize("seed", SEEDS)
def test_rollout(seed: int, tmp_path: Path) -> None:
    make, base = made_cluster(seed)
    applied = by_key(new_policies(make, base))
    file = written(tmp_path, "base.yaml", list(base.values()))
    told = bulk(file, "--rollout", written(tmp_path, "new.yaml", list(applied.values())))
    assert list(told) == [f"apply {path(one)}" for one in applied]
    plains = [
        plain(written(tmp_path, "state.yaml", list(one.values())))
        for one in states(tmp_path, base, applied)
    ]
    connected = Connected(*plains)
    opens = [ported(connected.on(one)) for one in plains]
    for step, report in enumerate(told.values()):
        asked = Asked(plains[step], plains[step + 1])
        assert effects_told(report) == asked.effects()
        found = broken(opens, step)
        assert report.get("breaks", False) is bool(found)
        assert report.get("broken", 0) == sum(all("/" in end for end in pair) for pair in found)
