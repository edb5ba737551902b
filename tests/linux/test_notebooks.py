"""The notebooks in examples/, run by a Jupyter client against a Windows kernel."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"

#: Seconds for one cell; only a broken one takes so long.
DEADLINE = 120


def run(path: Path) -> list[nbformat.NotebookNode]:
    """The code cells of a notebook after it ran; an error in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=DEADLINE,
        startup_timeout=DEADLINE,
        kernel_name=os.environ["WINIPC_KERNEL"],
        resources={"metadata": {"path": str(EXAMPLES)}},
    )
    client.execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell: nbformat.NotebookNode) -> str:
    """What a cell printed and what it shows as text."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        else:
            parts.append(output.data.get("text/plain", ""))
    return "\n".join(parts)


def cell_with(cells: list[nbformat.NotebookNode], source: str) -> nbformat.NotebookNode:
    [cell] = [cell for cell in cells if source in cell.source]
    return cell


@pytest.fixture(scope="module")
def four_transports() -> list[nbformat.NotebookNode]:
    return run(EXAMPLES / "four_transports.ipynb")


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
    shown = text_of(cell_with(four_transports, "winipc.wait_window(other"))
    for via in ("copydata", "mapping", "section", "process"):
        text = f"hello by {via}"
        assert f"{via} {len(text)} bytes: {text}" in shown


def test_four_transports_plots_and_closes(
    four_transports: list[nbformat.NotebookNode],
) -> None:
    plot = cell_with(four_transports, "axes.loglog")
    assert any("image/png" in output.get("data", {}) for output in plot.outputs)
    assert "closed> None" in text_of(four_transports[-1])
