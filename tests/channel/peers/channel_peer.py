"""The other side of a channel: channel_peer.py MODE NAME [ARGUMENTS]"""

from __future__ import annotations

import os
import sys
import zlib

from winipc import Channel, EndOfStream


def echo(name: str) -> None:
    """Send back what comes on NAME.there, on NAME.back."""
    with (
        Channel.open(name + ".there", role="recv") as there,
        Channel.open(name + ".back", role="send") as back,
    ):
        print("ready")
        for message in there:
            back.send(message)


def sink(name: str) -> None:
    """Receive all; then say how many, how many bytes, and their digest."""
    import hashlib

    with Channel.open(name, role="recv") as channel:
        print("ready")
        count = size = 0
        digest = hashlib.sha256()
        try:
            while True:
                for message in channel.recv_many():
                    count += 1
                    size += len(message)
                    digest.update(message)
        except EndOfStream:
            ending = "end"
        except BrokenPipeError:
            ending = "broken"
        print(ending, count, size, digest.hexdigest())


def source(name: str, count: str, size: str, tag: str) -> None:
    """Send numbered messages with a checksum, then close."""
    with Channel.open(name, role="send") as channel:
        print("ready")
        for number in range(int(count)):
            body = f"{tag} {number} ".encode().ljust(int(size) - 4, b".")
            channel.send(body + zlib.crc32(body).to_bytes(4, "little"))
    print("sent")


def die(name: str, count: str) -> None:
    """Send some messages, then end without a word."""
    channel = Channel.open(name, role="send")
    for number in range(int(count)):
        channel.send(b"%d" % number)
    print("sent")
    sys.stdin.readline()
    os._exit(7)


def shut() -> None:
    """Deny all other processes every right to this one, as a service may."""
    import ctypes

    advapi32 = ctypes.WinDLL("advapi32")
    nobody = ctypes.create_string_buffer(8)
    assert advapi32.InitializeAcl(nobody, 8, 2)
    this = ctypes.c_void_p(-1)
    assert not advapi32.SetSecurityInfo(this, 6, 4, None, None, nobody, None)


def hold_shut(name: str, role: str) -> None:
    """The same as a process that may not be opened."""
    shut()
    hold(name, role)


def hold(name: str, role: str) -> None:
    """Take a role and keep it until told."""
    with Channel.open(name, role=role) as channel:  # type: ignore[arg-type]
        print("ready")
        for line in sys.stdin:
            if line.strip() == "recv":
                print(channel.recv())


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    globals()[mode](*arguments)
