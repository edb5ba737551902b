"""A trainer: finds a number in a game by what it does, and sets or freezes it.

It knows nothing of the game but what the player sees: the number now, and whether it
went up or down since. tests/process/peers/toy_game.c is a game to try it with.

    python trainer.py GAME.EXE

For single-player games of your own machine: others forbid it, and look for it.
"""

from __future__ import annotations

import argparse
import struct
import sys
import threading
from types import TracebackType
from typing import Any

import winipc

_RIGHTS = winipc.ProcessAccess.READ | winipc.ProcessAccess.WRITE

HELP = """\
  = NUMBER    it is this now; the first time looks everywhere, then narrows down
  + - ~ .     it went up, went down, changed, stayed
  list        where it may be
  only ADDRESS   it is this one
  set NUMBER  write it there
  freeze NUMBER, thaw   keep it so
  quit"""


class Trainer:
    """Searches one i32 of a process."""

    def __init__(self, target: Any) -> None:
        self.process = winipc.RemoteProcess.open(target, access=_RIGHTS)
        self.found: winipc.CandidateSet | None = None
        self.only: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def is_now(self, number: int) -> int:
        """It has this value now; how many places are left."""
        if self.found is None:
            self.found = winipc.CandidateSet.scan(self.process, "i32", equals=number)
            return len(self.found)
        return self.found.rescan("equals", number)

    def has(self, change: str) -> int:
        """It did this since the last time: "increased", "decreased", ..."""
        if self.found is None:
            self.found = winipc.CandidateSet.scan(self.process, "i32")
            return len(self.found)
        return self.found.rescan(change)

    @property
    def addresses(self) -> list[int]:
        """Where it may be, or the one that was chosen."""
        if self.only is not None:
            return [self.only]
        return [] if self.found is None else list(self.found)

    def set(self, number: int) -> None:
        """Write it to all places that are left."""
        self._write(self.addresses, packed(number))

    def freeze(self, number: int, interval: float = 0.02) -> None:
        """Write it again and again until `thaw`, or until the game ends."""
        data = packed(number)
        # Those of now: the next search may leave others, or none.
        addresses = self.addresses
        self.thaw()
        # Failed writes are reported here, since the thread cannot report them.
        self._write(addresses, data)
        self._stop.clear()

        def keep() -> None:
            try:
                while not self._stop.wait(interval):
                    self._write(addresses, data)
            except OSError:
                pass  # the game has ended

        self._thread = threading.Thread(target=keep, daemon=True)
        self._thread.start()

    def _write(self, addresses: list[int], data: bytes) -> None:
        for address in addresses:
            self.process.write(address, data)

    def thaw(self) -> None:
        """Let the game change it again."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Let go of the game, which goes on."""
        self.thaw()
        if self.found is not None:
            self.found.close()
        self.process.close()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def packed(number: int) -> bytes:
    """The number as the game has it; ValueError when it is none of 32 bits."""
    try:
        return struct.pack("<i", number)
    except struct.error:
        raise ValueError(f"{number} does not fit in i32") from None


CHANGES = {"+": "increased", "-": "decreased", "~": "changed", ".": "unchanged"}


def obey(trainer: Trainer, line: str) -> str:
    """One line of the player; the answer."""
    word, _, rest = line.strip().partition(" ")
    if word == "=":
        return f"{trainer.is_now(int(rest))} places"
    if word in CHANGES:
        return f"{trainer.has(CHANGES[word])} places"
    if word == "list":
        found = trainer.addresses
        return "\n".join(f"{address:#x}" for address in found[:20]) or "nowhere"
    if word == "only":
        address = trainer.process.address(rest)
        trainer.process.read(address, 4)  # an error when there is nothing
        trainer.only = address
        return "the others are left alone"
    if word == "set":
        trainer.set(int(rest))
        return "written"
    if word == "freeze":
        trainer.freeze(int(rest))
        return "frozen"
    if word == "thaw":
        trainer.thaw()
        return "thawed"
    return HELP


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("game", help="process id, or game.exe")
    game = parser.parse_args().game
    with Trainer(int(game) if game.isdecimal() else game) as trainer:
        print(HELP)
        for line in sys.stdin:
            if line.strip() == "quit":
                break
            try:
                print(obey(trainer, line), flush=True)
            except (ValueError, OverflowError, LookupError, OSError) as error:
                print(error, flush=True)


if __name__ == "__main__":
    main()
