"""The notebooks as pages: run, made HTML, and looked at in Chromium.

They run on the host's Python, by `./dev test --browser`. The pages and a picture of
each stay in build/browser.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
OUTPUT = ROOT / "build" / "browser"

#: Seconds for one cell; only a broken one takes so long.
DEADLINE = 120


@dataclass
class Rendered:
    """A page in the browser, and what went wrong while it was loaded."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelManager]:
    kernel = KernelManager(kernel_name=os.environ["WINIPC_KERNEL"])
    yield kernel
    if kernel.has_kernel:
        kernel.shutdown_kernel()


def execute(notebook: nbformat.NotebookNode, kernel: KernelManager) -> None:
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=DEADLINE,
        startup_timeout=DEADLINE,
        resources={"metadata": {"path": str(EXAMPLES)}},
    )
    try:
        client.execute()
    finally:
        if client.kc is not None:
            client.kc.stop_channels()


def to_html(notebook: nbformat.NotebookNode, theme: str = "light") -> str:
    """The page, with nothing in it that has to be fetched from elsewhere."""
    exporter = HTMLExporter(theme=theme)
    for setting in ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url"):
        setattr(exporter, setting, "")
    with warnings.catch_warnings():
        # IPython's own lexer is not there; Python's does as well.
        warnings.simplefilter("ignore", UserWarning)
        html, _ = exporter.from_notebook_node(notebook)
    return html


def render(name: str, kernel: KernelManager, browser: Browser) -> Rendered:
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    execute(notebook, kernel)
    return show(name, to_html(notebook), browser)


def show(name: str, html: str, browser: Browser) -> Rendered:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    path = OUTPUT / f"{name}.html"
    path.write_text(html, "utf-8")
    rendered = Rendered(browser.new_page(viewport={"width": 1200, "height": 900}))
    page = rendered.page

    def on_console(message: Any) -> None:
        if message.type in ("error", "warning"):
            rendered.complaints.append(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: rendered.complaints.append(str(error)))
    page.on("request", lambda request: rendered.requests.append(request.url))
    page.goto(path.as_uri(), wait_until="load")
    page.screenshot(path=OUTPUT / f"{name}.png", full_page=True)
    return rendered


@pytest.fixture(scope="module")
def telemetry(kernel: KernelManager, browser: Browser) -> Rendered:
    return render("telemetry", kernel, browser)


@pytest.fixture(scope="module")
def exploring(kernel: KernelManager, browser: Browser) -> Rendered:
    return render("exploring_a_process", kernel, browser)


@pytest.mark.parametrize("name", ["telemetry", "exploring"])
def test_page_stands_alone(name: str, request: pytest.FixtureRequest) -> None:
    """No script fails, nothing is missing, nothing is fetched from elsewhere."""
    rendered: Rendered = request.getfixturevalue(name)
    assert rendered.complaints == []
    assert [url for url in rendered.requests if not url.startswith("file:")] == []


#: The first colours of Matplotlib, for the lines of each half of the plot.
BLUE, ORANGE, GREEN = (0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E), (0x2C, 0xA0, 0x2C)
LINES = ((BLUE, ORANGE), (BLUE, ORANGE, GREEN))


