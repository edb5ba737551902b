"""`winipc serve`: this session in the browser, and as JSON for dashboards."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import os
import secrets
import socket
from typing import Any

from winipc.cli.options import Commands, add_command, converted, port, title
from winipc.cli.output import note, one_line, print_json, until_ctrl_c
from winipc.cli.overlay import HELP, Overlay
from winipc.cli.targets import (
    check_fields,
    offer_mappings,
    open_mapping,
    protocol,
)

_DESCRIPTION = """Serve a page that shows named objects, windows, processes, mappings
and messages as they change, and the same as JSON. Only browsers on this computer reach
it, and only with its address, which has a token in it: see docs/serve.md."""
#: The variable that holds the token; without it, each run makes a new one.
_TOKEN = "WINIPC_SERVE_TOKEN"


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "serve",
        run,
        "show this session in the browser",
        _DESCRIPTION,
        'serve my-app.state --struct "speed:f32 gear:i32"',
        "serve --listen my-app.page --port 8000",
    )
    names = parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a mapping to begin with"
    )
    offer_mappings(names)
    parser.add_argument(
        "--struct",
        action="append",
        default=[],
        type=converted(Overlay),
        metavar="FORMAT",
        help=f"values of a NAME, in the order of the names: {HELP}",
    )
    parser.add_argument(
        "--snapshot",
        action="append",
        default=[],
        type=converted(lambda text: None if text == "none" else protocol(text)),
        metavar="KIND",
        help="whole records of a NAME, in the order of the names; none for a mapping "
        "without them; see dump --help",
    )
    parser.add_argument(
        "--listen",
        action="append",
        default=[],
        type=title,
        metavar="TITLE",
        help="open a window of this title, and show its messages",
    )
    parser.add_argument(
        "--attach",
        action="append",
        default=[],
        type=title,
        metavar="TITLE",
        help="show the messages to the window of this title; they pass through winipc",
    )
    parser.add_argument(
        "--port", type=port, default=0, help="port of 127.0.0.1 (any free one)"
    )
    parser.add_argument(
        "--allow-write", action="store_true", help="let the page write to mappings"
    )


def run(arguments: argparse.Namespace) -> int:
    try:
        uvicorn: Any = importlib.import_module("uvicorn")
        importlib.import_module("starlette")
    except ImportError:
        raise ValueError(
            "winipc serve needs starlette and uvicorn: pip install winipc[serve]"
        ) from None
    from winipc.cli.served import Heard, Named, Served
    from winipc.cli.server import Application

    named: dict[str, Named] = {}
    given = arguments.names, arguments.struct, arguments.snapshot
    if 0 < len(arguments.snapshot) < len(arguments.names):
        arguments.parser.error("each name needs its --snapshot, which may be none")
    for name, overlay, how in itertools.zip_longest(*given):
        if name is None:
            arguments.parser.error("there are more --struct or --snapshot than names")
        if how is not None:
            if overlay is None:
                arguments.parser.error("--snapshot needs the --struct of its name")
            check_fields(arguments.parser, overlay.layout, how)
        named[name] = Named(overlay, how)
    token = os.environ.get(_TOKEN) or secrets.token_urlsafe(24)
    for name in named:
        try:
            open_mapping(name).close()
        except OSError as error:
            note(f"{one_line(error)}; the page shows it as soon as it can be opened")
    with contextlib.closing(Heard()) as heard, _listening(arguments.port) as listener:
        for title in arguments.listen:
            heard.listen(title)
        for title in arguments.attach:
            heard.attach(title)
        port = listener.getsockname()[1]
        served = Served(named, heard, arguments.allow_write)
        application = Application(served, token, port, lambda: server.should_exit)
        config = uvicorn.Config(
            application,
            **{"http": "h11", "ws": "none", "lifespan": "off", "loop": "asyncio"},
            **{"log_level": "warning", "access_log": False, "server_header": False},
            **{"proxy_headers": False, "timeout_graceful_shutdown": 5},
        )
        server = uvicorn.Server(config)
        url = f"http://127.0.0.1:{port}/#{token}"
        if arguments.json:
            print_json({"url": url, "port": port, "token": token})
        else:
            note(f"{url}\nCtrl+C ends")
        with until_ctrl_c():  # after Ctrl+C, run() raises KeyboardInterrupt
            server.run(sockets=[listener])
    return 0


def _listening(port: int) -> socket.socket:
    """A socket that only this computer reaches, on a port that nobody can take over."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener
