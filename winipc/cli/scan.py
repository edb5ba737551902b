"""`winipc scan`: find a pattern or a number in the memory of a process."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from winipc.base.text import counted, meant
from winipc.cli.options import (
    Commands,
    add_command,
    add_process,
    converted,
    positive,
)
from winipc.cli.output import note, print_result
from winipc.cli.terminal import console, is_terminal
from winipc.process.process import RemoteProcess
from winipc.scan.scan import Pattern, ValueType, protection_mask

#: What --type takes besides numbers, for its help.
WORDS = "hex (if not given), text (or utf-8), utf-16 (or utf-16-le)"
#: Words of --type by the encodings, as Python calls of winipc name them.
_ENCODINGS = {"utf-8": "text", "utf-16-le": "utf-16"}
#: What may be meant as a number; the group is there if it is no integer.
_NUMBER = re.compile(r"-?\d+(\.\d*)?")
#: What may be meant as numbers from one to another.
_RANGE = re.compile(r"(-?[\d.]*\d) *(?:-|\.{2,3}|:) *(-?[\d.]+)")
_NEEDS = "and a number needs its --type, such as "
#: A letter that is no hexadecimal digit.
_NO_HEX = re.compile(r"[^\W\d_a-fA-F]")


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "scan",
        run,
        "search a process",
        "Find a pattern or a number in the memory of a process. winipc.CandidateSet in "
        "Python also finds values that change, and narrows them down.",
        'scan 1234 "48 8B ?? ??"',
        "scan game.exe 100 --type i32 --protection rw",
        "scan game.exe 1.5..2.5 --type f32",
        "scan game.exe hello --type text",
    )
    # argparse takes a minus for an option, unless a number follows; so does a range.
    parser._negative_number_matcher = re.compile(r"-\.?\d[\d.]*(\.\.-?[\d.]+)?$")
    add_process(parser)
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        help='bytes in hexadecimal, ? for any digit, such as "48 8B ?? 05"; or what '
        "--type says; A..B are the numbers from A to B",
    )
    parser.add_argument(
        "--type",
        type=value_type("hex", "text", "utf-16", "any"),
        metavar="TYPE",
        help=f"what PATTERN is: {WORDS}, any (a number of each "
        f"type that can hold it), or {' '.join(map(str, ValueType))}",
    )
    parser.add_argument(
        "--protection",
        type=converted(protection_mask),
        metavar="RWX",
        help="only memory that allows this, such as rw or x (all that can be read)",
    )
    parser.add_argument("--limit", type=positive, help="end after this many matches")
    parser.add_argument(
        "--no-progress", action="store_true", help="no progress bar on a terminal"
    )


def run(arguments: argparse.Namespace) -> int:
    wanted = arguments.type or "hex"
    try:
        pattern = _pattern(wanted, arguments.pattern)
    except (ValueError, OverflowError) as error:
        arguments.parser.error(str(error))
    if not arguments.type and arguments.pattern.isdecimal():
        note(f"the pattern is bytes in hexadecimal, {_NEEDS}i32")
    found = 0
    with (
        RemoteProcess.open(arguments.pid) as process,
        _progress(not arguments.no_progress) as progress,
    ):
        modules = process.modules()
        has_value = isinstance(wanted, ValueType) and ".." in arguments.pattern
        with process.scan(
            {wanted: pattern} if isinstance(pattern, Pattern) else pattern,
            protection=arguments.protection,
            limit=arguments.limit,
            progress=progress,
        ) as scan:
            for address, kind in scan:
                found += 1
                module = next((row for row in modules if address in row), None)
                place = f"{module.name}+{address - module.base:#x}" if module else None
                fields = {"address": address, "type": str(kind), "place": place}
                shown = f"{kind!s:4}  " if wanted == "any" else ""
                if has_value:
                    fields["value"] = _value(process, address, kind)
                    shown = f"{fields['value']}  "
                text = f"{address:#018x}  {shown}{place or ''}".rstrip()
                print_result(arguments.json, fields, text)
            scanned, skipped = scan.scanned, scan.skipped
    what = counted(f"{scanned:,}", "byte")
    end = "; --limit ended the scan" if found == arguments.limit else ""
    note(f"{found:,} found in {what}; {skipped:,} could not be read{end}")
    return 0


def _value(process: RemoteProcess, address: int, kind: object) -> Any:
    """The number of a match, which may be another one by now; None if it is gone."""
    with contextlib.suppress(OSError):
        return process.get(address, str(kind))
    return None


def value_type(*words: str) -> Callable[[str], str | ValueType]:
    """Make a converter of --type, for `type=`: one of the words, or a number's type."""

    def convert(text: str) -> str | ValueType:
        text = _ENCODINGS.get(text, text)
        try:
            return text if text in words else ValueType.named(text)
        except ValueError as error:
            known = [*words, *_ENCODINGS]
            hint = meant(text, [*known, *map(str, ValueType)])
            told = f"{error}; and {', '.join(known)}{hint}"
            raise argparse.ArgumentTypeError(told) from None

    return convert


def _pattern(kind: str | ValueType, text: str) -> Pattern | dict[ValueType, Pattern]:
    if kind == "hex":
        try:
            return Pattern.hex(text)
        except ValueError as error:
            if number := _NUMBER.fullmatch(text):
                kind = "f32" if number[1] else "i32"
                raise ValueError(f"{text!r} is no bytes, {_NEEDS}{kind}") from None
            if ends := _RANGE.fullmatch(text):
                more = f"numbers of a range: {ends[1]}..{ends[2]} --type i32"
                raise ValueError(f"{text!r} is no bytes; {more}") from None
            more = "; a text needs --type text" if _NO_HEX.search(text) else ""
            raise ValueError(f"{error}{more}") from None
    if kind == "text":
        return Pattern.text(text)
    if kind == "utf-16":
        return Pattern.text(text, "utf-16-le")
    if isinstance(kind, ValueType):
        low, dots, high = (part.strip() for part in text.partition(".."))
        if dots:
            if not (low and high):
                raise ValueError(f"{text!r} lacks an end; a range is such as 90..110")
            limits = [number_of(end, kind, kind.is_float) for end in (low, high)]
            return Pattern.range(kind, *limits)
        if ends := _RANGE.fullmatch(text):
            raise ValueError(f"{text!r} is no number; a range is {ends[1]}..{ends[2]}")
        return Pattern.value(kind, number_of(text, kind, kind.is_float))
    return Pattern.any_type(number_of(text, kind, "." in text))


def number_of(text: str, kind: object, is_float: bool) -> float:
    try:
        return float(text) if is_float else int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is no number of type {kind}") from None


@contextlib.contextmanager
def _progress(wanted: bool) -> Iterator[Callable[[int, int], object] | None]:
    """Draw a bar if standard error is a terminal; results are printed above it."""
    terminal = console(sys.stderr) if wanted else None
    if terminal is not None:
        bars = importlib.import_module("rich.progress")
        with bars.Progress(
            console=terminal, transient=True, redirect_stdout=is_terminal(sys.stdout)
        ) as bar:
            task = bar.add_task("scanning")
            try:
                yield lambda done, total: bar.update(task, completed=done, total=total)
            except KeyboardInterrupt:
                with terminal.capture():  # rich would print it a second time
                    raise
    elif wanted and is_terminal(sys.stderr):
        yield _plain_progress
        print(file=sys.stderr)
    else:
        yield None


def _plain_progress(done: int, total: int) -> None:
    percent = 100 * done // max(total, 1)
    print(f"\rscanning {percent:3} %", end="", file=sys.stderr, flush=True)
