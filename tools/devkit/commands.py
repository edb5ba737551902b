"""The commands of ./dev, each a function of its arguments that returns a status."""

from pathlib import Path

import wine
from base import CACHE, ROOT, fail, remove, say
from pins import AMD64, ARM64, X86
from ready import ready
from run_python import python_command, python_environ
from runner import finish, run_windows
from wheels import release
from winpython import selected


def python(args: list[str]) -> int:
    version = selected()
    ready([version])
    with wine.shared_prefix() as prefix:
        env = python_environ(prefix, version)
        if Path.cwd() != ROOT or (args and not args[0].startswith("-")):
            # A script, or -m in another folder: it finds its neighbours as usual.
            del env["PYTHONSAFEPATH"]
        outcome = run_windows([*python_command(version), *args], env)
    return finish(outcome)


def demo(args: list[str]) -> int:
    version = selected()
    ready([version])
    with wine.private_prefix() as prefix:
        env = python_environ(prefix, version)
        command = [*python_command(version), "-m", "winipc", "demo", *args]
        outcome = run_windows(command, env)
    return finish(outcome)


def bench(args: list[str]) -> int:
    from bench import main

    return main(args)


def wheel(args: list[str]) -> int:
    if args not in ([], ["--all"]):
        fail("wheel takes only --all")
    for machine in (AMD64, X86, ARM64) if args else (AMD64,):
        print(release(machine))
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
    from test import main

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
