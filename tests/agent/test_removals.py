"""Files that are cut short, emptied or gone for a moment open nothing: what a change removes waits.

With real pods: a connection that policy denies stays denied, whatever is done to the files.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.lab import Lab, LabPod
from tests.agent.running import Agent, agent_on, eventually, why_not
from tests.clusters import documents

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PORT = 8080
OPTIONS = ("--mode", "*=enforce", "--adopt", "0")


@dataclass
class Shop:
    """``a`` may not reach ``b``: all of shop is isolated."""

    agent: Agent
    a: LabPod
    b: LabPod
    folder: Path

    @property
    def pods(self) -> Path:
        return self.folder / "pods.yaml"

    @property
    def policies(self) -> Path:
        return self.folder / "policies.yaml"

    def write(self) -> None:
        """The files as they should be, each in one step."""
        self.folder.mkdir(exist_ok=True)
        policies = [deny("deny"), deny("more")]
        for path, text in (
            (self.pods, documents.text(documents.of_lab([self.a, self.b]))),
            (self.policies, documents.text(policies)),
            (self.folder / "list.yaml", listed([deny("one"), deny("two")])),
        ):
            new = path.with_suffix(".new")
            new.write_text(text)
            os.replace(new, path)

    def denied(self) -> bool:
        return not self.a.reaches(self.b.ipv4 or "", PORT, timeout=0.2)

    def alarms(self) -> dict[str, str]:
        return {one["alarm"]: one["text"] for one in self.agent.status()["alarms"]}


def deny(name: str) -> documents.Object:
    return documents.policy("shop", name, policyTypes=["Ingress"])


def listed(objects: list[documents.Object]) -> str:
    """A list as ``kubectl get -o yaml`` writes it: every item begins a line."""
    items = "".join(f"- {json.dumps(one)}\n" for one in objects)
    return f"apiVersion: v1\nkind: List\nitems:\n{items}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab.add_pod("shop", "a", ipv4="10.1.0.2")
        lab.add_pod("shop", "b", ipv4="10.1.0.3").serve(PORT)
        yield lab


@pytest.fixture
def shop(lab: Lab, tmp_path: Path) -> Iterator[Shop]:
    with agent_on(lab, tmp_path) as agent:
        a, b = lab.pods
        found = Shop(agent, a, b, agent.folder / "src")
        found.write()
        agent.source.symlink_to("src")
        yield found


def start(shop: Shop, *options: str) -> None:
    shop.agent.start(*OPTIONS, *options)
    shop.agent.wait_until_in_force()
    shop.agent.wait_until_bound(shop.a, shop.b)
    assert shop.denied()


def empty(*paths: Path) -> None:
    """As a shell does it for ``>``."""
    for path in paths:
        path.open("w").close()


def delete(*paths: Path) -> None:
    for path in paths:
        path.unlink()


WAYS: dict[str, Callable[[Shop], object]] = {
    "policies emptied": lambda shop: empty(shop.policies, shop.folder / "list.yaml"),
    "pods emptied": lambda shop: empty(shop.pods),
    "everything emptied": lambda shop: empty(*shop.folder.iterdir()),
    "policies removed": lambda shop: delete(shop.policies, shop.folder / "list.yaml"),
    "everything removed": lambda shop: delete(*shop.folder.iterdir()),
    "one file emptied": lambda shop: empty(shop.policies),
    "an empty document": lambda shop: shop.policies.write_text("---\n"),
    "an empty list": lambda shop: [
        path.write_text(listed([])) for path in shop.folder.iterdir() if path != shop.pods
    ],
    "folder moved away": lambda shop: shop.folder.rename(shop.folder.with_name("away")),
}


def test_nothing_that_is_done_to_the_files_opens_a_pod(shop: Shop) -> None:
    # Nothing else isolates: each of these alone lets through what is denied.
    start(shop)
    for way, change in WAYS.items():
        change(shop)
        if way != "one file emptied":
            alarms = eventually(shop.alarms, way)
            assert alarms.keys() <= {"removals", "source"}, way
        time.sleep(0.5)
        assert shop.denied(), way
        in_force = shop.agent.status()["policies"], shop.agent.status()["pods_in_cluster"]
        assert in_force == (4, 2), way
        away = shop.folder.with_name("away")
        if away.exists():
            away.rename(shop.folder)
        shop.write()
        eventually(lambda: not shop.alarms(), f"alarms after: {way}")
        eventually(lambda: shop.agent.status()["pods_in_cluster"] == 2, way)
    shop.agent.stop()


def test_a_list_that_ends_at_an_item_waits(shop: Shop) -> None:
    """It is whole YAML, and lacks what isolates."""
    none = documents.policy("shop", "zz", "none", policyTypes=["Ingress"])
    shop.policies.unlink()
    path = shop.folder / "list.yaml"
    path.write_text(listed([none, deny("deny"), deny("more")]))
    start(shop)
    path.write_text(listed([none]))
    assert "2 of 3 policies" in eventually(shop.alarms)["removals"]
    time.sleep(0.5)
    assert shop.denied()
    shop.agent.stop()


def test_what_stands_for_long_enough_comes_into_force(shop: Shop) -> None:
    start(shop, "--confirm-after", "2")
    delete(shop.policies, shop.folder / "list.yaml")
    assert "kubeverdict-agent confirm" in eventually(shop.alarms)["removals"]
    assert shop.denied()
    began = time.monotonic()
    eventually(lambda: not shop.alarms())
    assert time.monotonic() - began > 1.0
    assert not shop.denied() and shop.agent.status()["policies"] == 0
    shop.agent.stop()


def test_what_is_confirmed_comes_into_force_at_once(shop: Shop) -> None:
    start(shop, "--confirm-after", "600")
    assert "nothing waits" in shop.agent.command("confirm")
    delete(shop.policies, shop.folder / "list.yaml")
    eventually(shop.alarms)
    assert shop.denied()
    assert "4 of 4 policies" in shop.agent.command("confirm")
    assert not shop.denied() and not shop.alarms()
    # A change that removes little needs no word.
    shop.write()
    eventually(lambda: shop.agent.status()["policies"] == 4)
    shop.policies.write_text(documents.text(deny("deny")))
    eventually(lambda: shop.agent.status()["policies"] == 3)
    shop.agent.stop()


def test_the_next_agent_waits_as_well(shop: Shop) -> None:
    """Its tables are those of the agent before, and the files may be cut when it starts."""
    start(shop)
    shop.agent.kill()
    empty(shop.policies, shop.folder / "list.yaml")
    shop.agent.start(*OPTIONS)
    shop.agent.wait_until_answering()
    assert "4 of 4 policies" in eventually(shop.alarms)["removals"]
    assert shop.denied()
    shop.write()
    eventually(lambda: not shop.alarms())
    assert shop.denied()
    shop.agent.stop()


def test_a_file_that_is_being_written_is_not_taken(shop: Shop) -> None:
    """As long as somebody has it open for writing, whatever it holds meanwhile."""
    start(shop, "--confirm-after", "0")
    text = shop.policies.read_text()
    (shop.folder / "list.yaml").unlink()
    eventually(lambda: shop.agent.status()["policies"] == 2)
    with shop.policies.open("w") as file:
        time.sleep(1.0)
        assert shop.denied()
        file.write(documents.text(documents.policy("shop", "x", "none", policyTypes=["Ingress"])))
        file.flush()
        time.sleep(0.5)
        assert shop.denied()
        assert "is being written" in eventually(shop.alarms)["source"]
        file.seek(0)
        file.truncate()
        file.write(text)
    eventually(lambda: not shop.alarms())
    assert shop.denied() and shop.agent.status()["policies"] == 2
    shop.agent.stop()


def test_a_change_that_keeps_size_and_time_is_seen(shop: Shop) -> None:
    """As by ``rsync --inplace --times``, or ``cp --preserve``."""
    start(shop, "--confirm-after", "0")
    for path in (shop.policies, shop.folder / "list.yaml"):
        before = path.stat()
        with path.open("r+") as file:
            file.write(path.read_text().replace('"shop"', '"shoq"'))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
    eventually(lambda: not shop.denied())
    shop.agent.stop()


def test_modes_that_are_emptied_wait_too(shop: Shop) -> None:
    modes = shop.agent.folder / "modes"
    modes.write_text("*=enforce\n")
    shop.agent.start("--adopt", "0", "--modes", str(modes))
    shop.agent.wait_until_in_force()
    shop.agent.wait_until_bound(shop.a, shop.b)
    assert shop.denied()
    for change in (empty, delete):
        change(modes)
        assert "1 of 1 mode settings" in eventually(shop.alarms)["removals"]
        assert shop.denied() and shop.agent.status()["modes"] == ["*=enforce"]
        modes.write_text("*=enforce\n")
        eventually(lambda: not shop.alarms())
    delete(modes)
    eventually(shop.alarms)
    assert "mode settings" in shop.agent.command("confirm")
    assert not shop.denied() and shop.agent.status()["modes"] == []
    shop.agent.stop()


def test_a_large_file_that_is_cut_while_it_is_read_ends_nothing(shop: Shop) -> None:
    """A mapped file that another process shortens would end this one."""
    labels = {"app": "x" * 60, **{f"k{n}": "v" * 60 for n in range(12)}}
    many = [
        documents.pod("big", f"p{n}", f"10.{2 + n // 65536}.{n // 256 % 256}.{n % 256}",
                      labels=labels, node="other")
        for n in range(1, 18_000)
    ]  # fmt: skip
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": many})
    assert len(text) > 16 << 20
    big = shop.folder / "big.json"
    big.write_text(text)
    start(shop)
    for turn in range(6):
        big.write_text(text)
        time.sleep(0.06 + 0.04 * turn)  # the agent has begun to read
        with big.open("w") as file:
            time.sleep(0.2)
            file.write(text)
        time.sleep(1.0)
        assert shop.agent.process is not None and shop.agent.process.poll() is None
        assert shop.denied()
    eventually(lambda: not shop.alarms())
    assert shop.agent.status()["pods_in_cluster"] == 18_001
    shop.agent.stop()
