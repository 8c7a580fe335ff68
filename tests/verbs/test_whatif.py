"""What whatif says of a change, against what the oracle says before and after it.

Through the command and its JSON: manifests in, manifests applied, objects deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol
from tests.cli.running import run_here
from tests.clusters.generated_documents import Object
from tests.counting import count_changes, count_pairs
from tests.oracle import Oracle, decides_to_allow
from tests.oracle_parts import End, Flow
from tests.verbs.changed import changed, plain, written
from tests.verbs.connected import Connected, Open, Port, decider, first_address
from tests.verbs.plain import Plain

SEEDS = range(120)


@pytest.fixture(params=SEEDS, scope="module")
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Plain, Plain, Object]:
    """The oracle before and after a change, and the report."""
    made = changed(request.param)
    folder = tmp_path_factory.mktemp("change")
    before = written(folder, "before.yaml", made.before)
    options: list[object] = [option for name in made.deleted for option in ("--delete", name)]
    if made.applied:
        options += ["--apply", written(folder, "applied.yaml", made.applied)]
    done = run_here("whatif", "-f", before, *options, "-o", "json")
    report: Object = json.loads(done.out)
    assert done.status == int(bool(report["opened"] or report["closed"]))
    return plain(before), plain(written(folder, "after.yaml", made.after)), report


def gained(more: Open, less: Open) -> Open:
    found = {pair: ports - less.get(pair, frozenset()) for pair, ports in more.items()}
    return {pair: ports for pair, ports in found.items() if ports}


def test_connections_that_open_and_close(case: tuple[Plain, Plain, Object]) -> None:
    before, after, report = case
    connected = Connected(before, after)
    old, new = connected.on(before), connected.on(after)
    assert connected.listed(report["opened"]) == gained(new, old)
    assert connected.listed(report["closed"]) == gained(old, new)


def test_pod_pairs_are_counted(case: tuple[Plain, Plain, Object]) -> None:
    before, after, report = case
    counts = count_changes(before.oracle, after.oracle, 4)
    for one in report["pod_pairs"]:
        if "IPv4" in one["families"]:
            assert (one["opened"], one["closed"]) == (counts.pairs_opened, counts.pairs_closed)
            pairs = [count_pairs(each.oracle, 4).pairs for each in (before, after)]
            assert [one["before"], one["after"]] == pairs
    for side, count in (("opened", counts.pairs_opened), ("closed", counts.pairs_closed)):
        assert sum(row["pod_pairs"] for row in report[side]) == count


# --- what decides ------------------------------------------------------------------------------


def ends(oracle: Oracle, row: Object) -> Iterator[End | None]:
    """The first of each end; None where it does not exist."""
    pods = {f"{pod}[Pod]": pod for pod in oracle.managed}
    for side in ("source", "destination"):
        if "[" in row[side]:
            yield oracle.end(pods[row[side]]) if row[side] in pods else None
        else:
            yield first_address(row[side])


def first_port(ports: Any) -> Port:
    if ports == "all":
        return Protocol.TCP, 1
    name, listed = next(iter(ports.items()))
    return Protocol[name], 0 if listed == "all" else int(listed.split(",")[0].split("-")[0])


def test_what_decides_before_and_after(case: tuple[Plain, Plain, Object]) -> None:
    before, after, report = case
    for side, allowed in (("opened", (False, True)), ("closed", (True, False))):
        for row in report[side]:
            protocol, port = first_port(row["ports"])
            for each, when, expected in zip(
                (before, after), ("before", "after"), allowed, strict=True
            ):
                source, destination = ends(each.oracle, row)
                if source is None or destination is None:
                    assert row[when] is None and not expected
                    continue
                flow = Flow(source, destination, protocol, port, 4)
                assert row[when]["allowed"] is expected
                for direction in Direction:
                    way, told = (
                        each.oracle._direction(direction, flow),
                        row[when][direction.word],
                    )
                    assert told["allowed"] is decides_to_allow(way.decided)
                    rule = told.get("rule")
                    named = (rule["kind"], rule["policy"], rule["field"]) if rule else None
                    assert named == decider(way), (row["source"], row["destination"], when)
                    isolating = {
                        (one["kind"], one["policy"]) for one in told.get("isolated_by", ())
                    }
                    assert isolating == {(one.kind, str(one)) for one in way.isolating}
