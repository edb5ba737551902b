"""A fuzzer of the reader of cassettes, for as long as it is told.

    ./dev python tests/fuzz/fuzz_cassette.py SECONDS [SEED]

It changes bytes of a file, of what its members hold, and values in its lines. Whatever
comes of it has to be events or a CassetteError. It prints the seed of what fails.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 7, 64, 65, 1 << 31, 1 << 32, 1 << 63, 1 << 64),
    *(1 << 200, 0.5, "", "x", "\0", "YWJj", "YQ==", "====", "é", "\ud800", "wparam"),
    *(
        "in",
        "out",
        [],
        [[]],
        [0],
        [[0, "YQ=="]],
        [[63, "YWJj"]],
        {},
        {"kind": "mapping"},
    ),
]


def _changed_row(row: Any, source: random.Random) -> Any:
    """The row with one value, somewhere in it, replaced, removed or doubled."""
    if isinstance(row, dict) and row and source.random() < 0.8:
        key = source.choice(list(row))
        if source.random() < 0.2:
            return {k: v for k, v in row.items() if k != key}
        if source.random() < 0.1:
            return {**row, source.choice(["more", "end", "t", "track"]): row[key]}
        return {**row, key: _changed_row(row[key], source)}
    if isinstance(row, list) and row and source.random() < 0.8:
        at = source.randrange(len(row))
        if source.random() < 0.2:
            return row[:at] + row[at + 1 :]
        return [
            *row[:at],
            _changed_row(row[at], source),
            *row[at + source.choice((0, 1)) :],
        ]
    return source.choice(_VALUES)


def _changed_bytes(data: bytes, source: random.Random) -> bytes:
    new = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 8))):
        at = source.randrange(len(new) + 1)
        what = source.random()
        if what < 0.6 and at < len(new):
            new[at] = source.choice((0, 255, new[at] ^ 1 << source.randrange(8)))
        elif what < 0.8:
            del new[at : at + source.choice((1, 4, 1000))]
        else:
            new[at:at] = source.randbytes(source.choice((1, 4, 100)))
    return bytes(new)


def mutated(data: bytes, source: random.Random) -> bytes:
    """Another file made of this one."""
    level = source.random()
    if level < 0.2:
        return _changed_bytes(data, source)
    text = gzip.decompress(data)
    if level < 0.4:
        return gzip.compress(_changed_bytes(text, source), 1)
    rows = [json.loads(line) for line in text.splitlines()]
    for _ in range(source.choice((1, 1, 3))):
        at = source.randrange(len(rows))
        rows[at] = _changed_row(rows[at], source)
        if source.random() < 0.1:
            rows.insert(source.randrange(len(rows)), source.choice(rows))
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), 1)


def main() -> None:
    from winipc import (
        Cassette,
        CassetteError,
        ChangeEvent,
        MessageEvent,
        StateEvent,
        Track,
    )
    from winipc.cassette.file import Writer

    seconds = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    path = Path(tempfile.mkdtemp()) / "file.wipc"
    tracks = (
        Track("mapping", "m", size=64),
        Track("semaphore", "s", maximum=3),
        Track("window", "w", messages=("a", 5), replies=8, class_name="c"),
    )
    with Writer(path, tracks) as writer:
        for n in range(9):
            for event in (
                ChangeEvent(n, 0, ((n, b"abc"), (60, b"x")), n % 3 == 0),
                ChangeEvent(n, 0, ((5, b"y"),)),
                StateEvent(n, 1, n % 4),
                MessageEvent(n, 2, id=n, data=bytes(n), answer=1, number=n),
                MessageEvent(n, 2, "out", data=b"answer", to=n),
            ):
                writer.add(event, stamp=False)
    assert len(list(Cassette(path))) == 45
    whole = path.read_bytes()
    began, count, errors = time.monotonic(), 0, 0
    while time.monotonic() - began < seconds:
        source = random.Random(seed + count)
        path.write_bytes(mutated(whole, source))
        count += 1
        try:
            cassette = Cassette(path)
            for event in cassette:
                str(event)
            str(cassette)
        except CassetteError:
            errors += 1
        except BaseException:
            print(f"seed {seed + count - 1}", flush=True)
            raise
    print(f"{count} files, of which {errors} were errors")


if __name__ == "__main__":
    main()