def test_plot_is_a_picture_with_lines(telemetry: Rendered) -> None:
    """It is decoded, as large as it should be, and its lines go all along it.

    The legend has the colours too, but in its corner.
    """
    images = telemetry.page.locator("img")
    assert images.count() == 1
    width, height, spans = images.first.evaluate(
        """async (image, lines) => {
            await image.decode();
            const canvas = document.createElement("canvas");
            const width = canvas.width = image.naturalWidth;
            const height = canvas.height = image.naturalHeight;
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const data = context.getImageData(0, 0, width, height).data;
            // For each line the leftmost and the rightmost pixel, the highest and
            // the lowest; its edges are mixed with the background.
            const spans = lines.map((colours, half) => colours.map(colour => {
                const span = [width, 0, height, 0];
                const top = Math.round(half * height / 2);
                for (let y = top; y < top + height / 2 && y < height; y++) {
                    for (let x = 0; x < width; x++) {
                        const at = (y * width + x) * 4;
                        if (colour.every((c, i) => Math.abs(c - data[at + i]) < 50)) {
                            span[0] = Math.min(span[0], x);
                            span[1] = Math.max(span[1], x);
                            span[2] = Math.min(span[2], y);
                            span[3] = Math.max(span[3], y);
                        }
                    }
                }
                return span;
            }));
            return [width, height, spans];
        }""",
        LINES,
    )
    assert width > 400
    assert height > 300
    assert images.first.is_visible()
    for left, right, _, _ in spans[0] + spans[1]:
        assert right - left > width / 2, spans
    # Together they fill their axes, whatever the car does meanwhile.
    for half in spans:
        tops, bottoms = zip(*(span[2:] for span in half), strict=True)
        assert max(bottoms) - min(tops) > height / 5, spans


def test_hex_view_has_its_fields_in_colours(telemetry: Rendered) -> None:
    """Bytes and the list of the fields, each pair of the same colour."""
    view = telemetry.page.locator(".winipc").first
    assert view.is_visible()
    byte = view.locator("pre .wi-f[title^='speed:']").first
    assert byte.is_visible()
    row = view.locator("tr", has_text="speed")
    assert row.is_visible()
    chip = row.locator(".wi-chip")
    colours = [
        element.evaluate("element => getComputedStyle(element).backgroundColor")
        for element in (byte, chip)
    ]
    assert colours[0] == colours[1]
    assert colours[0] not in ("rgba(0, 0, 0, 0)", "transparent")
    # Lines are not broken, and the font is one of equal widths.
    lines = view.locator("pre").evaluate(
        """element => {
            const style = getComputedStyle(element);
            const height = element.getBoundingClientRect().height;
            return [height / parseFloat(style.lineHeight),
                    element.textContent.split("\\n").length];
        }"""
    )
    assert round(lines[0]) == lines[1]


def test_changes_of_the_live_view_are_marked(telemetry: Rendered) -> None:
    live = telemetry.page.locator(".winipc").nth(1)
    mark = live.locator("b.wi-new").first
    assert mark.is_visible()
    assert mark.evaluate("e => getComputedStyle(e).color") == "rgb(204, 0, 0)"
    assert telemetry.page.get_by_text("not live any more: closed").is_visible()


def test_address_space_is_drawn_with_its_legend(exploring: Rendered) -> None:
    """Blocks inside of the picture, each with a tooltip; names; the legend."""
    view = exploring.page.locator(".winipc").first
    for text in ("image ", "mapped ", "private ", "paler: reserved", "executable"):
        assert view.locator(".wi-legend .wi-item", has_text=text).first.is_visible()
    drawn = view.locator("svg").evaluate(
        """svg => {
            const frame = svg.getBoundingClientRect();
            const blocks = [...svg.querySelectorAll("g > rect")]
                .map(rect => rect.getBoundingClientRect());
            const inside = blocks.filter(box => box.width > 0 && box.height > 0
                && box.left >= frame.left && box.right <= frame.right + 1
                && box.top >= frame.top && box.bottom <= frame.bottom + 1);
            return [frame.width, blocks.length, inside.length];
        }"""
    )
    width, blocks, inside = drawn
    assert width > 600
    assert blocks == inside > 50
    titles = view.locator("svg g > title").all_text_contents()
    assert any("ntdll.dll" in title for title in titles)
    assert view.locator("svg text", has_text="ntdll.dll").first.is_visible()
    rows = view.locator("details table")
    assert not rows.is_visible()
    view.locator("summary").click()
    assert rows.is_visible()
    assert "ntdll.dll" in rows.inner_text()


HOSTILE = "<script>document.title = 'x'</script><b>bold</b>"

