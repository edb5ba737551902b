"""A trainer: finds a number in a game by its changes, and sets or freezes it.

It knows only what the player sees: the number, and whether it went up or down.
tests/process/peers/toy_game.c is a game to try it with.

    python trainer.py GAME.EXE

Use it only for single-player games on your own machine: other games forbid
trainers, and detect them.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from types import TracebackType
from typing import Any

import winipc

_RIGHTS = winipc.ProcessAccess.READ | winipc.ProcessAccess.WRITE

HELP = """\
  = NUMBER    the number is now this; first look everywhere, then narrow down
  + - ~ .     the number went up, went down, changed, stayed
  list        list the places that are left
  only ADDRESS   choose one place
  set NUMBER  write a number to all places that are left
  freeze NUMBER, thaw   keep writing a number, and stop that
  quit"""


class Trainer:
    """Searches for one i32 in a process."""

    def __init__(self, target: Any) -> None:
        self.process = winipc.RemoteProcess.open(target, access=_RIGHTS)
        self.found: winipc.CandidateSet | None = None
        self.only: int | None = None
        self._frozen = contextlib.ExitStack()

    def is_now(self, number: int) -> int:
        """Keep the places that have this value now; return their number."""
        if self.found is None:
            self.found = winipc.CandidateSet.scan(self.process, "i32", equals=number)
            return len(self.found)
        return self.found.rescan("equals", number)

    def has(self, change: str) -> int:
        """Keep the places that changed so ("increased", ...); return their number."""
        if self.found is None:
            self.found = winipc.CandidateSet.scan(self.process, "i32")
            return len(self.found)
        return self.found.rescan(change)

    @property
    def addresses(self) -> list[int]:
        """The places that are left, or the one that was chosen."""
        if self.only is not None:
            return [self.only]
        return [] if self.found is None else list(self.found)

    def set(self, number: int) -> None:
        """Write a number to all places that are left."""
        for address in self.addresses:
            self.process.set(address, "i32", number)

    def freeze(self, number: int) -> None:
        """Write a number again and again until `thaw`, or until the game ends.

        It stays at the present places: the next search may leave others, or none.
        """
        self.thaw()
        with contextlib.ExitStack() as frozen:
            for address in self.addresses:
                one = self.process.freeze(address, number, "i32")
                frozen.callback(one.close)
            self._frozen = frozen.pop_all()

    def thaw(self) -> None:
        """Stop writing, so that the game can change the number again."""
        self._frozen.close()

    def close(self) -> None:
        """Close the game's process handle; the game goes on."""
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


CHANGES = {"+": "increased", "-": "decreased", "~": "changed", ".": "unchanged"}


def obey(trainer: Trainer, line: str) -> str:
    """Carry out one line of the player, and return the answer."""
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
        trainer.process.read(address, 4)  # raises if there is no memory
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
