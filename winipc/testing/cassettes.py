"""`open_cassette`: record a test's program, or play it, by the record mode."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from winipc.cassette import Cassette
from winipc.cassette.player import Player
from winipc.cassette.recorder import Recorder
from winipc.message.message import WM_COPYDATA

RecordMode: TypeAlias = Literal["none", "once", "new", "all"]


def _keywords(function: Callable[..., object]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}


@contextlib.contextmanager
def open_cassette(
    path: Path,
    mode: RecordMode,
    *,
    keep: Callable[[], bool] = lambda: True,
    **options: Any,
) -> Iterator[Player | Recorder]:
    """The double of a recorded program, or a recorder of the live one.

    Args:
        path: The path of the cassette.
        mode: "none" plays; "once" plays the cassette, or records it if it is missing;
            "new" plays the messages that the cassette has, and adds all others; "all"
            records again.
        keep: A function that decides, at the end of a recording, whether it becomes the
            cassette.
        options: Keywords of `Cassette.record` and `Cassette.play`; each takes its own.

    At the end, the player is closed without a `check`.

    Raises:
        FileNotFoundError: There is nothing to play.

    The other errors are those of these two methods.
    """
    records, plays = _keywords(Cassette.record) - {"known"}, _keywords(Cassette.play)
    for unknown in options.keys() - records - plays:
        names = ", ".join(sorted(records | plays))
        raise TypeError(f"a cassette has no {unknown!r}, but {names}")
    there = path.exists()
    if mode == "none" or (mode == "once" and there):
        if not there:
            raise FileNotFoundError(0, "there is no such cassette", str(path), 2)
        own = {key: options[key] for key in options if key in plays}
        with contextlib.closing(Cassette.play(path, **own)) as player:
            yield player
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)  # a run that was killed may have left it
    own = {key: options[key] for key in options if key in records}
    if mode == "new" and there:
        own["known"] = Cassette(path)
    try:
        with contextlib.closing(Cassette.record(part, **own)) as recorder:
            yield recorder
        if keep():
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def summary(cassette: Player | Recorder, *, kept: bool) -> str:
    """A line about what was recorded, or not played; "" if all was played."""
    if isinstance(cassette, Recorder):
        if not kept:
            return "not kept, as the test did not pass"
        return f"recorded, {cassette.events} events"
    left = cassette.unplayed()
    if not left:
        return ""
    first = left[0]
    copydata = first.message == WM_COPYDATA
    what = f"id {first.id:#x}" if copydata else f"message {first.message!r}"
    return (
        f"{len(left)} of {len(left) + cassette.played} messages not sent, first {what}"
    )
