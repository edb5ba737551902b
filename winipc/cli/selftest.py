"""`winipc selftest`: does winipc keep its promises here, and how does Windows behave?

Checks run in processes of their own; a check that takes too long is killed. All checks
together take less than a minute. The status is 1 if a check failed. "differs" is no
failure: Windows did not answer as winipc's authors expected, and the report says what
that means.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from winipc import _core
from winipc.base.deadline import Deadline
from winipc.base.text import clean
from winipc.cli.doctor import facts
from winipc.cli.options import Commands, add_command, seconds
from winipc.cli.output import print_json, print_line

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def add(commands: Commands) -> None:
    text = "check winipc and this Windows, for a report"
    examples = "selftest channel death", "selftest --json"
    parser = add_command(commands, "selftest", run, text, __doc__, *examples)
    parser.add_argument(
        "checks", nargs="*", metavar="CHECK", help="only these", type=_check_name
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=20.0,
        help="seconds that one check may take (%(default)g)",
    )
    parser.add_argument(
        "--total",
        type=seconds,
        default=50.0,
        help="seconds after which no check begins (%(default)g)",
    )
    parser.add_argument("--low", nargs=2, help=argparse.SUPPRESS)


def _check_name(text: str) -> str:
    from winipc.cli.checks import CHECKS  # no other command needs them

    if text not in CHECKS:
        known = ", ".join(CHECKS)
        raise argparse.ArgumentTypeError(f"no check {text!r}; there are {known}")
    return text


def run(arguments: argparse.Namespace) -> int:
    from winipc.cli.checks import CHECKS, from_below

    if arguments.low:
        print_line(from_below(*arguments.low))
        return 0
    began = time.monotonic()
    known = facts()
    del known["user"]  # people publish reports
    if not arguments.json:
        told = [f"{name} {known[name]}" for name in known if known[name] is not None]
        print_line(", ".join(told))
    done = []
    names = arguments.checks or list(CHECKS)
    with closing(_rows(names, arguments)) as rows:
        for row in rows:
            done.append(row)
            if not arguments.json:
                print_line(_told(row))
    took = round(time.monotonic() - began, 1)
    verdicts = Counter(row["verdict"] for row in done)
    if arguments.json:
        print_json(known | {"seconds": took, "checks": done})
    else:
        counts = [f"{count} {verdict}" for verdict, count in verdicts.items()]
        print_line(f"{', '.join(counts)}; {took} s")
    return 1 if verdicts["failed"] else 0


def _told(row: dict[str, Any]) -> str:
    """A row as text: one line if all is well."""
    wine = f" [{row['answer']}]" if row["answer"].startswith("Wine") else ""
    lines = [f"{row['verdict']:<19}{row['check']}: {row['came'] or row['why']}{wine}"]
    if row["verdict"] in ("failed", "differs"):
        lines += [f"expected: {row['expected']}", *row["why"].splitlines()]
    return "\n    ".join(map(clean, lines))


def _row(name: str, verdict: str, began: float, came: str, why: str) -> dict[str, Any]:
    from winipc.cli.checks import CHECKS

    wine = _core._wine_version()
    windows = "Windows" if wine is None else f"Wine {wine}"
    return {
        "check": name,
        "verdict": verdict,
        "expected": CHECKS[name].expected,
        "came": came,
        "why": why,
        "answer": windows if CHECKS[name].otherwise else "winipc",
        "seconds": round(time.monotonic() - began, 1),
    }


def _rows(names: list[str], limits: argparse.Namespace) -> Generator[dict[str, Any]]:
    """Yield a row for each check; if a check hangs or dies, a new process goes on."""
    from winipc.cli.checks import Process

    deadline = Deadline(limits.total)
    left = list(names)
    while left and deadline.left():
        worker = Process(_work, left)
        began = time.monotonic()
        try:
            limit = deadline.left()  # for the start of the process
            while left:
                row = worker.receive(limit)
                began = time.monotonic()
                limit = deadline.part(limits.timeout)
                if row is not None:
                    left.pop(0)
                    yield row
        except TimeoutError:
            came = f"no answer within {limit:.0f} s" if deadline.left() else ""
        except (EOFError, OSError):
            worker.process.join(1)
            came = f"its process ended with status {worker.process.exitcode}"
        finally:
            worker.kill()
        if left and came:
            yield _row(left.pop(0), "failed", began, came, "")
    for name in left:
        why = f"the {limits.total:g} s for all checks were over"
        yield _row(name, "not possible here", time.monotonic(), "", why)


def _work(rows: Connection, names: list[str]) -> None:
    """Run these checks, send a row for each, and end this process."""
    from winipc.cli.checks import CHECKS, NotPossible, settle

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wine = _core._wine_version()
    settle(True)  # starts the peer
    rows.send(None)
    for name in names:
        check = CHECKS[name]
        began = time.monotonic()
        verdict, came, why = "failed", "", ""
        try:
            came = check.run()
            settle(True)
            if came in check.expected.split(" | "):
                verdict = "ok"
            elif check.otherwise:
                verdict, why = "differs", check.otherwise
                if wine is not None:
                    why = f"Wine {wine} says so; on Windows it would mean: {why}"
        except NotPossible as reason:
            verdict, why = "not possible here", str(reason)
        except Exception as error:
            came = f"{type(error).__name__}: {error}"
            why = "\n".join(getattr(error, "__notes__", ()))
            settle(False)
        rows.send(_row(name, verdict, began, came, why))
    settle(False)
    os._exit(0)  # clean-up of what the checks left open could hang
