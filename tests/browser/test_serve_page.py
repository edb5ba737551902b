"""The page of `winipc serve` in Chromium, while programs under Wine change things.

Its JSON and streams are tested without a browser, by tests/cli/test_cli_serve.py.
"""

from __future__ import annotations

import functools
import http.server
import json
import re
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

ROOT = Path(__file__).parents[2]
IN_MS = 60_000
expect.set_options(timeout=IN_MS)

NAME = f"winipc-test-{uuid.uuid4().hex}"
INBOX = f"{NAME}.inbox"
HOSTILE = f"{NAME}<img src=x onerror=window.hacked=1>&amp;\"'"
#: Where record_writer.c puts its record: its number, again and again.
RECORD = 65536

#: Runs each line that comes, and says so.
WORLD = r"""
import os, subprocess, sys, winipc
def create(name):
    return winipc.SharedMapping.create(name, 65536 + 64)
def writer(*how):
    return subprocess.Popen(
        [os.path.join(os.environ["WINIPC_PEERS"], "record_writer.exe"), *how],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
print("ready", flush=True)
for line in sys.stdin:
    try:
        exec(line)
    except BaseException as error:
        print(repr(error), flush=True)
    else:
        print("done", flush=True)
"""


class World:
    """A program under Wine that does what it is told."""

    def __init__(self) -> None:
        self.process = _dev("-c", WORLD)
        self.expect("ready")

    def expect(self, text: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == text

    def do(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        self.expect("done")


def _dev(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ROOT / "dev", "python", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ended(process: subprocess.Popen[str]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def until(page: Page, condition: str) -> None:
    """Wait for it; Playwright's own wait makes a script of it, which may not run."""
    deadline = time.monotonic() + 5 * IN_MS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(100)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    _ended(world.process)


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, Any]]:
    """The address, the port and the token of the server."""
    arguments = [NAME, "--struct", "number:I again:I", "--listen", INBOX]
    server = _dev("-m", "winipc", "serve", *arguments, "--allow-write", "--json")
    assert server.stdout is not None
    yield json.loads(server.stdout.readline())
    _ended(server)


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def mapping(world: World) -> Iterator[None]:
    """What the server was told to show; `mapping` in the world."""
    world.do(f"mapping = create({NAME!r})")
    yield
    world.do("mapping.close()")


@pytest.fixture
def page(
    browser: Browser, served: dict[str, Any], mapping: None, complaints: list[str]
) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(served["url"])
    expect(page.locator("#state")).to_contain_text("live, winipc")
    yield page
    page.close()


def card(page: Page, name: str = NAME) -> Locator:
    return page.locator("#cards section").filter(has=page.get_by_text(name, exact=True))


def value(page: Page, field: str = "number") -> Locator:
    row = card(page).locator("tr").filter(has=page.get_by_text(field, exact=True))
    return row.locator("td").last


def at_record(page: Page) -> None:
    offset = card(page).get_by_label("from")
    offset.fill(str(RECORD))
    offset.press("Enter")


def test_values_change_as_a_c_program_writes(
    page: Page, world: World, complaints: list[str]
) -> None:
    world.do(f"peer = writer({NAME!r}, 'none', '64', '3')")
    at_record(page)
    expect(value(page)).to_have_text("3")
    for number in range(4, 12):
        world.do("peer.stdin.write('go on\\n'); peer.stdin.flush()")
        expect(value(page)).to_have_text(str(number))
        expect(card(page).locator("pre b.wi-new").first).to_be_visible()
    # The marks go when nothing changes.
    expect(card(page).locator("pre b.wi-new")).to_have_count(0)
    world.do("peer.stdin.close(); peer.wait()")
    assert "token" not in page.url
    assert page.url.endswith("/")
    page.reload()  # the tab has kept the token, and what was open
    expect(value(page)).to_have_text("11")
    assert complaints == []


def test_many_changes_do_not_make_it_grow(
    page: Page, world: World, served: dict[str, Any]
) -> None:
    """As fast as the page asks: nodes, listeners and heap of it, and the server's."""
    world.do(f"peer = writer({NAME!r}, 'none', '64', 'forever', '4000')")
    at_record(page)
    page.locator("#rate").select_option("60")
    card(page).locator(".body").evaluate(
        """body => { window.updates = 0;
            new MutationObserver(() => updates++).observe(body, {childList: true}) }"""
    )
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def look(updates: int) -> dict[str, float]:
        until(page, f"updates > {updates}")
        session.send("HeapProfiler.collectGarbage")
        metrics = session.send("Performance.getMetrics")["metrics"]
        found = {row["name"]: row["value"] for row in metrics}
        return found | {"server": committed(served)}

    before = look(200)
    after = look(1500)
    world.do("peer.kill(); peer.wait(); peer.stdin.close()")
    # What is kept in hand varies, by less than one node for each of 1300 updates.
    assert after["Nodes"] <= before["Nodes"] + 1000
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 100
    assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] + 1_000_000
    assert after["server"] <= before["server"] + 4_000_000


def committed(served: dict[str, Any]) -> int:
    """The private memory of the server, in bytes."""

    def ask(what: str) -> Any:
        url = f"http://127.0.0.1:{served['port']}/api/{what}"
        header = {"Authorization": f"Bearer {served['token']}"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=header)) as got:
            return json.load(got)

    (pid,) = {row["pid"] for row in ask("windows") if row["title"] == INBOX}
    regions = ask(f"process?pid={pid}")["regions"]
    return sum(row["committed"] for row in regions if row["type"] == "private")


