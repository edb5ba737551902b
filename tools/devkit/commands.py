"""The commands of ./dev, each a function of its arguments that returns a status."""

from pathlib import Path

import wine
from base import CACHE, ROOT, die_by, fail, remove, say
from ready import ready
from runner import Outcome, run_windows
from wheels import release, site
from winpython import selected, windows_python


def finish(outcome: Outcome) -> int:
    """Turn the end of a program into the end of ./dev."""
    if outcome.signum:
        die_by(outcome.signum)
    return outcome.status


def python_environ(prefix: Path, version: str, *extra: Path) -> dict[str, str]:
    """The environment of the Windows Python, with winipc to import."""
    folders = [site(version), *extra]
    return wine.environ(prefix) | {
        "PYTHONPATH": ";".join(wine.windows_path(folder) for folder in folders),
        # In the root of the checkout, -c and -m would import its sources, where
        # there is no _core. The price: a script's own folder is not on the path.
        "PYTHONSAFEPATH": "1",
        # The prompt of 3.13 reads no keys under Wine 8.
        "PYTHON_BASIC_REPL": "1",
    }


def python_command(version: str) -> list[str]:
    return [wine.loader(), str(windows_python(version) / "python.exe")]


def run_python(args: list[str], *extra: Path) -> Outcome:
    """Run the selected Windows Python where other ./dev runs can be met."""
    version = selected()
    ready([version])
    command = python_command(version)
    with wine.shared_prefix() as prefix:
        env = python_environ(prefix, version, *extra)
        if args and not args[0].startswith("-"):
            # A script: it finds its neighbours as usual.
            del env["PYTHONSAFEPATH"]
        return run_windows([*command, *args], env)


def python(args: list[str]) -> int:
    return finish(run_python(args))


def demo(args: list[str]) -> int:
    version = selected()
    ready([version])
    command = python_command(version)
    with wine.private_prefix() as prefix:
        env = python_environ(prefix, version)
        outcome = run_windows([*command, "-m", "winipc", "demo", *args], env)
    return finish(outcome)


def bench(args: list[str]) -> int:
    from bench import main

    return main(args, python_environ)


def wheel(args: list[str]) -> int:
    if args:
        fail("wheel takes no arguments")
    print(release())
    return 0


def clean(args: list[str]) -> int:
    if args not in ([], ["--cache"]):
        fail("clean takes only --cache")
    for name in ("build", "dist", ".pytest_cache", ".mypy_cache", ".ruff_cache"):
        remove(ROOT / name)
    if args:
        say(f"removing {CACHE}")
        remove(CACHE)
    return 0


def test(args: list[str]) -> int:
    from suite import main

    return main(args)


def lint(args: list[str]) -> int:
    from lint import main

    return main(args)


def docs(args: list[str]) -> int:
    from docs import main

    return main(args)


def notebook(args: list[str]) -> int:
    from notebook import main

    return main(args)


def shell(args: list[str]) -> int:
    from shell import main

    return main(args)


COMMANDS = {
    command.__name__: command
    for command in (
        *(demo, test, lint, docs, wheel, python, shell, notebook, bench, clean),
    )
}
