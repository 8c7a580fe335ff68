"""The page in a real browser: the story that it is there for, and what must never happen on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.running import SHOP_CHANGE, run_here
from tests.server.serving import Served, served

WAIT = 20_000  # milliseconds, on a machine that has other things to do
expect.set_options(timeout=WAIT)

CHANGE = (SHOP_CHANGE / "orders-db.yaml").read_text()
PEER = "podSelector:\n            matchLabels:\n              app: checkout"
NARROW = CHANGE.replace(f"        - {PEER}", f"          {PEER}")


# A browser that replaces several lines of an editor at once writes styles on them, which the policy
# of the page forbids; nothing depends on it. Any other violation is kept.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  if (!event.target.closest?.(".cm-content")) window.violations.push(event.violatedDirective);
});
"""
BY_THE_BROWSER = "Applying inline style violates"


def opened(browser: Browser, server: Served, *tolerated: str) -> Iterator[Page]:
    """The page at its address, and a check that nothing went wrong and nothing left the machine.
    Errors on the console that hold one of ``tolerated`` are expected."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.add_init_script(WATCH)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(WAIT)
    page.goto(server.address)
    page.locator("canvas[data-ready=yes]").wait_for()
    yield page
    assert page.evaluate("window.violations") == []
    context.close()
    expected = (BY_THE_BROWSER, *tolerated)
    assert [text for text in wrong if not any(one in text for one in expected)] == []
    foreign = [url for url in asked if not url.startswith((server.origin, "blob:", "data:"))]
    assert foreign == []


@pytest.fixture
def page(browser: Browser, shop: Served) -> Iterator[Page]:
    yield from opened(browser, shop)


def type_over(page: Page, text: str) -> None:
    """Replace what is in the editor, at once: it would indent what is typed line by line."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def ask_why(page: Page, source: str, destination: str, port: str) -> None:
    form = page.get_by_role("region", name="Why", exact=True)
    form.get_by_label("From").fill(source)
    form.get_by_label("To").fill(destination)
    form.get_by_label("Port").fill(port)
    form.get_by_role("button", name="Why?").click()


def test_find_repair_narrow_and_take_away(page: Page, tmp_path: Path) -> None:
    # Why does the checkout not reach its database? A letter is missing.
    ask_why(page, "deployment/shop/checkout", "svc/data/orders-db", "5432/TCP")
    answer = page.get_by_test_id("answer").first
    expect(answer).to_contain_text("denied")
    expect(answer).to_contain_text('did you mean "checkout"? 1 letter off')
    # The rule is a link to its line in the editor.
    answer.get_by_role("button", name="data/orders-db spec.ingress[0]").click()
    expect(page.locator(".cm-activeLine")).to_have_text(re.compile("- from:"))
    expect(page.locator(".selects").first).to_have_text("selects 2 pods")

    # The proposed repair opens too much, which the list, the map and the assertions say.
    type_over(page, CHANGE)
    total = page.get_by_test_id("sum")
    expect(total).to_contain_text("opens ports between 16 pod pairs")
    effect = page.get_by_test_id("effect")
    expect(effect).to_contain_text("shop/cart, catalog, checkout, payments → data/orders-db")
    expect(page.locator(".selects", has_text="from 12 pods")).to_be_visible()
    expect(answer).to_contain_text("allowed")

    # Narrowed to the checkout, and taken away.
    type_over(page, NARROW)
    expect(total).to_contain_text("opens ports between 4 pod pairs")
    expect(effect).to_contain_text("shop/checkout → data/orders-db")
    page.get_by_role("tab", name="Take away").click()
    expect(page.get_by_test_id("patch")).to_contain_text("+              app: checkout")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download YAML").click()
    taken = tmp_path / "draft.yaml"
    download.value.save_as(taken)
    assert taken.read_text() == NARROW
    page.get_by_role("button", name="Copy diff").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("--- a/") and "app: chekout" in copied

    # Undone step by step, nothing is edited any more.
    page.locator(".cm-content").click()
    page.keyboard.press("Control+Z")
    page.keyboard.press("Control+Z")
    expect(page.get_by_text("Nothing is edited, so there is nothing to take.")).to_be_visible()


def test_the_token_leaves_the_address(page: Page) -> None:
    assert "token" not in page.url
    page.reload()
    page.get_by_test_id("map").wait_for()


def test_what_is_wrong_stands_at_its_line(page: Page) -> None:
    page.get_by_label("Open a policy").fill("NetworkPolicy/data/orders-db")
    type_over(page, CHANGE.replace("TCP", "TPC"))
    expect(page.locator(".cm-lintRange-error")).to_have_text(re.compile("TPC"))
    expect(page.get_by_test_id("effect")).to_contain_text("1 error")
    type_over(page, CHANGE.replace("app: checkout", "app: nobody"))
    expect(page.locator(".cm-lintRange-error")).to_have_count(0)


def test_a_new_policy_from_a_template_and_one_taken_away(page: Page) -> None:
    page.get_by_label("New policy from a template").select_option("Default deny, with DNS")
    expect(page.locator(".cm-content")).to_contain_text("name: default-deny")
    text = page.evaluate("document.querySelector('.cm-content').innerText")
    assert "namespace: data" in text
    expect(page.get_by_test_id("effect")).to_be_visible()
    page.get_by_role("button", name="Discard").click()
    page.get_by_label("Open a policy").fill("NetworkPolicy/data/orders-db")
    page.get_by_role("button", name="Take away").click()
    expect(page.get_by_test_id("effect")).to_contain_text("Closed")
    page.get_by_role("tab", name="Assertions").click()
    expect(page.get_by_test_id("assertions")).to_contain_text("holds")
    page.get_by_role("button", name="As it was").click()
    page.get_by_role("tab", name="Effect").click()
    expect(page.get_by_text("Nothing is edited.")).to_be_visible()


def test_the_map_by_keyboard_alone(page: Page) -> None:
    canvas = page.get_by_test_id("map")
    canvas.focus()
    status = page.get_by_role("status")
    page.keyboard.press("ArrowDown")
    expect(status).to_contain_text("data/orders-backup[CronJob] → data/cart-cache[StatefulSet]")
    expect(status).to_contain_text("denied")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(status).to_contain_text("→ data/orders-db[StatefulSet]: allowed by rule")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("answer").first).to_contain_text("TCP 5432")
    page.keyboard.press("+")
    page.keyboard.press("0")
    # From the map on, Tab reaches the question and its answer.
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert "Why?" in reached and any("spec.ingress[0]" in text for text in reached)


def test_pointing_and_clicking_on_the_map(page: Page) -> None:
    canvas = page.get_by_test_id("map")
    box = canvas.bounding_box()
    assert box is not None
    # The cell in the row of the prometheus and the column of the orders-db: the map shows all.
    size = min((box["width"] - 152) / 13, (box["height"] - 106) / 13, 40)
    at = {"x": 150 + 2.5 * size, "y": 104 + 6.5 * size}
    canvas.hover(position=at)  # type: ignore[arg-type]
    tip = page.locator(".tip")
    expect(tip).to_contain_text("platform/prometheus[StatefulSet] → data/orders-db[StatefulSet]")
    expect(tip).to_contain_text("TCP 9187")
    canvas.click(position=at)  # type: ignore[arg-type]
    expect(page.get_by_test_id("answer").first).to_be_visible()


def test_the_neighbours_of_a_workload_with_the_draft(page: Page, tmp_path: Path) -> None:
    page.get_by_label("Open a policy").fill("NetworkPolicy/data/orders-db")
    type_over(page, CHANGE)
    page.get_by_role("tab", name="Neighbours").click()
    page.get_by_label("Workload", exact=True).fill("statefulset/data/orders-db")
    drawn = page.get_by_test_id("neighbours")
    expect(drawn).to_contain_text("reached by 6 neighbours")
    expect(drawn).to_contain_text("reaches 1 neighbour")
    for name in ("cart", "catalog", "checkout", "payments"):
        expect(drawn).to_contain_text(f"+ shop/{name}[Deployment]")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save SVG").click()
    saved = tmp_path / "saved.svg"
    download.value.save_as(saved)
    root = ElementTree.parse(saved).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "shop/checkout[Deployment]" in "".join(root.itertext())
    drawn.get_by_text("shop/cart[Deployment]").click()
    expect(page.get_by_test_id("answer").first).to_contain_text("allowed")


