"""`winipc write`: write bytes, text or a number to a mapping or to process memory."""

from __future__ import annotations

import argparse
import contextlib
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winipc.base.text import counted
from winipc.cli.options import Commands, add_command, add_seconds, converted, seconds
from winipc.cli.output import print_result, until_ctrl_c
from winipc.cli.overlay import add_struct, field_of
from winipc.cli.scan import WORDS, number_of, value_type
from winipc.cli.targets import (
    LOCK_TIMEOUT,
    add_raw,
    add_target,
    open_target,
    protocol,
    record_to_write,
)
from winipc.scan.scan import ValueType

if TYPE_CHECKING:
    from collections.abc import Callable

    from winipc.memory.layout import Field
    from winipc.process.freeze import Freeze

#: Seconds between two looks at a frozen value, or whether its process has ended.
_LOOK = 0.05


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "write",
        run,
        "write memory",
        "Write bytes, text or a number to a mapping or to memory of a process. The "
        "lock of a winipc.LockedMapping is held meanwhile, and those who wait for a "
        "change are woken. In other memory, programs may see half of the change.",
        'write my-app.state "01 00 00 00"',
        'write my-app.state --struct "speed:f32 gear:i32" --field gear 4',
        'write my-app.car --struct "speed:f32 gear:i32" --field gear 4 '
        "--snapshot seqlock",
        "write my-app.state --offset 4 --type f32 52.5",
        "write 1234:0x7ff6a0001000 --type i32 100",
        "write game.exe:game.exe+0x10f4 --type i32 100 --freeze",
    )
    add_target(parser)
    parser.add_argument(
        "data", help="bytes in hexadecimal, or as --type, --field or --file say"
    )
    add_struct(parser, "where --field is")
    parser.add_argument(
        "--field",
        help="DATA is the value of this field: a number, a text, the name of an enum's "
        'member, or JSON such as [1, 2] or, for some members of a structure, {"x": 1}',
    )
    parser.add_argument(
        "--snapshot",
        metavar="KIND",
        type=converted(protocol),
        help="seqlock or double: write the field in a whole record of a "
        "winipc.Snapshot, whose sequence is at --offset; --struct describes all of the "
        "record. It has one writer: no other may be at work meanwhile",
    )
    parser.add_argument(
        "--type",
        default="hex",
        type=value_type("hex", "text", "utf-16"),
        metavar="TYPE",
        help=f"what DATA is: {WORDS}, or {' '.join(map(str, ValueType))}; no NUL is "
        "added to a text",
    )
    parser.add_argument(
        "--file", action="store_true", help="DATA is a file: write its bytes"
    )
    add_raw(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=LOCK_TIMEOUT,
        help="fail when the lock of a winipc.LockedMapping is not free for this many "
        "seconds (%(default)s)",
    )
    parser.add_argument(
        "--freeze",
        action="store_true",
        help="write again and again until Ctrl+C, to a mapping whenever it differs",
    )
    add_seconds(parser, ", with --freeze")


def run(arguments: argparse.Namespace) -> int:
    if arguments.seconds is not None and not arguments.freeze:
        arguments.parser.error("only --freeze has --seconds")
    field = None
    if arguments.field is not None:
        if arguments.file or arguments.type != "hex":
            arguments.parser.error("a field has its own type")
        field = field_of(arguments, arguments.field)
        if arguments.snapshot is not None:
            return _write_record(arguments, field)
        data = bytes(field.size)
        arguments.offset += field.offset
    elif arguments.snapshot is not None:
        arguments.parser.error("--snapshot needs --struct and --field")
    elif arguments.struct is not None:
        arguments.parser.error("--struct needs a --field of it")
    elif arguments.file:
        data = Path(arguments.data).read_bytes()
    else:
        try:
            data = _data(arguments.type, arguments.data)
        except (ValueError, OverflowError) as error:
            arguments.parser.error(str(error))
    if not data:
        arguments.parser.error("there is nothing to write")
    arguments.size = len(data)
    with contextlib.ExitStack() as held:
        target = held.enter_context(open_target(arguments, write=True))
        frozen: Freeze | None = None
        with target.changing(arguments.timeout):
            if field is not None:
                if target.address == field.offset and (
                    told := target.difference(arguments.struct.layout)
                ):
                    from winipc.memory.layout import LayoutError

                    raise LayoutError(f"nothing is written: {told}")
                data = _given(arguments, field, target.read())
            if arguments.freeze and not target.is_mapping:
                frozen = held.enter_context(target.freeze(data))
            else:
                target.write(data)
        print_result(
            arguments.json,
            {"target": target.label, "address": target.address, "bytes": len(data)},
            f"{counted(len(data), 'byte')} written to {target.name} at "
            f"{target.address:#x}",
        )
        if frozen is not None:
            _hold(lambda: not frozen.closed, arguments.seconds)
    if arguments.freeze and frozen is None:
        _keep(arguments, field, data)
    return 0


