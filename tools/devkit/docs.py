"""./dev docs: the documentation site, from the guides and the docstrings.

Sphinx runs on Linux, where it is quick. Linux cannot import winipc._core, so the
Windows Python prints its docstrings, and a stand-in takes its place.
"""

import json
import shutil
from pathlib import Path

import wine
from base import BUILD, ROOT, TOOLS, fail, locked, new_folder, run, say
from hostenv import clean_environ, host_python
from ready import ready
from run_python import python_command, python_environ
from standin import stand_in
from winpython import selected

OUTPUT = BUILD / "docs"


def main(args: list[str]) -> int:
    """./dev docs"""
    if args:
        fail("docs takes no arguments")
    ready([selected()])
    build()
    say(f"the site is {OUTPUT / 'index.html'}")
    return 0


def build() -> None:
    """Build the whole site; a warning is a failure."""
    python = host_python("docs")
    with locked(BUILD / "docs.lock", "the site"):
        with new_folder(BUILD / "docs-package") as part:
            _package(part)
        with new_folder(OUTPUT) as part:
            run(
                [
                    *(python, "-I", "-m", "sphinx", "--builder=html", "--quiet"),
                    *("--nitpicky", "--fail-on-warning", "--keep-going"),
                    *("--fresh-env", "--doctree-dir", BUILD / "docs-package/doctrees"),
                    *(ROOT / "docs", part),
                ],
                env=clean_environ() | {"WINIPC_DOCS": str(BUILD / "docs-package")},
            )


def _package(folder: Path) -> None:
    """Fill a folder with a winipc that Linux can import."""
    shutil.copytree(ROOT / "winipc", folder / "winipc")
    shutil.copyfile(ROOT / "pytest_winipc.py", folder / "pytest_winipc.py")
    stub = folder / "winipc" / "_core.pyi"
    core = stand_in(stub.read_text("utf-8"), json.loads(_docstrings()))
    stub.with_suffix(".py").write_text(core, "utf-8")


def _docstrings() -> str:
    version = selected()
    script = wine.windows_path(TOOLS / "devkit" / "docstrings.py")
    with wine.private_prefix() as prefix:
        env = python_environ(prefix, version)
        return run([*python_command(version), script], env=env, cwd=BUILD)
