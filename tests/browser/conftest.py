"""The browser of all tests of pages."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["WINIPC_CHROMIUM"],
            # Chromium as root has no sandbox; it loads nothing but our own pages.
            chromium_sandbox=os.geteuid() != 0,
        )
        yield browser
        browser.close()