def test_a_mapping_that_goes_and_comes_back(page: Page, world: World) -> None:
    world.do("mapping.write(bytes([5]))")
    expect(value(page)).to_have_text("5")
    world.do("mapping.close()")
    expect(card(page).locator(".error")).to_contain_text("WinError 2")
    assert "gone" in (card(page).get_attribute("class") or "")
    world.do(f"mapping = create({NAME!r}); mapping.write(bytes([6]))")
    expect(value(page)).to_have_text("6")
    expect(card(page).locator(".error")).to_have_text("")


def test_a_name_with_html_stays_text(
    page: Page, world: World, complaints: list[str]
) -> None:
    """In the list, in a card, in a message; and no script of it would run."""
    world.do(f"hostile = create({HOSTILE!r}); hostile.write(b'<img src=x>')")
    row = page.locator("#rows").get_by_text(f"Local\\{HOSTILE}")
    row.click()
    expect(card(page, HOSTILE).locator("pre")).to_contain_text("<img src=x")
    world.do(f"winipc.send_copydata({INBOX!r}, {HOSTILE.encode()!r}, id=7)")
    expect(page.locator(".messages td", has_text=HOSTILE)).to_have_count(1)
    page.get_by_role("button", name="processes").click()
    page.get_by_label("filter").fill("PYTHON")
    for text in page.locator("#rows tr:visible:has(td)").all_inner_texts():
        assert "python" in text
    count = page.locator("#rows tr:has(td)").count()
    expect(page.get_by_role("button", name="processes")).to_have_text(
        f"processes {count}"
    )
    page.locator("#rows").get_by_text("python.exe").first.click()
    expect(page.locator("#cards svg text").first).to_be_visible()
    world.do("hostile.close()")
    assert page.locator("img").count() == 0
    assert complaints == []
    # Even if a text of theirs were taken for HTML.
    page.evaluate("h => document.body.insertAdjacentHTML('beforeend', h)", HOSTILE)
    expect(page.locator("img")).to_have_count(1)
    until(page, "document.querySelector('img').complete")
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in text for text in complaints)


def test_the_page_writes_a_field_and_bytes(page: Page, world: World) -> None:
    form = card(page).locator("form")

    def write(field: str, text: str) -> None:
        form.get_by_placeholder("field, or offset").fill(field)
        form.get_by_placeholder("value, or bytes in hex").fill(text)
        form.get_by_role("button").click()

    write("again", "7")
    expect(value(page, "again")).to_have_text("7")
    write("0x1", "01")
    expect(value(page)).to_have_text("256")
    write("nothing", "7")
    expect(form.locator("output")).to_contain_text("has no field 'nothing'")


def test_a_wrong_token_shows_nothing(browser: Browser, served: dict[str, Any]) -> None:
    page = browser.new_page()
    page.goto(served["url"].replace(served["token"], "wrong"))
    expect(page.locator("#state")).to_contain_text("not live: the token is not")
    assert page.locator("#cards section").count() == 0
    assert page.locator("#rows td").count() == 0
    # No count that nobody has counted.
    expect(page.locator("#tabs")).to_have_text("objects windows processes ")
    page.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def test_a_page_of_another_origin_gets_nothing(
    browser: Browser, served: dict[str, Any], world: World, tmp_path: Path
) -> None:
    """Though it knows the token: it reads, writes and frames nothing."""
    (tmp_path / "index.html").write_text("<!doctype html><title>other</title>")
    handler = functools.partial(_Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{other.server_port}/")
        address = f"http://127.0.0.1:{served['port']}/api"
        found = page.evaluate(
            """async ([address, token, name]) => {
                const query = `token=${token}&name=${name}&watch=objects`;
                const reads = await fetch(`${address}/mapping?${query}`)
                    .then(() => "read", () => "refused");
                await fetch(`${address}/mapping?${query}`, {method: "POST",
                    mode: "no-cors", body: '{"hex": "07"}'}).catch(() => {});
                const source = new EventSource(`${address}/events?${query}`);
                const streams = await new Promise(then => {
                    source.onmessage = () => then("read");
                    source.onerror = () => then("refused"); });
                return [reads, streams];
            }""",
            [address, served["token"], NAME],
        )
        assert found == ["refused", "refused"]
        page.evaluate(
            """url => new Promise(then => {
                const frame = document.createElement("iframe");
                frame.src = url;
                frame.onload = then;
                document.body.append(frame);
            })""",
            served["url"],
        )
        (frame,) = page.frames[1:]
        assert frame.locator("#state").count() == 0
        page.close()
        other.shutdown()
    world.do("assert mapping.read(1) == b'\\0'")


@pytest.mark.parametrize("width", [700, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window(
    browser: Browser, served: dict[str, Any], width: int, scheme: Any
) -> None:
    """Nothing is wider than the window, and text is told from what is behind it."""
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    page.goto(served["url"])
    expect(value(page)).to_be_visible()
    expect(page.locator("#rows td").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = card(page).evaluate(
        "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
    )
    light, dark = (sum(map(int, re.findall(r"\d+", text))) for text in colours)
    assert abs(light - dark) > 450
    output = ROOT / "build" / "browser"
    output.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=output / f"serve-{scheme}-{width}.png", full_page=True)
    page.close()
