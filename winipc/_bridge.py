r"""One piece of memory for programs under Wine and for native Linux programs.

Telemetry tools for Linux want what a game, which runs under Wine or Proton, puts
into a named mapping. `bridge` makes that mapping before the game does, with a file
in memory behind it that Linux programs map too::

    with winipc.bridge(r"Local\acpmf_physics", 2048) as telemetry:
        print(telemetry.linux_path)  # /dev/shm/acpmf_physics
        input("start the game, and a Linux program; Enter ends")

Neither side copies anything: what one writes the other sees. Everything has to run
in the same Wine prefix as the game does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from dataclasses import dataclass

from winipc import _core
from winipc._telemetry import known_programs
from winipc.base.closing import Closing
from winipc.base.winerror import ERROR_FILE_EXISTS, ERROR_PATH_NOT_FOUND
from winipc.errors import add_hint
from winipc.memory.mapping import SharedMapping

__all__ = ["Bridge", "GameMapping", "bridge", "game_mappings"]

#: Bytes of a mapping of which nothing is known.
_DEFAULT_SIZE = 4096

#: Where Linux keeps files that live in memory, as Wine shows it.
_SHM = "Z:\\dev\\shm\\"
_LINUX_SHM = "/dev/shm/"

#: Reading, writing and deleting for the owner alone, which Wine turns into
#: mode 0600. The owner in it is SYSTEM, as Wine gives what the user, or a group of
#: the user's, may do to the Unix group as well; on Linux the file is the user's.
_PRIVATE = "O:SYD:P(A;;0x13019f;;;SY)"


class Bridge(Closing):
    """A named mapping with a file behind it; made by `bridge`.

    `close`, or the end of its `with` block, takes the name and the file away, and
    so does the end of this process, however it ends. A program that has the memory
    mapped keeps it. With an array of `mapping` alive, `close` is refused, and the
    end of `with` leaves the name to that array.
    """

    __slots__ = ("__weakref__", "_handle", "linux_path", "mapping", "path")

    #: The mapping, to read and write.
    mapping: SharedMapping
    #: The file as programs under Wine call it.
    path: str
    #: The file as native programs call it.
    linux_path: str

    def __init__(
        self, mapping: SharedMapping, handle: int, path: str, linux_path: str
    ) -> None:
        self._handle = handle
        self.mapping = mapping
        self.path = path
        self.linux_path = linux_path

    @property
    def size(self) -> int:
        """Bytes of the mapping, and of the file."""
        return self.mapping.size

    @property
    def closed(self) -> bool:
        """Whether name and file are gone."""
        return not self._handle

    def close(self) -> None:
        """Remove the name and the file. More calls do nothing.

        Raises BufferError while a memoryview or an array uses the mapping.

        Win32: CloseHandle, DeleteFileW.
        """
        self.mapping.close()
        self._take_away()

    def __exit__(self, *exc: object) -> None:
        self.mapping.__exit__(*exc)
        self._take_away()

    def _take_away(self) -> None:
        handle, self._handle = self._handle, 0
        if handle:
            _remove(handle, self.path)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.size} bytes, {self.linux_path}"
        return f"<Bridge {self.mapping.name!r} {state}>"

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            warnings.warn(
                f"unclosed {self!r}", ResourceWarning, stacklevel=1, source=self
            )
            self.__exit__()


def bridge(name: str, size: int | None = None, *, file: str | None = None) -> Bridge:
    r"""Make the mapping `name` with a file in /dev/shm behind it.

    Args:
        name: What the Windows program opens. Make it before that program does.
        size: Bytes, of the mapping and of the file: what the program expects, as it
            fails to map more (ERROR_ACCESS_DENIED, 5). None for what `game_mappings`
            says of the name, or 4096.
        file: The name of the file; None for that of the mapping, without ``Local\``
            or ``Global\``.

    The file is made for this user alone (mode 0600), and at no time is it anything
    else. It is never one that was there before.

    Raises:
        FileExistsError: The mapping (winerror 183) or the file (80) is there.
        OSError: errno ENOTSUP where this is not Wine.
        ValueError: The name cannot be that of a file.

    Win32: CreateFileW, CreateFileMappingW, MapViewOfFile.
    """
    if _core._wine_version() is None:
        raise OSError(
            errno.ENOTSUP,
            "a bridge to native Linux programs needs Wine, and this is Windows",
            name,
        )
    if size is None:
        size = _known_size(name)
    if size < 1:
        raise ValueError(f"size must be 1 or more, not {size}")
    base = name.rpartition("\\")[2] if file is None else file
    if not base or base in (".", "..") or set(base) & set('/\\<>:"|?*'):
        raise ValueError(f"{base!r} cannot be the name of a file in {_LINUX_SHM}")
    path = _SHM + base
    try:
        handle = _core._create_file(path, size, _PRIVATE)
    except OSError as error:
        _explain(error, base)
        raise
    try:
        mapping = SharedMapping.create(name, size, file=handle)
    except BaseException:
        _remove(handle, path)
        raise
    return Bridge(mapping, handle, path, _LINUX_SHM + base)


def _known_size(name: str) -> int:
    known = {row.name.removeprefix("Local\\"): row.size for row in game_mappings()}
    return known.get(name.removeprefix("Local\\"), _DEFAULT_SIZE)


def _remove(handle: int, path: str) -> None:
    # By name first: the handle alone would leave it to the last program that has
    # the memory mapped.
    with contextlib.suppress(OSError):
        os.unlink(path)
    _core._close_handle(handle)


def _explain(error: OSError, base: str) -> None:
    if error.winerror == ERROR_FILE_EXISTS:
        add_hint(
            error,
            f"{_LINUX_SHM}{base} is there already: another bridge runs, or a Linux "
            "program left it, and then it has to be removed",
        )
    elif error.winerror == ERROR_PATH_NOT_FOUND:
        add_hint(error, "drive Z: of this Wine prefix is not / (see winecfg)")


@dataclass(frozen=True, slots=True)
class GameMapping:
    """A mapping that games of a family write."""

    game: str
    name: str
    size: int
    content: str


def game_mappings() -> list[GameMapping]:
    """The mappings of common games, from the catalogue that `known_programs` gives."""
    games: dict[str, GameMapping] = {}
    for program in known_programs():
        for row in program.mappings:
            if program.group != "game" or row.size is None:
                continue
            game, size = program.program, row.size
            if (other := games.get(row.name)) is not None:
                game, size = f"{other.game}, {game}", max(size, other.size)
            games[row.name] = GameMapping(game, row.name, size, row.content)
    return list(games.values())
