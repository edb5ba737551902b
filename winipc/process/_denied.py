"""Why a process cannot be opened, from the facts that anyone may ask for."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from winipc import _core
from winipc.process.access import ProcessAccess

_INTEGRITY = {
    0x0000: "untrusted",
    0x1000: "low",
    0x2000: "medium",
    0x3000: "high",
    0x4000: "system",
}


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What this process can find out about another one; None means unknown."""

    exit_code: int | None
    session: int | None
    user: str | None
    integrity: int | None
    protected: bool | None


def process_facts(pid: int) -> ProcessFacts:
    """Find out about a process what this user may know.

    Win32: ProcessIdToSessionId, OpenProcessToken, GetProcessInformation
    """
    exit_code, session, protected = _core._process_facts(pid)
    user = integrity = None
    with contextlib.suppress(OSError):
        _, integrity, user = _core._process_token(pid)
    return ProcessFacts(exit_code, session, user, integrity, protected)


def explain_denied(pid: int, access: int) -> list[str]:
    """Why this process may not open another one, and what the user can do."""
    hints = compare(pid, process_facts(os.getpid()), process_facts(pid))
    for less in (ProcessAccess.READ, ProcessAccess.QUERY):
        if less != access and not less & ~access and _grants(pid, less):
            hints.append(f"access=ProcessAccess.{less.name} is granted")
            break
    return hints


def _grants(pid: int, access: int) -> bool:
    try:
        _core.RemoteProcess._open(pid, access).close()
    except OSError:
        return False
    return True


def compare(pid: int, mine: ProcessFacts, theirs: ProcessFacts) -> list[str]:
    """The reasons in `theirs` for which a process with `mine` is refused."""
    hints: list[str] = []
    if pid in (0, 4):
        hints.append("it is a part of the system itself, which no process can open")
    if theirs.protected:
        hints.append("it is a protected process: no privilege opens it for memory")
    if theirs.integrity is not None and (mine.integrity or 0) < theirs.integrity:
        hints.append(
            f"its integrity level is {level_name(theirs.integrity)}, that of this "
            f"process {level_name(mine.integrity)}: run this one elevated"
        )
    if theirs.user is not None and mine.user != theirs.user:
        hints.append(
            f"it runs as another user ({theirs.user}): an administrator can open it "
            "within winipc.debug_privilege()"
        )
    if theirs.session is not None and mine.session != theirs.session:
        hints.append(f"it is in session {theirs.session}, this one in {mine.session}")
    if theirs.user is None and not hints:
        hints.append(
            "it does not even tell its user: a service, or a process of another user; "
            "an administrator can open it within winipc.debug_privilege()"
        )
    return hints or [
        "its security descriptor does not grant the access asked for: an administrator "
        "can open it within winipc.debug_privilege()"
    ]


def level_name(integrity: int | None) -> str:
    """Windows' name of an integrity level."""
    if integrity is None:
        return "unknown"
    return _INTEGRITY.get(integrity, f"{integrity:#x}")
