"""`winipc relay`: the sides of `winipc.relay` until Ctrl+C."""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from winipc.cli.options import Commands, add_command, factor, number, seconds
from winipc.cli.output import print_result, until_ctrl_c

_DESCRIPTION = """Share mappings and windows with other machines, or use here what they
share, through an MQTT 5 broker: see docs/relay.md. The password comes from the
environment variable WINIPC_RELAY_PASSWORD, or from --password-file."""
_PASSWORD = "WINIPC_RELAY_PASSWORD"
_SLICE = 0.2
_printing = threading.Lock()

#: The options of a machine's sides: the class, what it is given, and the help.
_SIDES = {
    "mapping": ("MappingSource", "NAME", "share this machine's mapping"),
    "copy": ("MappingCopy", "NAME", "keep a copy of another machine's mapping"),
    "window": ("WindowTarget", "TITLE", "let others send to this machine's window"),
    "proxy": (
        "WindowProxy",
        "TITLE",
        "open a window whose messages go to another machine's",
    ),
}


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "relay",
        run,
        "share mappings and windows with other machines",
        _DESCRIPTION,
        "relay broker.example --mapping my-app.state --window my-app",
        "relay mqtts://broker.example --user me --copy my-app.state --proxy my-app",
    )
    parser.add_argument(
        "broker", metavar="BROKER", help="host[:port], or mqtts://host[:port] for TLS"
    )
    for option, (_, metavar, help) in _SIDES.items():
        parser.add_argument(
            f"--{option}", action="append", default=[], metavar=metavar, help=help
        )
    parser.add_argument("--user", help="user name for the broker")
    parser.add_argument("--password-file", type=Path, help="file that has the password")
    parser.add_argument("--ca-file", help="PEM file of the authorities to trust")
    parser.add_argument(
        "--cert-file", help="PEM file of a certificate that the broker checks"
    )
    parser.add_argument("--key-file", help="PEM file of that certificate's key")
    parser.add_argument(
        "--keepalive",
        type=number,
        default=15,
        metavar="SECONDS",
        help="ask after so long a silence whether the broker is there (%(default)s)",
    )
    parser.add_argument(
        "--prefix", default="winipc", help="first levels of all topics (%(default)s)"
    )
    parser.add_argument(
        "--rate",
        type=factor,
        default=60.0,
        help="looks for changes a second (%(default)s)",
    )
    parser.add_argument(
        "--patience",
        type=seconds,
        default=4.0,
        metavar="SECONDS",
        help="wait so long for the answer to a message (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    from winipc import relay

    names = {option: getattr(arguments, option) for option in _SIDES}
    if not any(names.values()):
        arguments.parser.error("give a --mapping, --copy, --window or --proxy")
    broker = _broker(arguments)
    with until_ctrl_c() as say, contextlib.ExitStack() as stack:
        sides = []
        more = {
            "mapping": {"rate": arguments.rate},
            "proxy": {"patience": arguments.patience},
        }
        for option, (kind, _, _) in _SIDES.items():
            make = getattr(relay, kind)
            for name in names[option]:
                told = _told(arguments.json, option, name)
                side = make(broker, name, on_event=told, **more.get(option, {}))
                sides.append(stack.enter_context(side))
        say("relaying")
        while not any(side.wait(_SLICE / len(sides)) for side in sides):
            pass
    return 0


def _told(as_json: bool, option: str, name: str) -> Callable[[str], None]:
    def tell(text: str) -> None:
        value = {"side": option, "name": name, "event": text}
        with _printing:  # each side tells on threads of its own
            print_result(as_json, value, f"{option} {name}: {text}")

    return tell


def _broker(arguments: argparse.Namespace) -> Any:
    from winipc.relay import Broker

    text: str = arguments.broker
    port, host = None, ""
    given = urlsplit(text if "://" in text else f"mqtt://{text}")
    with contextlib.suppress(ValueError):  # of a port that is no number
        port, host = given.port, given.hostname or ""
    if given.scheme not in ("mqtt", "mqtts") or not host or given.path.strip("/"):
        arguments.parser.error(f"{text!r} is not host[:port] or mqtts://host[:port]")
    if given.password is not None:
        arguments.parser.error(f"the password belongs in {_PASSWORD}, or in a file")
    password = os.environ.get(_PASSWORD)
    if arguments.password_file is not None:
        password = arguments.password_file.read_text("utf-8-sig").rstrip("\r\n")
    names = ("ca_file", "cert_file", "key_file", "keepalive", "prefix")
    return Broker(
        host,
        port,
        user=arguments.user or given.username,
        password=password,
        tls=given.scheme == "mqtts",
        **{name: getattr(arguments, name) for name in names},
    )
