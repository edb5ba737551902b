"""A Jupyter kernel on Linux that is the Windows Python under Wine.

Jupyter starts the kernel by ./dev python, so its streams, signals and prefix are those
of any other program.
"""

import json

from base import BUILD, ROOT, locked, new_folder

NAME = "winipc-wine"


def kernel_environ(version: str) -> dict[str, str]:
    """The variables by which a Jupyter client on Linux finds the kernel."""
    return {
        "JUPYTER_PATH": str(_kernelspec(version)),
        "WINIPC_KERNEL": NAME,
    }


def _kernelspec(version: str) -> str:
    folder = BUILD / f"jupyter-{version}"
    spec = {
        "argv": [
            # If the client is killed, its kernel ends, too.
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
