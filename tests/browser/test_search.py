"""The search of the site, as a reader uses it: Sphinx's own script in Chromium."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

ROOT = Path(__file__).parents[2]


def searched() -> dict[str, list[str]]:
    """SEARCHED of docs/conf.py, which imports winipc and so cannot be imported."""
    for node in ast.parse((ROOT / "docs" / "conf.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets) == "SEARCHED":
            return eval(ast.unparse(node.value))
    raise AssertionError("docs/conf.py has no SEARCHED")


@pytest.fixture(scope="module")
def page(browser: Browser) -> Page:
    subprocess.run([ROOT / "dev", "docs"], check=True)
    return browser.new_page()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(words, page) for page, several in searched().items() for words in several],
)
def test_words_lead_to_their_page(page: Page, words: str, wanted: str) -> None:
    """The page is the first or the second result."""
    site = ROOT / "build" / "docs"
    page.goto(f"{(site / 'search.html').as_uri()}?q={quote(words)}")
    expect(page.locator("#search-results h2")).to_have_text("Search Results")
    links = page.locator("#search-results li > a").evaluate_all(
        "links => links.slice(0, 2).map(link => link.getAttribute('href'))"
    )
    assert f"{wanted}.html" in [
        link.partition("?")[0].partition("#")[0] for link in links
    ]
