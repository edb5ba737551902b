r"""Memory that programs under Wine share with native Linux programs.

A game under Wine or Proton puts its telemetry into a named mapping, and native Linux
tools want to read it. `bridge` creates that mapping before the game does. Behind it is
a file in memory, which Linux programs map, too::

    with winipc.bridge(r"Local\acpmf_physics", 2048) as telemetry:
        print(telemetry.linux_path)  # /dev/shm/acpmf_physics
        input("start the game, and a Linux program; Enter ends")

Nothing is copied: each side sees what the other writes. The bridge and the game must
run in the same Wine prefix.
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
from winipc.errors import add_hint, unhint_taken
from winipc.memory.mapping import SharedMapping

__all__ = ["Bridge", "GameMapping", "bridge", "game_mappings"]

#: The size in bytes of a mapping that the catalogue does not know.
_DEFAULT_SIZE = 4096

#: The folder of files in memory, as programs under Wine and native programs see it.
_SHM = "Z:\\dev\\shm\\"
_LINUX_SHM = "/dev/shm/"

#: Only the owner may read, write and delete: Wine makes that mode 0600. The owner here
#: is SYSTEM, as Wine would give the rights of the user to the Unix group as well; on
#: Linux, the file belongs to the user.
_PRIVATE = "O:SYD:P(A;;0x13019f;;;SY)"


class Bridge(Closing):
    """A named mapping with a file behind it; `bridge` makes it.

    `close`, the end of a `with`, and any end of this process remove the name and the
    file. A program that has the memory mapped keeps it. While an array of `mapping` is
    alive, `close` raises BufferError; the end of a `with` leaves the name until the
    array goes.
    """

    __slots__ = ("__weakref__", "_handle", "linux_path", "mapping", "path")

    #: The mapping, to read and write.
    mapping: SharedMapping
    #: The path of the file for programs under Wine.
    path: str
    #: The path of the file for native programs.
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
        """The size of the mapping and of the file, in bytes."""
        return self.mapping.size

    @property
    def closed(self) -> bool:
        """Whether the name and the file have been removed."""
        return not self._handle

    def close(self) -> None:
        """Remove the name and the file. More calls do nothing.

        Raises:
            BufferError: A memoryview or an array uses the mapping.

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
    r"""Create the mapping `name` with a file in /dev/shm behind it.

    Args:
        name: The mapping that the Windows program opens. Create it before that program
            does.
        size: The size of the mapping and of the file, in bytes. It must be what the
            program expects: mapping more fails there (ERROR_ACCESS_DENIED, 5). None:
            the size that `game_mappings` has for the name, or 4096.
        file: The name of the file; None: the mapping's name without ``Local\`` or
            ``Global\``.

    Only this user can open the file (mode 0600), from its creation on. It is always a
    new file.

    Raises:
        FileExistsError: The mapping (winerror 183) or the file (80) exists.
        OSError: This is not Wine (errno ENOTSUP).
        ValueError: The name is not valid for a file.

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
    except BaseException as error:
        _remove(handle, path)
        if isinstance(error, FileExistsError):
            unhint_taken(error)
        raise
    return Bridge(mapping, handle, path, _LINUX_SHM + base)


def _known_size(name: str) -> int:
    known = {row.name.removeprefix("Local\\"): row.size for row in game_mappings()}
    return known.get(name.removeprefix("Local\\"), _DEFAULT_SIZE)


def _remove(handle: int, path: str) -> None:
    # Remove the name first. If only the handle is closed, the file stays until no
    # program has the memory mapped.
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

    #: The name of the program, or of the family of games.
    game: str
    #: The name of the mapping.
    name: str
    #: A size in bytes with room for all that the program writes.
    size: int
    #: What the mapping has, in a few words.
    content: str


def game_mappings() -> list[GameMapping]:
    """The mappings of common games, from the catalogue of `known_programs`."""
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
