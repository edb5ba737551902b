"""`winipc cassette`: record a live program, show the recording, and play the program.

`record` keeps what a program does: how its mappings change, when its events are set,
which messages its windows receive, and what they answer. `play` is the program's
double: it creates the same names, repeats the changes, and answers as recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from winipc.base.deadline import Deadline
from winipc.base.text import clean, counted
from winipc.base.winerror import ERROR_PATH_NOT_FOUND
from winipc.cassette import Cassette, MessageEvent, Track
from winipc.cassette.events import STATES, CassetteError
from winipc.cassette.recorder import Recorder
from winipc.cli.options import (
    Commands,
    Formatter,
    add_command,
    add_seconds,
    converted,
    factor,
    number,
    positive,
    seconds,
)
from winipc.cli.output import (
    note,
    print_json,
    print_line,
    print_result,
    until_ctrl_c,
)
from winipc.cli.overlay import HELP, Overlay, add_offset
from winipc.cli.targets import add_raw
from winipc.errors import add_hint

#: Seconds of one wait, so that Ctrl+C always comes through.
_SLICE = 0.1

_Value = TypeVar("_Value")


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "cassette",
        help="record a program, and be its double",
        description=__doc__,
        formatter_class=Formatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_record(actions)
    show = add_command(
        actions,
        "show",
        _show,
        "print what a cassette has, in order",
        None,
        'cassette show session.wipc --struct "my-app.state=speed:f32 gear:i32"',
    )
    show.add_argument("file", type=Path, help="a cassette")
    show.add_argument(
        "--struct",
        action="append",
        default=[],
        metavar="[TRACK=]FORMAT",
        type=converted(_track_overlay),
        help="for a mapping, or for the data of a window's messages; without TRACK=, "
        f"for the only one: {HELP}",
    )
    add_offset(show, ", in a mapping")
    add_raw(show)
    play = add_command(
        actions,
        "play",
        _play,
        "play the program of a cassette",
        "Play the program of a cassette. One with windows or receivers answers until "
        "Ctrl+C or --seconds; any other ends with the recording.",
        "cassette play session.wipc --speed 2",
    )
    play.add_argument("file", type=Path, help="a cassette")
    add_playing(play)
    play.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="[RECORDED=]OTHER",
        type=converted(_pair),
        help="another name for an object, a title or a class; without RECORDED=, of "
        "the only one",
    )
    play.add_argument(
        "--bridge",
        action="store_true",
        help="under Wine: native Linux programs map the mappings in /dev/shm",
    )
    play.add_argument(
        "--match",
        choices=("strict", "lenient"),
        default="strict",
        help="answer a message equal to the recorded one, or one with its id "
        "(%(default)s)",
    )
    play.add_argument(
        "--repeat", action="store_true", help="give each answer any number of times"
    )


def add_playing(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how fast and how long to play."""
    parser.add_argument(
        "--speed",
        type=factor,
        default=1.0,
        help="2 for twice as fast, 0 for no waiting at all (%(default)s)",
    )
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    add_seconds(parser)
    parser.add_argument(
        "--keep",
        action="store_true",
        help="after the end, keep the last state and go on answering until Ctrl+C; a "
        "cassette with windows or receivers does so anyway",
    )


def _number_or_text(text: str) -> int | str:
    return number(text) if text[:1].isdigit() else _name(text)


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("a name is not empty")
    return text


def _add_record(actions: Commands) -> None:
    record = add_command(
        actions,
        "record",
        _record,
        "record a live program",
        "Record a live program. With a PROGRAM: start it, and record until it ends.",
        "cassette record session.wipc --mapping my-app.state --seconds 60",
        'cassette record session.wipc --window "My App" -- my-app.exe',
    )
    record.add_argument("file", type=Path, help="a new file")
    for option, what in (
        ("mapping", "a mapping"),
        ("window", "the title of a window of the program"),
        ("window-class", "the class of a window of the program"),
        ("client", "the title of a window to which the program sends on its own"),
        ("message", "a message to record besides WM_COPYDATA"),
        ("broadcast", "a registered message that the program broadcasts"),
        ("exchange", "the title of a receiver of the exchange"),
        ("event", "an event"),
        ("mutex", "a mutex"),
        ("semaphore", "a semaphore"),
    ):
        record.add_argument(
            f"--{option}",
            action="append",
            default=[],
            type=_number_or_text if option == "message" else _name,
            metavar="NAME",
            help=what,
        )
    record.add_argument(
        "--replies",
        type=_number_or_text,
        default="wparam",
        metavar="wparam|OFFSET|none",
        help="where a request names the window that gets the answer; with none, the "
        "program sees the sender's own window (%(default)s)",
    )
    record.add_argument(
        "--rate", type=positive, default=60, help="looks per second (%(default)s)"
    )
    record.add_argument(
        "--on", metavar="EVENT", help="look when this manual-reset event is set instead"
    )
    record.add_argument(
        "--timeout",
        type=seconds,
        help="fail if a name is still missing after this many seconds "
        "(10; 60 with a PROGRAM)",
    )
    add_seconds(record, "; the PROGRAM goes on")
    record.usage = "winipc cassette record [options] FILE [-- PROGRAM ARGUMENT ...]"
    record.set_defaults(program=[])


