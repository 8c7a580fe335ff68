"""Servers and browsers that several tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.cli.running import EXAMPLES, SHOP
from tests.server.serving import Served, served

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def shop() -> Iterator[Served]:
    """The shop of the documentation, with its assertions."""
    with served("-f", SHOP, "--assertions", EXAMPLES / "shop-assertions.yaml") as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. `./run test` installs it where it is run by root."""
    if not Path(CHROMIUM).exists() and os.geteuid() != 0:
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield found
        found.close()
