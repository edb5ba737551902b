"""`winipc doctor`: try what this system lets this process do."""

from __future__ import annotations

import argparse
import os
import platform
import struct
import sys
import uuid
from collections.abc import Callable
from typing import Any

import winipc
from winipc import _core
from winipc.cli.options import Commands, add_command
from winipc.cli.output import one_line, print_json, print_line, print_table
from winipc.errors import add_hint
from winipc.process._denied import level_name, process_facts


def add(commands: Commands) -> None:
    add_command(
        commands,
        "doctor",
        run,
        "say what this system allows",
        f"{__doc__} The status is 1 if something failed that should always work.",
        "doctor",
    )


def run(arguments: argparse.Namespace) -> int:
    known = facts()
    checks = _checks()
    if arguments.json:
        print_json(known | {"checks": checks})
    else:
        width = max(map(len, known)) + 2
        for name, value in known.items():
            if value is not None:
                print_line(f"{name:<{width}}{value}")
        print_line("")
        print_table(
            ("check", "result", "why"),
            [tuple(check.values()) for check in checks],
            styles=[
                {"FAILED": "bold red", "no": "yellow"}.get(check["result"], "")
                for check in checks
            ],
        )
    return 1 if any(check["result"] == "FAILED" for check in checks) else 0


def facts() -> dict[str, Any]:
    """The versions of the system, Python and winipc, and the rights of this process."""
    version = sys.getwindowsversion()
    mine = process_facts(os.getpid())
    return {
        "winipc": winipc.__version__,
        "python": platform.python_version(),
        "bits": 8 * struct.calcsize("P"),
        "windows": f"{version.major}.{version.minor}.{version.build}",
        "wine": _core._wine_version(),
        "session": mine.session,
        "user": mine.user,
        "integrity": level_name(mine.integrity),
        "elevated": _core._process_token(os.getpid())[0],
    }


def _checks() -> list[dict[str, str]]:
    name = f"winipc-doctor-{uuid.uuid4().hex}"
    everywhere = f"Global\\{name}"
    return [
        _try("a named mapping", lambda: _mapping(name)),
        _try("a window that takes messages", lambda: _window(name)),
        _try("the shared section's DLL", lambda: winipc.SharedSection.load().close()),
        _try("memory of another process", _process),
        _try("the list of named objects", lambda: winipc.named_objects("mapping")),
        _try("a mapping for all sessions", lambda: _mapping(everywhere), may=True),
        _try("a mapping with large pages", _large_pages, may=True),
        _try("processes of other users", _debug, may=True),
        _try(
            "a bridge to Linux programs", lambda: winipc.bridge(name).close(), may=True
        ),
    ]


def _try(what: str, act: Callable[[], object], *, may: bool = False) -> dict[str, str]:
    """Call `act`: the result is "ok" or "FAILED"; with `may`, a failure is "no"."""
    try:
        act()
    except (OSError, ValueError, RuntimeError) as error:
        result = "no" if may else "FAILED"
        return {"what": what, "result": result, "why": one_line(error)}
    return {"what": what, "result": "ok", "why": ""}


def _mapping(name: str) -> None:
    with winipc.SharedMapping.create(name, 4096) as mapping:
        mapping.write(b"winipc")
        with winipc.SharedMapping.open(name, access="read") as other:
            if other.read(6) != b"winipc":
                raise RuntimeError("other bytes were read than were written")


def _window(name: str) -> None:
    with winipc.CopyDataWindow.create(name) as window:
        winipc.send_copydata(name, b"winipc", timeout=5)
        if bytes(window.receive(5)) != b"winipc":
            raise RuntimeError("other bytes came than were sent")


def _process() -> None:
    with (
        winipc.GlobalMemory.allocate(16) as block,
        winipc.RemoteProcess.open(os.getpid()) as process,
    ):
        block.write(b"winipc")
        if process.read(block.address, 6) != b"winipc":
            raise RuntimeError("other bytes were read than were written")


def _large_pages() -> None:
    try:
        winipc.SharedMapping.create(None, 1 << 21, large_pages=True).close()
    except OSError as error:
        if _core._wine_version() is not None:
            add_hint(error, "Wine has no large pages")
        raise


def _debug() -> None:
    try:
        with winipc.debug_privilege():
            pass
    except PermissionError as error:
        add_hint(error, "processes of this user can still be opened")
        raise
