"""The page in a real browser, on a large cluster: from a key to what it does, painted."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest
from playwright.sync_api import Page, sync_playwright

import kubeverdict
from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.workloads import dump_file

ROOT = Path(__file__).parents[1]
BUNDLE = Path(kubeverdict.__file__).parent / "server" / "page" / "dist"
CHROMIUM = "/usr/bin/chromium"
KEYS = 30
# An ordinary namespace and the largest.
ORDINARY, LARGE = "ns-00727", "ns-00320"
EDITS = {
    "an ordinary namespace, its own pods": (ORDINARY, "ingress: [{from: [{podSelector: {}}]}]"),
    "an ordinary namespace, every pod": (ORDINARY, "ingress: [{from: [{namespaceSelector: {}}]}]"),
    "the largest namespace, its own pods": (LARGE, "ingress: [{from: [{podSelector: {}}]}]"),
    "the largest namespace, every pod": (LARGE, "ingress: [{from: [{namespaceSelector: {}}]}]"),
    "the largest namespace, denied both ways": (LARGE, "policyTypes: [Ingress, Egress]"),
}
POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: edited, namespace: {}}}
spec:
  podSelector: {{}}
  {}
# """
# Types one key, and tells how long it took until the effect of it was painted.
KEY = """
() => new Promise((done) => {
  const shown = () => document.querySelector("[data-answer]")?.dataset.answer;
  const before = shown();
  const begun = performance.now();
  document.execCommand("insertText", false, "x");
  const look = () => {
    if (shown() === before) return requestAnimationFrame(look);
    // What a frame changed is on the screen when the next one begins.
    requestAnimationFrame(() => done(performance.now() - begun));
  };
  requestAnimationFrame(look);
})
"""


Server = tuple[subprocess.Popen[str], str]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    dump = dump_file(ROOT / "build" / "workloads", "mixed", 50_000, 5_000, compact=True)
    command = [sys.executable, "-m", "kubeverdict", "serve", "-f", str(dump)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = browser.new_page(viewport={"width": 1280, "height": 800})
        found.set_default_timeout(120_000)
        yield found
        browser.close()


def bench_first_paint(server: Server, page: Page, measure: Measure, record: Record) -> None:
    _, address = server
    page.goto(address)  # the cookie, for the address without its token

    def load() -> None:
        page.goto("about:blank")
        page.goto(address.partition("#")[0])
        page.locator("canvas[data-ready=yes]").wait_for()

    _, typical = measure(load, rounds=5)
    record(Figure("the map of mixed 50k/5k, until it is painted", typical, "s", 1.5))
    heap = page.evaluate("performance.memory.usedJSHeapSize")
    record(Figure("memory of the tab's scripts", heap / 2**20, "MB", 400))
    size = sum(len(gzip.compress(path.read_bytes())) for path in BUNDLE.iterdir())
    record(Figure("the page, compressed", size / 1024, "kB", 350))


@pytest.mark.parametrize("name", EDITS)
def bench_key(server: Server, page: Page, measure: Measure, record: Record, name: str) -> None:
    process, _ = server
    page.get_by_label("New policy from a template").select_option("Deny all ingress")
    page.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    namespace, rules = EDITS[name]
    page.keyboard.insert_text(POLICY.format(namespace, rules))
    page.locator("[data-answer][aria-busy=false]").wait_for()
    page.keyboard.press("Control+End")
    times: list[float] = []
    measure(lambda: times.append(page.evaluate(KEY)), rounds=KEYS, warmup=3)
    page.get_by_role("button", name="Discard").click()
    times = times[3:]
    record(Figure(f"a key until its effect is painted: {name}", median(times), "ms"))
    record(Figure("… 95 of 100", quantiles(times, n=20)[18], "ms", 50))
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0])
    record(Figure("… memory of the server then", resident / 1024, "MB", 600))
