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
from winipc.cli.targets import offer_mappings, open_mapping

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
    from winipc.cli.served import Heard, Served
    from winipc.cli.server import Application

    if len(arguments.struct) > len(arguments.names):
        arguments.parser.error("there are more --struct than names")
    mappings = dict(itertools.zip_longest(arguments.names, arguments.struct))
    token = os.environ.get(_TOKEN) or secrets.token_urlsafe(24)
    for name in mappings:
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
        served = Served(mappings, heard, arguments.allow_write)
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