def test_a_link_holds_the_draft(page: Page, browser: Browser, shop: Served) -> None:
    page.get_by_label("Open a policy").fill("NetworkPolicy/data/orders-db")
    type_over(page, CHANGE)
    page.get_by_role("tab", name="Take away").click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("status")).to_contain_text("Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{shop.origin}/#draft=")
    other = browser.new_context().new_page()
    other.goto(f"{shop.address}&{link.partition('#')[2]}")
    expect(other.get_by_test_id("sum")).to_contain_text("opens ports between 16 pod pairs")
    other.context.close()


EVIL = "<img src=x onerror=window.evil=1>"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A cluster whose author puts markup wherever a text can be: what the API server would not
    take comes in a dump of something else."""
    folder = tmp_path_factory.mktemp("evil")
    quoted = f"'{EVIL}'"
    (folder / f"{EVIL}.yaml").write_text(
        f"""kind: Pod
apiVersion: v1
metadata: {{name: a, namespace: shop, labels: {{app: a}}, ownerReferences: [{{kind: {quoted},
  apiVersion: x/v1, name: {quoted}, controller: true, uid: u}}]}}
spec: {{containers: [{{name: c, ports: [{{containerPort: 80}}]}}]}}
status: {{podIP: 10.0.0.1, phase: Running}}
---
kind: Pod
apiVersion: v1
metadata: {{name: b, namespace: data, labels: {{app: b}}, annotations: {{note: {quoted}}}}}
spec: {{containers: [{{name: c, ports: [{{containerPort: 80}}]}}]}}
status: {{podIP: 10.0.0.2, phase: Running}}
---
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {{name: in, namespace: data, annotations: {{note: {quoted}}}}}
spec:
  podSelector: {{}}
  ingress: [{{from: [{{podSelector: {{matchLabels: {{app: c}}}}}}]}}]
"""
    )
    with served("-f", folder) as found:
        yield found


def test_names_are_text_wherever_they_are_shown(browser: Browser, evil: Served) -> None:
    overview = evil.ask("/api/overview").json
    assert EVIL in overview["workloads"][-1][0] + overview["policies"][0]["file"]
    for page in opened(browser, evil, "400 (Bad Request)"):
        canvas = page.get_by_test_id("map")
        canvas.focus()
        for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft", "Enter"):
            page.keyboard.press(key)
        page.get_by_label("Open a policy").fill("NetworkPolicy/data/in")
        expect(page.locator(".where")).to_contain_text(EVIL)
        ask_why(page, EVIL, "data/b", "80")
        expect(page.get_by_role("region", name="Explanation")).to_contain_text(EVIL)
        type_over(page, f"kind: '{EVIL}'\n")
        expect(page.get_by_test_id("effect")).to_contain_text(EVIL)
        for tab in ("Lint", "Take away", "Assertions", "Neighbours", "Effect"):
            page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        assert page.evaluate("window.evil") is None
        assert page.locator("img").count() == 0


def test_without_the_token_it_says_what_to_do(browser: Browser, shop: Served) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(shop.origin)
    expect(page.get_by_role("alert")).to_contain_text("open the address that the server printed")
    context.close()


def test_the_narrow_change_is_what_whatif_would_say(tmp_path: Path) -> None:
    (tmp_path / "narrow.yaml").write_text(NARROW)
    done = run_here("whatif", "-f", SHOP_CHANGE.parent / "shop", "--apply", tmp_path)
    assert "opens ports between 4 pod pairs" in done.out
