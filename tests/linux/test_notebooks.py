"""The notebooks in examples/, run by a Jupyter client against a Windows kernel."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from conftest import DEADLINE
from jupyter_client import KernelManager
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelManager]:
    """One for all notebooks: a start takes longer than most of them."""
    kernel = KernelManager(kernel_name=os.environ["WINIPC_KERNEL"])
    yield kernel
    if kernel.has_kernel:
        kernel.shutdown_kernel()


def execute(notebook: nbformat.NotebookNode, kernel: KernelManager) -> None:
    """Run all cells; an error in one is raised."""
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=int(DEADLINE),
        startup_timeout=int(DEADLINE),
        resources={"metadata": {"path": str(EXAMPLES)}},
    )
    try:
        client.execute()
    finally:
        if client.kc is not None:
            client.kc.stop_channels()


def run(name: str, kernel: KernelManager) -> list[nbformat.NotebookNode]:
    """The code cells of a notebook after it ran."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    # It must not live on what another one left.
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    execute(notebook, kernel)
    return [cell for cell in notebook.cells if cell.cell_type == "code"][1:]


def text_of(cell: nbformat.NotebookNode) -> str:
    """What a cell printed and what it shows as text."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)  # part of a line, if the kernel was slow
        else:
            parts.append(output.data.get("text/plain", "") + "\n")
    return "".join(parts)


def html_of(cell: nbformat.NotebookNode) -> str:
    """What a cell shows as HTML."""
    return "".join(
        output.data.get("text/html", "")
        for output in cell.outputs
        if output.output_type in ("display_data", "execute_result")
    )


def cell_with(cells: list[nbformat.NotebookNode], source: str) -> nbformat.NotebookNode:
    [cell] = [cell for cell in cells if source in cell.source]
    return cell


@pytest.fixture(scope="module")
def four_transports(kernel: KernelManager) -> list[nbformat.NotebookNode]:
    return run("four_transports.ipynb", kernel)


@pytest.mark.parametrize(
    ("via", "text"),
    [
        ("copydata", "Grüße in a message"),
        ("mapping", "你好 in a mapping"),
        ("section", "שלום in a DLL"),
        ("process", "Привет in your memory"),
    ],
)
def test_four_transports_deliver_to_the_kernel(
    four_transports: list[nbformat.NotebookNode], via: str, text: str
) -> None:
    """The cell shows what the second process sent, and its answer."""
    shown = text_of(cell_with(four_transports, f'winipc_send("{via}"'))
    assert f"{via} -> {text}" in shown
    assert f"{len(text.encode())} bytes sent via {via}" in shown
    assert "answer 1" in shown


def test_four_transports_deliver_from_the_kernel(
    four_transports: list[nbformat.NotebookNode],
) -> None:
    shown = text_of(cell_with(four_transports, "winipc.Window.wait_for(other"))
    for via in ("copydata", "mapping", "section", "process"):
        text = f"hello by {via}"
        assert f"{via} {len(text)} bytes: {text}" in shown


def test_four_transports_plots_and_closes(
    four_transports: list[nbformat.NotebookNode],
) -> None:
    plot = cell_with(four_transports, "axes.loglog")
    assert any("image/png" in output.get("data", {}) for output in plot.outputs)
    assert "closed, 0 waiting> None" in text_of(four_transports[-1])


@pytest.fixture(scope="module")
def telemetry(kernel: KernelManager) -> list[nbformat.NotebookNode]:
    return run("telemetry.ipynb", kernel)


def test_telemetry_shows_the_record(telemetry: list[nbformat.NotebookNode]) -> None:
    """Every field with its value, over the bytes."""
    shown = html_of(cell_with(telemetry, "hexview(snapshot, Telemetry)"))
    for text in ("throttle", "f32[3]", "&#x27;Ada Lovelace&#x27;", "class='wi-f'"):
        assert text in shown
    shown = html_of(cell_with(telemetry, "winipc.jupyter.live"))
    assert "live, every 0.2 s" in shown or "not live any more" in shown


def test_telemetry_is_never_torn(telemetry: list[nbformat.NotebookNode]) -> None:
    """Neither the simulator's records nor snapshots; plain copies in the middle are."""
    recorded = text_of(cell_with(telemetry, "in records(name"))
    found = re.search(r"(\d+) records of (\d+) frames, 0 torn", recorded)
    assert found is not None, recorded
    assert 10 < int(found[1]) <= int(found[2])
    plain = text_of(cell_with(telemetry, "plain copies: "))
    assert "plain copies: 500 of 500 are torn" in plain
    assert "snapshots: 0 of 500" in text_of(cell_with(telemetry, "snapshots: "))


def test_telemetry_plots_and_ends(telemetry: list[nbformat.NotebookNode]) -> None:
    plot = cell_with(telemetry, "plt.subplots")
    assert any("image/png" in output.get("data", {}) for output in plot.outputs)
    ended = re.search(r"ended: closed, (\d+) updates", text_of(telemetry[-1]))
    assert ended is not None
    assert int(ended[1]) >= 1