# ------------------------------------------------------------------ recording


def _record(arguments: argparse.Namespace) -> int:
    replies = None if arguments.replies == "none" else arguments.replies
    window = functools.partial(
        Track, messages=tuple(arguments.message), replies=replies
    )
    windows = [window("window", title) for title in arguments.window]
    windows += [window("window", class_name=name) for name in arguments.window_class]
    timeout = arguments.timeout
    if timeout is None:
        timeout = 60.0 if arguments.program else 10.0
    need_new(arguments.file)
    with _started(arguments.program) as process:
        options = {
            "mappings": arguments.mapping,
            "windows": windows,
            "clients": [window("client", title) for title in arguments.client],
            "broadcasts": arguments.broadcast,
            "exchanges": arguments.exchange,
            "events": arguments.event,
            "mutexes": arguments.mutex,
            "semaphores": arguments.semaphore,
        }
        if not any(options.values()):
            arguments.parser.error(
                "nothing to record: give --mapping, --window, --event, ..."
            )
        record_until(
            arguments,
            lambda: process is not None and process.poll() is not None,
            timeout,
            **options,
            on=arguments.on,
        )
        if process is not None and process.poll():
            note(f"{arguments.program[0]} ended with status {process.returncode:#x}")
    return 0


def need_new(path: Path) -> None:
    """Raise FileExistsError if there is such a file: no recording is lost."""
    if path.exists():
        error = FileExistsError(0, "there is such a file", str(path), 80)
        error.add_note("name another file, or delete it first")
        raise error


@contextlib.contextmanager
def _started(argv: list[str]) -> Iterator[subprocess.Popen[bytes] | None]:
    """Start the program, if there is one; an error in the block kills it.

    If the recording ends first, the program goes on.
    """
    if not argv:
        yield None
        return
    try:
        process = subprocess.Popen(argv)
    except OSError as error:
        error.filename = argv[0]  # Windows does not tell it
        raise
    try:
        yield process
    except BaseException:
        process.kill()
        process.wait()
        raise


def _begun(
    arguments: argparse.Namespace,
    begin: Callable[[], Recorder],
    ended: Callable[[], bool],
    timeout: float,
) -> Recorder:
    """Return the recorder once all names exist; raise if the program ends first."""
    deadline, is_said = Deadline(timeout), False
    while True:
        try:
            return begin()
        except FileNotFoundError as error:
            # Waiting does not help an invalid name or a missing folder.
            if error.winerror in (None, ERROR_PATH_NOT_FOUND):
                raise
            if (left := deadline.part(_SLICE)) == 0:
                if timeout:
                    error.add_note(f"not there within {timeout:g} s")
                raise
            if ended():
                add_hint(error, "the program has ended")
                raise
            if not is_said:
                is_said = True
                # A window's error has no name, but the text "no window with ...".
                what = f"a {str(error.strerror).removeprefix('no ')}"
                if error.filename:
                    what = repr(error.filename)
                note(f"waiting up to {timeout:g} s for {what}")
        time.sleep(left)


def record_until(
    arguments: argparse.Namespace,
    ended: Callable[[], bool],
    timeout: float = 0.0,
    **what: Any,
) -> None:
    """Record until Ctrl+C, `--seconds` or `ended()`; then report."""
    begin = functools.partial(Cassette.record, arguments.file, rate=arguments.rate)
    recorder = _begun(arguments, lambda: begin(**what), ended, timeout)
    try:
        with recorder:
            deadline = Deadline(arguments.seconds)
            with until_ctrl_c() as say:
                say(f"recording to {arguments.file}")
                while deadline.left() != 0 and not ended():
                    if recorder.wait(deadline.part(_SLICE)):
                        break
    finally:
        taken = Cassette(arguments.file).duration_ns / 1e9
        length = arguments.file.stat().st_size
        facts = {
            "file": str(arguments.file),
            "events": recorder.events,
            "seconds": taken,
            "file_bytes": length,
        }
        events = counted(recorder.events, "event")
        text = f"{events} in {taken:.1f} s: {length:,} bytes of file"
        print_result(arguments.json, facts, text)
        if what.get("windows") and not recorder.events:
            note(
                "nothing came; who found the window before the recording began sends "
                "to it past the recorder"
            )


# -------------------------------------------------------------------- playing


