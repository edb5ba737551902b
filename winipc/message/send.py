"""Messages sent to windows of any process.

`send_copydata` sends bytes to a window; `send_message` and `post_message` send two
numbers. Each takes any kind of `winipc.message.target.Target`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from winipc import _core
from winipc._core import (
    post_message,
    register_message,
    send_copydata,
    send_message,
)
from winipc.errors import add_hint
from winipc.message.target import Target, hwnd_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "HWND_BROADCAST",
    "broadcast_message",
    "mapping_is_ours",
    "post_message",
    "register_message",
    "send_copydata",
    "send_copydata_async",
    "send_message",
]

#: The target that stands for all top-level windows.
HWND_BROADCAST = 0xFFFF


def broadcast_message(message: int | str, wparam: int = 0, lparam: int = 0) -> None:
    """Post a registered message to all top-level windows of the desktop.

    Raises:
        ValueError: The message is not registered: its number may mean something else to
            each window.

    Win32: PostMessage with HWND_BROADCAST.
    """
    if isinstance(message, str):
        message = register_message(message)
    if not 0xC000 <= message <= 0xFFFF:
        raise ValueError(f"message {message:#x} is not a registered one")
    post_message(HWND_BROADCAST, message, wparam, lparam)


def mapping_is_ours(name: str) -> bool:
    """Whether the user of this process owns the mapping `name`.

    The default owner of objects that this process creates counts, too: for an elevated
    user, that is the group of administrators.

    This is for servers that get a mapping's name in a message, as Pageant does. Open
    the mapping before you ask, so that no other mapping can take the name.

    Raises:
        FileNotFoundError: There is no such mapping.
        PermissionError: This process may not read its owner.

    Win32: GetKernelObjectSecurity.
    """
    return _core._mapping_is_ours(name)


def _explain(error: PermissionError, hwnd: int) -> None:
    """Add a hint if the receiver's integrity level is higher than this process's."""
    try:
        theirs = _core._process_token(_core._window_process(hwnd)[0])[1]
        ours = _core._process_token(os.getpid())[1]
    except OSError:
        add_hint(error, "the receiver may run at a higher integrity level")
        return
    if theirs > ours:
        add_hint(
            error,
            f"the receiver runs at integrity level {theirs:#x}, this process at "
            f"{ours:#x}: it has to allow the message (allow_lower_integrity=True, "
            "ChangeWindowMessageFilterEx), or both must run at the same level",
        )


_core._hwnd_of = hwnd_of
_core._explain_send = _explain


async def send_copydata_async(
    target: Target,
    data: ReadableBuffer,
    *,
    id: int = 0,
    timeout: float | None = 5.0,
    sender: Target | None = None,
    abort_if_hung: bool | None = None,
    check: bool = True,
) -> int:
    """`send_copydata` for asyncio: other tasks run until the answer comes.

    ::

        import asyncio

        async def main():
            print(await winipc.send_copydata_async("my-app", b"hello", id=4))  # 1

        asyncio.run(main())

    A send cannot be taken back. If the task is cancelled, the receiver may still get
    the data, which must not change until then.

    The errors are those of `send_copydata`.

    Win32: SendMessageTimeout.
    """
    __tracebackhide__ = True  # pytest shows the test's line
    from winipc.base.loop_wait import wait_handle  # it imports asyncio

    send, ended = _core._begin_send(
        target,
        data,
        id=id,
        timeout=timeout,
        sender=sender,
        abort_if_hung=abort_if_hung,
        check=check,
    )
    await wait_handle(ended, name=f"send to {target!r}")
    return _core._end_send(send, target)
