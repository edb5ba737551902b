"""JupyterLab, as `./dev notebook` opens it, with its page in Chromium.

A live view is updated by the kernel while other cells run, which only the real page
shows: nothing else keeps the outputs of a cell that has ended up to date.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "build" / "browser"

#: Seconds for one step; only a broken one takes so long.
DEADLINE = 60
IN_MS = DEADLINE * 1000
expect.set_options(timeout=IN_MS)

KERNEL = os.environ["WINIPC_KERNEL"]

NAME = f"winipc-test-{uuid.uuid4().hex}"
SEND = f"""\
import winipc
with winipc.Sender({NAME!r}, mapping={NAME + ".data"!r}) as sender:
    sender.send(b'from another process', via='mapping')
"""
CELLS = [
    f"""\
import os, subprocess, sys, time, winipc
from winipc.jupyter import live, receiver
mapping = winipc.SharedMapping.create({NAME!r}, 64)
inbox = winipc.CopyDataWindow.create({NAME + ".window"!r})
mapping""",
    "winipc.RemoteProcess.open(os.getpid())",
    "live(mapping, interval=0.1);",
    "live(inbox, interval=0.1);",
    f"mapping.write(b'changed'), winipc.send_copydata({NAME + '.window'!r}, b'came')",
    "for i in range(10**5): mapping.write(b'n%05d' % i, 16); time.sleep(0.05)",
    f"box = receiver({NAME!r}, mapping={NAME + '.data'!r}); box.title",
    f"subprocess.run([sys.executable, '-c', {SEND!r}]).returncode",
    "box.receive(timeout=60).data",
    "mapping.close()",
    f"""\
import winipc
winipc.CopyDataWindow.create({NAME + ".window"!r}), winipc.Receiver({NAME!r})
winipc.SharedMapping.create({NAME!r}, 64).created""",
]
LIVE_MAPPING, LIVE_WINDOW, CHANGE, BUSY, BOX, SENDER, RECEIVED, CLOSE = range(2, 10)
AGAIN = 10


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the notebook in JupyterLab."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS],
        metadata={"kernelspec": {"name": KERNEL, "display_name": KERNEL}},
    )
    nbformat.write(notebook, folder / "live.ipynb")
    environ = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    options = ("--no-browser", "--port=0", f"--ServerApp.root_dir={folder}")
    with open(folder / "log", "w+") as log:
        server = subprocess.Popen(
            [ROOT / "dev", "notebook", *options, "--IdentityProvider.token=test"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield f"{address(server, folder / 'log')}/lab/tree/live.ipynb?token=test"
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(DEADLINE)
            finally:
                server.kill()


def address(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


class Notebook:
    """The notebook in the page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def cell(self, number: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def output(self, number: int) -> Locator:
        return self.cell(number).locator(".jp-OutputArea").first

    def start(self, number: int) -> None:
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")

    def run(self, number: int) -> None:
        """Run a cell, and wait until it has ended."""
        prompt = self.cell(number).locator(".jp-InputPrompt")
        former = prompt.inner_text()
        self.start(number)
        expect(prompt).not_to_have_text(former)
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"))

    def run_first(self, number: int) -> None:
        """Run a cell as the first; JupyterLab forgets one that is run too early."""
        prompt = self.cell(number).locator(".jp-InputPrompt")
        deadline = time.monotonic() + DEADLINE
        while not re.search(r"\d", text := prompt.inner_text()):
            assert time.monotonic() < deadline, text
            if "*" not in text:
                self.start(number)
                self.page.wait_for_timeout(2000)
            self.page.wait_for_timeout(100)

    def command(self, keys: str) -> None:
        self.page.keyboard.press("Escape")
        for key in keys:
            self.page.keyboard.press(key)


def test_live_views_in_jupyterlab(lab: str, browser: Browser) -> None:
    """They follow while cells run, and end; a receiver outlives its cell."""
    page = browser.new_page(viewport={"width": 1300, "height": 3000})
    page.set_default_timeout(IN_MS)
    page.goto(lab)
    notebook = Notebook(page)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    kernels = page.evaluate(
        "async () => (await (await fetch('/api/kernelspecs?token=test')).json())"
    )
    # The Python of the tools has no winipc.
    assert list(kernels["kernelspecs"]) == [KERNEL]

    notebook.run_first(0)
    expect(notebook.output(0)).to_contain_text(f"SharedMapping '{NAME}'")
    notebook.run(1)
    expect(notebook.output(1).locator("svg text").first).to_be_visible()
    notebook.run(LIVE_MAPPING)
    notebook.run(LIVE_WINDOW)
    expect(notebook.output(LIVE_WINDOW)).to_contain_text("no message waits")

    notebook.run(CHANGE)
    mapping = notebook.output(LIVE_MAPPING)
    expect(mapping).to_contain_text("changed")
    expect(notebook.output(LIVE_WINDOW)).to_contain_text("came")

    # A cell that runs for long: the view changes meanwhile, until an interrupt.
    notebook.start(BUSY)
    number = re.compile(r"n\d{5}")
    expect(mapping).to_contain_text(number)
    before = number.findall(mapping.inner_text())
    expect(mapping).not_to_contain_text(before[-1])
    expect(notebook.cell(BUSY).locator(".jp-InputPrompt")).to_have_text("[*]:")
    notebook.command("ii")
    expect(notebook.output(BUSY)).to_contain_text("KeyboardInterrupt")
    expect(mapping).to_contain_text("live, every 0.1 s")

    notebook.run(BOX)
    notebook.run(SENDER)
    expect(notebook.output(SENDER)).to_contain_text("0")
    notebook.run(BOX)  # again, and what came is still there
    notebook.run(RECEIVED)
    expect(notebook.output(RECEIVED)).to_contain_text("b'from another process'")

    notebook.run(CLOSE)
    expect(mapping).to_contain_text("not live any more: closed")
    expect(notebook.output(LIVE_WINDOW)).to_contain_text("live, every 0.1 s")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / "jupyterlab.png")

    # Names are free again once the kernel has been restarted.
    notebook.command("00")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    notebook.run_first(AGAIN)
    expect(notebook.output(AGAIN)).to_contain_text("True")
    page.close()
