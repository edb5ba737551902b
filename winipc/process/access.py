"""Access rights to a process."""

from __future__ import annotations

import enum

__all__ = ["ProcessAccess"]


class ProcessAccess(enum.IntFlag):
    """Rights to another process (PROCESS_* of Win32), and useful combinations.

    The combinations are `READ`, which most methods need; `WRITE`, to write as well; and
    `QUERY`, to ask for a process's state and name, but not for its memory.
    """

    TERMINATE = 0x0001
    """To end the process by TerminateProcess."""
    CREATE_THREAD = 0x0002
    """To create a thread in the process by CreateRemoteThread."""
    VM_OPERATION = 0x0008
    """To allocate, free and protect memory. WriteProcessMemory needs it, too."""
    VM_READ = 0x0010
    """To read memory by ReadProcessMemory."""
    VM_WRITE = 0x0020
    """To write memory by WriteProcessMemory, together with VM_OPERATION."""
    DUP_HANDLE = 0x0040
    """To copy handles from and to the process by DuplicateHandle."""
    SUSPEND_RESUME = 0x0800
    """To suspend and resume all threads of the process."""
    QUERY_INFORMATION = 0x0400
    """To ask for all that Windows tells about the process, and to list its regions."""
    QUERY_LIMITED_INFORMATION = 0x1000
    """To ask for the program's path, the exit code and the times. Windows grants it for
    more processes than QUERY_INFORMATION."""
    SYNCHRONIZE = 0x100000
    """To wait until the process exits."""

    QUERY = QUERY_LIMITED_INFORMATION | SYNCHRONIZE
    """To query the state and the name of a process, but not its memory."""
    READ = VM_READ | QUERY_INFORMATION | QUERY
    """To read memory and list regions, modules and threads."""
    WRITE = READ | VM_WRITE | VM_OPERATION
    """To write, protect, allocate and free memory as well."""