def _write_record(arguments: argparse.Namespace, field: Field) -> int:
    """Write a field in a whole record of a Snapshot."""
    if "kind" not in arguments.snapshot:
        arguments.parser.error("a record of another program is for reading only")
    if arguments.freeze:
        arguments.parser.error("--freeze and --snapshot do not go together")
    from winipc.memory.snapshot import HEADER

    with record_to_write(arguments) as snapshot:
        data = bytearray(bytes(snapshot.read()))
        place = slice(field.offset, field.offset + field.size)
        data[place] = _given(arguments, field, bytes(data[place]))
        snapshot.write(data)
    name, size = arguments.target, len(data)
    print_result(
        arguments.json,
        {"target": name, "address": arguments.offset + HEADER, "bytes": size},
        f"a record of {counted(size, 'byte')} written to {name}",
    )
    return 0


def _given(arguments: argparse.Namespace, field: Field, old: bytes) -> bytes:
    """The bytes of the field with the value of DATA; ends with an error if wrong."""
    parser: argparse.ArgumentParser = arguments.parser
    try:
        return _packed(field, arguments.data, old)
    except (ValueError, TypeError, LookupError) as error:
        parser.error(str(error))


def _keep(arguments: argparse.Namespace, field: Field | None, data: bytes) -> None:
    """Write to a mapping whenever it differs; it is open only during a look."""

    def new(old: bytes) -> bytes:
        return data if field is None else _packed(field, arguments.data, old)

    def look() -> bool:
        with open_target(arguments, write=True) as target:
            if new(old := target.read()) != old:
                with target.changing(arguments.timeout):
                    target.write(new(target.read()))
        return True

    _hold(look, arguments.seconds)


def _hold(look: Callable[[], bool], seconds: float | None) -> None:
    """Look again and again until Ctrl+C, a False or the end of the time."""
    from winipc.base.deadline import Deadline

    deadline = Deadline(seconds)
    with until_ctrl_c() as say:
        say("written again and again")
        while deadline.left() != 0 and look():
            time.sleep(deadline.part(_LOOK))


def _packed(field: Field, value: Any, old: bytes) -> bytes:
    """The bytes of the field with the given value; the rest stays as in `old`."""
    import json

    if not field.is_text:
        for convert in (lambda text: int(text, 0), float, json.loads):
            with contextlib.suppress(ValueError):
                value = convert(value)
                break
    if not (isinstance(field.kind, str) or field.shape) and isinstance(value, str):
        like = f'{{"MEMBER": 1}}; or write --field {field.name}.MEMBER'
        raise ValueError(f"{field.name}: {value!r} is not JSON, such as {like}")
    return field.pack(value, old)


def _data(kind: str | ValueType, text: str) -> bytes:
    if isinstance(kind, ValueType):
        number = number_of(text, kind, kind.is_float)
        return struct.pack(kind.format, number if kind.is_float else kind.check(number))
    if kind == "hex":
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise ValueError(
                f"{text!r} is not hexadecimal, two digits for each byte "
                "(--type text writes text, --type i32 a number)"
            ) from None
    return text.encode("utf-8" if kind == "text" else "utf-16-le")
