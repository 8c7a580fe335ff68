"""A draft is judged in stages, and a newer one overtakes it."""

from __future__ import annotations

import json
from typing import Any

from websockets.sync.client import ClientConnection

from tests.cli.running import SHOP, SHOP_CHANGE, run_here
from tests.server.serving import Served

KEY = "NetworkPolicy/data/orders-db"
CHANGE = (SHOP_CHANGE / "orders-db.yaml").read_text()
STAGES = ("read", "selected", "changed")


def type_(opened: ClientConnection, number: int, *entries: dict[str, Any]) -> None:
    opened.send(json.dumps({"id": number, "draft": entries}))


def stages(opened: ClientConnection) -> list[Any]:
    """The answers to one draft, to the last."""
    found = [json.loads(opened.recv(timeout=30))]
    while found[-1]["stage"] != "changed" and found[-1].get("valid", True):
        found.append(json.loads(opened.recv(timeout=30)))
    return found


def places(spans: list[list[int]]) -> set[int]:
    return {place for first, last in spans for place in range(first, last + 1)}


def test_a_draft_opens_and_closes_what_whatif_says(shop: Served) -> None:
    monitoring = "NetworkPolicy/data/allow-monitoring"
    text = (SHOP_CHANGE / "allow-monitoring.yaml").read_text()
    with shop.typing() as opened:
        type_(
            opened,
            7,
            {"name": KEY, "replaces": KEY, "text": CHANGE},
            {"name": monitoring, "replaces": monitoring, "text": text},
        )
        read, selected, changed = stages(opened)
    assert [one["stage"] for one in (read, selected, changed)] == [*STAGES]
    assert {one["id"] for one in (read, selected, changed)} == {7}
    assert read["valid"] and not read["problems"]
    (ours,) = (one for one in selected["policies"] if one["name"] == "data/orders-db")
    assert (ours["pods"], [rule["pods"] for rule in ours["rules"]]) == (2, [12])
    assert ours["file"] == KEY and CHANGE.splitlines()[ours["rules"][0]["line"] - 1].endswith(
        "from:"
    )

    told = json.loads(run_here("whatif", "-f", SHOP, "--apply", SHOP_CHANGE, "-o", "json").out)
    names = [one[0] for one in shop.ask("/api/overview").json["workloads"]]
    for side, opens in (("opened", True), ("closed", False)):
        expected = {(one["source"], one["destination"]) for one in told[side]}
        cells = {
            (names[source], names[destination])
            for opening, sources, destinations in changed["cells"]
            if opening is opens
            for source in places(sources)
            for destination in places(destinations)
        }
        assert cells == expected
        total = max(one[side] for one in changed["totals"])
        assert total == max(one[side] for one in told["pod_pairs"])
    (first, *_) = (one for one in changed["changes"] if one["opens"])
    assert first["after"]["ingress"]["rule"]["policy"] == "data/orders-db"
    assert first["after"]["ingress"]["rule"]["file"] == KEY


def test_what_is_wrong_is_told_with_its_line(shop: Served) -> None:
    text = CHANGE.replace("podSelector:\n    matchLabels", "podSelector:\n    matchLabel", 1)
    with shop.typing() as opened:
        type_(opened, 1, {"name": "n", "replaces": KEY, "text": CHANGE.replace("TCP", "TPC")})
        (read,) = stages(opened)
        assert not read["valid"]
        (problem,) = read["problems"]
        assert problem["entry"] == "n" and problem["severity"] == "error"
        assert "TCP" in CHANGE.splitlines()[problem["line"] - 1]
        type_(opened, 2, {"name": "n", "replaces": KEY, "text": text})
        read = stages(opened)[0]
        assert read["valid"] and "matchLabels" in read["problems"][0]["message"]


def test_a_policy_that_is_renamed_takes_the_place_of_the_old_one(shop: Served) -> None:
    text = shop.ask(f"/api/policy?key={KEY}").json["text"]
    with shop.typing() as opened:
        renamed = text.replace("name: orders-db", "name: renamed")
        type_(opened, 1, {"name": KEY, "replaces": KEY, "text": renamed})
        changed = stages(opened)[-1]
        assert changed["number"] == 0
        type_(opened, 2, {"name": KEY, "replaces": KEY, "text": None})
        changed = stages(opened)[-1]
        assert changed["number"] > 0 and not any(one["opens"] for one in changed["changes"])


def test_the_newest_draft_wins(shop: Served) -> None:
    with shop.typing() as opened:
        for number in range(50):
            text = CHANGE + f"# {number}\n"
            type_(opened, number, {"name": KEY, "replaces": KEY, "text": text})
        seen: list[Any] = []
        while not seen or (seen[-1]["id"], seen[-1]["stage"]) != (49, "changed"):
            seen.append(json.loads(opened.recv(timeout=30)))
    numbers = [one["id"] for one in seen]
    assert numbers == sorted(numbers)
    assert [one["stage"] for one in seen if one["id"] == 49] == [*STAGES]
    assert len(seen) < 50 * len(STAGES)


def test_nothing_is_kept_of_drafts(shop: Served) -> None:
    asked = {"source": "shop/checkout", "destination": "data/orders-db", "port": "5432"}
    before = shop.ask("/api/explain", asked).json
    with shop.typing() as opened:
        type_(opened, 1, {"name": KEY, "replaces": KEY, "text": CHANGE})
        stages(opened)
    assert shop.ask("/api/explain", asked).json == before
