"""The kernel by which a Jupyter on Linux runs the Windows Python."""

from __future__ import annotations

import os
from pathlib import Path

import nbclient
import nbformat


def test_kernel_is_the_windows_python(tmp_path: Path) -> None:
    """With winipc to import, and output that reaches Linux as it was."""
    source = "import sys, winipc._core; print(sys.platform); 'ж'"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    client = nbclient.NotebookClient(
        notebook,
        kernel_name=os.environ["WINIPC_KERNEL"],
        timeout=120,
        startup_timeout=120,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    printed, shown = notebook.cells[0].outputs
    assert printed.text.strip() == "win32"
    assert shown.data["text/plain"] == "'ж'"