def _pair(text: str) -> tuple[str, str]:
    """The two sides of the first =; without a left side, "" and all of the text."""
    name, equals, other = text.partition("=")
    if not name or not equals:
        return "", text
    if not other:
        raise ValueError(f"{text!r} has nothing behind its =")
    return name, other


def _by_track(
    arguments: argparse.Namespace,
    option: str,
    pairs: Iterable[tuple[str, _Value]],
    names: list[str],
) -> dict[str, _Value]:
    """The values by the names of tracks; one without a name is the only track's."""
    values = dict(pairs)
    if "" in values:
        if len(names) != 1:
            example = names[0] if names else "TRACK"
            arguments.parser.error(
                f"name a track, such as {option} {example}=...: the tracks are {names}"
            )
        values[names[0]] = values.pop("")
    return values


def _track_overlay(text: str) -> tuple[str, Overlay]:
    name, form = _pair(text)
    return name, Overlay(form)


def _play(arguments: argparse.Namespace) -> int:
    how = {"match": arguments.match, "repeat": arguments.repeat}
    return play(arguments, "--name", arguments.name, bridge=arguments.bridge, **how)


def play(
    arguments: argparse.Namespace,
    option: str,
    names: Iterable[tuple[str, str]],
    **how: Any,
) -> int:
    """Play; return 1 if an unexpected message came.

    It ends with the recording, or, if clients may still send, with Ctrl+C.

    `names` are pairs, the recorded name and another; "" is the only track's. `option`
    is what takes such pairs.
    """
    cassette = Cassette(arguments.file)
    speed = arguments.speed or math.inf
    tracks = [track.name or track.class_name or "" for track in cassette.tracks]
    others = _by_track(arguments, option, names, tracks)
    try:
        player = Cassette.play(
            cassette, speed=speed, loop=arguments.loop, names=others, **how
        )
    except FileExistsError as error:
        notes = getattr(error, "__notes__", [])
        error.__notes__ = [one.replace("names=", "--name") for one in notes]
        raise
    except CassetteError:
        raise
    except ValueError as error:  # a name that is not there
        arguments.parser.error(str(error))
    answers = any(track.kind in ("window", "exchange") for track in cassette.tracks)
    keep = arguments.keep or answers
    try:
        deadline = Deadline(arguments.seconds)
        with contextlib.closing(player), until_ctrl_c() as say:
            say(f"playing {arguments.file}")
            while deadline.left() != 0:
                if player.wait(deadline.part(_SLICE)) and not keep:
                    break
                if player.finished:
                    player.idle(deadline.part(_SLICE))
    finally:
        left = len(player.unplayed())
        facts = {
            "events": player.events,
            "answers": player.played,
            "unplayed": left,
            "unexpected": player.unexpected,
        }
        played = f"{counted(player.events, 'event')} played"
        answered = f"{counted(player.played, 'message')} answered"
        text = f"{played}, {answered}, {left} not asked for"
        print_result(arguments.json, facts, text)
        for complaint in player.unexpected:
            note(complaint)
    if not cassette.complete:
        note(f"{arguments.file} ends early; what is whole was played")
    return 1 if player.unexpected else 0


# -------------------------------------------------------------------- showing


def _show(arguments: argparse.Namespace) -> int:
    from winipc.cassette.timeline import timeline

    cassette = Cassette(arguments.file)
    tracks = [track.name for track in cassette.tracks if track.kind not in STATES]
    overlays = _by_track(arguments, "--struct", arguments.struct, tracks)
    if unknown := sorted(overlays.keys() - {*tracks}):
        wrong = f"--struct: no track is called {unknown[0]!r}"
        arguments.parser.error(f"{wrong}: the tracks are {tracks}")
    decoders = {
        name: overlay.as_json if arguments.json else overlay.line
        for name, overlay in overlays.items()
    }
    for index, track in enumerate(cassette.tracks):
        if track.kind == "mapping" and (overlay := overlays.get(track.name)):
            # It raises if the values are not inside.
            form, offset = f"{overlay.size}s", arguments.offset
            cassette.records(form, offset, index, raw=arguments.raw)
    for row in timeline(cassette, decoders, arguments.offset, arguments.raw):
        if arguments.json:
            print_json(_as_json(row))
        else:
            name = row.track.name or row.track.class_name or row.track.kind
            print_line(f"{row.seconds:12.6f}  {clean(name)}  {row.text}")
    if not cassette.complete:
        note(f"{arguments.file} ends early")
    return 0


def _as_json(row: Any) -> dict[str, Any]:
    event = row.event
    facts = event.as_json()
    if isinstance(event, MessageEvent):
        facts = {"way": event.way, "message": event.message, **facts}
    value = {} if row.value is None else {"value": row.value}
    track = {"track": row.track.name, "kind": row.track.kind}
    return {"seconds": row.seconds, **track, **facts, **value}
