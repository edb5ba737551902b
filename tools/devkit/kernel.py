"""A Jupyter kernel on Linux that is the Windows Python under Wine.

Jupyter starts the kernel by ./dev python, so it gets its streams, signals and
prefix as any other program does.
"""

import json

from base import BUILD, ROOT, locked, new_folder

NAME = "winipc-wine"


def kernel_environ(version: str) -> dict[str, str]:
    """Where a Jupyter client on Linux finds the kernel, and its name."""
    return {
        "JUPYTER_PATH": str(_kernelspec(version)),
        "WINIPC_KERNEL": NAME,
    }


def _kernelspec(version: str) -> str:
    folder = BUILD / f"jupyter-{version}"
    spec = {
        "argv": [
            # A client that is killed takes its kernel along.
            *("setpriv", "--pdeathsig", "TERM"),
            *(str(ROOT / "dev"), "python", "-m", "ipykernel_launcher"),
            *("-f", "{connection_file}"),
        ],
        "display_name": f"Windows Python {version} (winipc)",
        "language": "python",
        "env": {"WINIPC_PYTHON": version},
    }
    text = json.dumps(spec, indent=1)
    file = folder / "kernels" / NAME / "kernel.json"
    if not file.exists() or file.read_text() != text:
        with locked(BUILD / "jupyter.lock"), new_folder(folder) as part:
            target = part / "kernels" / NAME / "kernel.json"
            target.parent.mkdir(parents=True)
            target.write_text(text)
    return str(folder)
