"""The verb ``watch`` on a real API server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from tests.kubernetes.api import Api
from tests.kubernetes.loading import load
from tests.live.test_following import PODS, POLICIES, SPACE, pod, policy

pytestmark = pytest.mark.programs

SECONDS = 60.0
RULES = f"""
assertions:
  - name: others-stay-out
    deny: {{from: {{namespace: {SPACE}, podSelector: {{matchLabels: {{app: other}}}}}}, to: web}}
    ports: [80/TCP]
zones:
  web: {{namespace: {SPACE}, podSelector: {{matchLabels: {{app: web}}}}}}
"""


class Watch:
    """The verb in a process of its own, and the lines that it prints."""

    def __init__(self, server: Api, *arguments: str) -> None:
        command = [sys.executable, "-m", "kubeverdict", "watch", "--live"]
        command += ["--kubeconfig", str(server.kubeconfig), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def next(self, wanted: Callable[[str], bool]) -> str:
        """The next line that is wanted."""
        deadline = time.monotonic() + SECONDS
        passed = []
        while time.monotonic() < deadline:
            try:
                line = self._lines.get(timeout=1.0)
            except Empty:
                assert self.process.poll() is None, self.process.stderr
                continue
            if wanted(line):
                return line
            passed.append(line)
        raise AssertionError(passed)

    def event(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.next(lambda line: json.loads(line)["event"] == kind)
        )
        return found

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        status = self.process.wait(SECONDS)
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return status


@pytest.fixture
def server(api_server: Api) -> Iterator[Api]:
    pods = [pod(name, f"10.9.1.{at}") for at, name in enumerate(("web", "client", "other"), 1)]
    assert load(api_server, [*pods, policy("web", "web", "client")]) == []
    yield api_server
    for where in (PODS, POLICIES):
        api_server.delete(f"{where}?gracePeriodSeconds=0")


def test_what_each_event_opens_and_closes(server: Api, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    watch = Watch(server, "-o", "jsonl", "--assertions", str(rules))
    assert watch.event("started")["pods"] >= 3
    assert watch.event("assertion")["status"] == "holds"
    server.apply(f"{POLICIES}/web", policy("web", "web", "other"))
    change = watch.event("change")
    while not any(one["namespace"] == SPACE for one in change["causes"]):
        change = watch.event("change")  # of other tests on the same server
    [cause] = change["causes"]
    assert (cause["what"], cause["name"], cause["manager"]) == ("changed", "web", "kubeverdict")
    [opened], [closed] = change["opened"], change["closed"]
    assert (opened["source"], opened["destination"]) == (
        *(f"{SPACE}/other[Pod]", f"{SPACE}/web[Pod]"),
    )
    assert closed["source"] == f"{SPACE}/client[Pod]"
    rule = opened["after"]["ingress"]["rule"]
    assert cause["resource_version"] in rule["file"] and not change["compiled_anew"]
    broken = watch.event("assertion")
    assert (broken["status"], broken["before"]) == ("violated", "holds")
    assert broken["causes"] == change["causes"] and broken["violations"]
    server.apply(f"{POLICIES}/web", policy("web", "web", "client"))
    assert watch.event("assertion")["status"] == "holds"
    assert watch.end() == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_order(server: Api, tmp_path: Path, how: signal.Signals) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    server.apply(f"{POLICIES}/web", policy("web", "web", "other"))
    watch = Watch(server, "--assertions", str(rules))
    watch.next(lambda line: "following the cluster of context" in line)
    watch.next(lambda line: "'others-stay-out': violated" in line)
    began = time.monotonic()
    assert watch.end(how) == 1  # an assertion does not hold
    assert time.monotonic() - began < 20
    watch.next(lambda line: "ended after" in line)


def test_no_files_can_be_watched(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kubeverdict", "watch", "-f", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "use --live in place of -f" in done.stderr