@pytest.fixture(scope="module")
def exploring(kernel: KernelManager) -> list[nbformat.NotebookNode]:
    return run("exploring_a_process.ipynb", kernel)


def test_exploring_maps_the_process(exploring: list[nbformat.NotebookNode]) -> None:
    shown = html_of(cell_with(exploring, "RemoteProcess.open(game)\nprocess"))
    for text in ("<svg", "ntdll.dll", "paler: reserved", "regions as rows"):
        assert text in shown
    assert "python.exe" in html_of(cell_with(exploring, "jupyter.memory_map"))


def test_exploring_finds_the_player(exploring: list[nbformat.NotebookNode]) -> None:
    """The text, and the number by what it does; then it is watched and written."""
    assert "'Grace' is at 0x" in text_of(cell_with(exploring, ".scan(b"))
    counts = re.findall(r"^(\d+) ", text_of(cell_with(exploring, "rescan")), re.M)
    assert len(counts) == 5
    assert int(counts[0]) >= int(counts[-1]) >= 1
    changes = text_of(cell_with(exploring, "process.watch"))
    assert changes.split("\n")[:3] == ["2804 -> 2704", "2704 -> 2504", "2504 -> 2204"]
    assert "the game says: 1000000" in text_of(cell_with(exploring, "writable"))


def test_exploring_finds_it_again(exploring: list[nbformat.NotebookNode]) -> None:
    """By a path in another run, and code by its signature; and it holds the value."""
    shown = text_of(cell_with(exploring, "paths = winipc"))
    assert re.fullmatch(
        r'\["toy_world\.dll"\+0x\w+\]\+0x10 leads to 2804', shown.strip()
    )
    shown = text_of(cell_with(exploring, "again = start()"))
    assert "1 path holds in another run" in shown
    assert "which has a health of 3000" in shown
    shown = text_of(cell_with(exploring, "process.signature"))
    assert shown.startswith("48 8D 05 ?? ?? ?? ?? ")
    assert "win32 is what it refers to" in shown
    assert shown.count("1 match in ") == 2
    assert "and it is 5000 again" in text_of(cell_with(exploring, "strong.freeze"))


def test_exploring_ends_with_the_process(
    exploring: list[nbformat.NotebookNode],
) -> None:
    """The view and the object say that the process is gone."""
    last = exploring[-2]
    assert re.search(r"ended: pid \d+ has exited with code 0", text_of(last))
    assert re.search(r"pid \d+ has exited with code 0", html_of(last))
    assert "not live any more" in html_of(cell_with(exploring, "jupyter.live"))


def test_kernel_is_the_windows_python(kernel: KernelManager) -> None:
    """With winipc to import, and output that reaches Linux as it was."""
    source = "import sys, winipc._core; print(sys.platform); 'ж'"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    execute(notebook, kernel)
    printed, shown = notebook.cells[0].outputs
    assert printed.text.strip() == "win32"
    assert shown.data["text/plain"] == "'ж'"


def test_lists_and_locks_show_themselves(kernel: KernelManager) -> None:
    """As text and as HTML, in which a name is text."""
    sources = [
        "import winipc; event = winipc.Event.create('<b>kernel'); event",
        "winipc.named_objects('event', '<b>*')",
    ]
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    execute(notebook, kernel)
    for cell, text, part in (
        (notebook.cells[0], "<Event '<b>kernel' not set, auto", "not set"),
        (notebook.cells[1], "KIND   SIZE  NAME", "<td>event</td>"),
    ):
        [shown] = cell.outputs
        assert shown.data["text/plain"].startswith(text)
        html = shown.data["text/html"]
        assert part in html
        assert "&lt;b&gt;kernel" in html
        assert "<b>kernel" not in html


def test_machine_reads_its_header(kernel: KernelManager) -> None:
    """The structure of machine.h, which another process has written to."""
    cells = run("machine.ipynb", kernel)
    assert "axes.tool 84 I:1+7" in text_of(cells[0])
    shown = text_of(cell_with(cells, "machine.as_record()"))
    assert "MACHINE_IDLE  for Ada" in shown
    assert "x: 12.5 mm, tool 0" in shown
    assert "user='Ada', axes=(axis(position=12.5," in shown
    shown = html_of(cell_with(cells, "hexview"))
    assert "axes[0].position" in shown
    assert "[[12.5, 0.0, 0.0]]" in text_of(cell_with(cells, "MACHINE.dtype"))
    assert "closed" in text_of(cells[-1])


def test_a_cell_that_runs_again_ends_its_view(kernel: KernelManager) -> None:
    """Though the first run began before the kernel told of any cell."""
    notebook = nbformat.v4.new_notebook()
    make = "import winipc\nm, views = winipc.SharedMapping.create(None, 64), []"
    live = "views.append(winipc.jupyter.live(m, 0.05))"
    tell = "print(*[view.reason for view in views], sep='\\n'); m.close()"
    sources = [make, "import winipc.jupyter", live, "pass", live, tell]
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    execute(notebook, kernel)
    shown = text_of(notebook.cells[-1]).split("\n")
    assert shown[:2] == ["the cell was run again", "None"]