LANES = f"""
import os, tempfile
import winipc.jupyter
from winipc import ChangeEvent, MessageEvent, StateEvent, Track
from winipc.cassette.file import Writer

path = os.path.join(tempfile.mkdtemp(), "session.wipc")
state = winipc.Layout.of("state", "speed:f gear:i")
tracks = [
    Track("mapping", "car.state", size=4096),
    Track("event", "car.changed", manual=True),
    Track("window", "{HOSTILE}"),
]
with Writer(path, tracks) as writer:
    for n in range(60):
        at = n * 10**8
        data = state.pack(speed=n * 1.5, gear=n % 6)
        writer.add(ChangeEvent(at, 0, ((0, data),)), stamp=False)
        writer.add(StateEvent(at + 10**6, 1, n % 2), stamp=False)
        if n % 7 == 0:
            event = MessageEvent(at + 10**7, 2, id=n, data=b"{HOSTILE}" * 5, answer=1)
            writer.add(event, stamp=False)
    writer.add(MessageEvent(59 * 10**8 + 10**7, 2, "out", data=b"bye"), stamp=False)
winipc.jupyter.lanes(winipc.Cassette(path), {{"car.state": state}})
"""


@pytest.fixture(scope="module", params=["light", "dark"])
def lanes(
    kernel: KernelManager, browser: Browser, request: pytest.FixtureRequest
) -> Rendered:
    cell = nbformat.v4.new_code_cell(LANES)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    execute(notebook, kernel)
    html = to_html(notebook, request.param)
    return show(f"lanes_{request.param}", html, browser)


def test_a_click_on_a_mark_shows_what_it_was(
    lanes: Rendered, request: pytest.FixtureRequest
) -> None:
    """Its time, its bytes and its fields, one at a time and legible; text is text."""
    page, view = lanes.page, lanes.page.locator(".winipc").first
    assert lanes.complaints == []
    assert page.title() != "x"
    assert view.locator("script, .wi-lanes b b").count() == 0
    rows = view.locator(".wi-lane")
    assert rows.count() == 3
    assert HOSTILE in (rows.nth(2).locator(".wi-name").get_attribute("title") or "")
    marks, messages = (rows.nth(n).locator("details") for n in (0, 2))
    assert (marks.count(), messages.count()) == (60, 10)
    what = marks.nth(30).locator(".wi-what")
    assert not what.is_visible()
    marks.nth(30).locator("summary").click()
    assert what.is_visible()
    assert "3.000000 s" in what.inner_text()
    assert "00 00 34 42" in what.locator("pre").inner_text()  # 45.0
    row = what.locator("tr", has_text="speed").inner_text()
    assert row.split() == ["speed", "f32", "45"]
    name = f"lanes_{request.node.callspec.params['lanes']}"
    page.screenshot(path=OUTPUT / f"{name}_memory.png", full_page=True)
    # The last one: it opens in the same place, and the other one closes.
    messages.nth(9).locator("summary").click()
    last = messages.nth(9).locator(".wi-what")
    assert last.is_visible()
    assert not what.is_visible()
    assert "62 79 65" in last.inner_text()
    messages.nth(0).locator("summary").click()
    first = messages.nth(0).locator(".wi-what")
    assert "<b>bold</b>" in first.inner_text()
    page.screenshot(path=OUTPUT / f"{name}_message.png", full_page=True)
    for box in (first, what, last):
        inside = box.evaluate("""element => {
            element.parentElement.open = true;
            let box = element.getBoundingClientRect();
            for (let one = element; (one = one.parentElement); ) {
                const outer = one.getBoundingClientRect();
                if (getComputedStyle(one).overflow !== "visible" &&
                    (box.right > outer.right + 1 || box.bottom > outer.bottom + 1)) {
                    return false;
                }
            }
            return box.left >= 0;
        }""")
        assert inside  # nothing of it is cut off
    colours = last.evaluate("""element => [element, document.body].map(
        one => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor])""")
    (text, background), (page_text, _) = colours
    assert re.findall(r"\d+", text)[:3] == re.findall(r"\d+", page_text)[:3]
    assert background == "rgba(0, 0, 0, 0)"
