"""What is served is what its sources say."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

import kubeverdict
from tests.server.serving import Served

PAGE = Path(kubeverdict.__file__).parent / "server" / "page"
MOST_COMPRESSED = 350 << 10


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the packages that their lock names."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    copy = tmp_path_factory.mktemp("page") / "page"
    shutil.copytree(PAGE, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    subprocess.run(["npm", "ci"], cwd=copy, check=True, capture_output=True)
    return copy


@pytest.mark.long
def test_the_bundle_is_what_the_sources_make(installed: Path) -> None:
    subprocess.run(["npm", "run", "--silent", "check"], cwd=installed, check=True)
    subprocess.run(["npm", "run", "--silent", "build"], cwd=installed, check=True)
    built = {path.name: path.read_bytes() for path in (installed / "dist").iterdir()}
    served = {path.name: path.read_bytes() for path in (PAGE / "dist").iterdir()}
    assert built.keys() == served.keys()
    assert [name for name in built if built[name] != served[name]] == []


@pytest.mark.long
def test_the_page_is_accessible(installed: Path, browser: Browser, shop: Served) -> None:
    """By the rules of axe-core, light and dark, with an edit and its effects shown."""
    axe = (installed / "node_modules" / "axe-core" / "axe.min.js").read_text()
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        context = browser.new_context(
            color_scheme=scheme,
            bypass_csp=True,
            viewport={"width": 1280, "height": 800},
        )
        page = context.new_page()
        page.goto(shop.address)
        page.get_by_test_id("map").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.get_by_test_id("answer").first.wait_for()
        page.get_by_label("Open a policy").fill("NetworkPolicy/data/orders-db")
        page.get_by_role("button", name="Take away").click()
        page.get_by_test_id("sum").wait_for()
        page.get_by_role("button", name="As it was").click()
        page.locator(".cm-content").click()
        page.keyboard.press("Control+End")
        page.keyboard.insert_text("# a comment\n")
        page.evaluate(axe)
        for tab in ("Effect", "Assertions", "Lint", "Take away", "Neighbours"):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_timeout(500)
            found = page.evaluate("axe.run()")
            told = [
                (one["id"], [node["html"][:200] for node in one["nodes"]])
                for one in found["violations"]
            ]
            assert told == [], (scheme, tab)
        context.close()


def test_the_bundle_is_small() -> None:
    sizes = [len(gzip.compress(path.read_bytes())) for path in (PAGE / "dist").iterdir()]
    assert sum(sizes) < MOST_COMPRESSED


def test_the_lock_names_no_address() -> None:
    lock = json.loads((PAGE / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages
    for name, one in packages.items():
        assert "resolved" not in one and one["integrity"].startswith("sha512-"), name
    assert "http" not in "".join(path.read_text() for path in PAGE.glob(".npmrc"))
