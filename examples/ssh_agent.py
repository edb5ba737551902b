"""An SSH agent with Pageant's protocol, and a client.

PuTTY, WinSCP, paramiko and Git for Windows ask their agent by this protocol. The client
finds the window with title and class "Pageant", puts the request into a named mapping,
and sends the mapping's name by WM_COPYDATA. If the send returns 1, the answer is in the
mapping. Requests and answers are those of the SSH agent protocol: a length of four
bytes, a type, and data for the type.

    python ssh_agent.py serve     an agent without keys, until Ctrl+C
    python ssh_agent.py list      the keys of the running agent

The agent trusts only mappings that its own user owns.
"""

import os
import secrets
import struct
import sys
from collections.abc import Callable

import winipc
from winipc import decoders
from winipc.message import mapping_is_ours

NAME = "Pageant"
COPYDATA_ID = 0x804E50BA
MAX_REQUEST = 262144

FAILURE, REQUEST_IDENTITIES, IDENTITIES_ANSWER = 5, 11, 12


def serve(answer: Callable[[bytes], bytes], name: str = NAME) -> winipc.CopyDataWindow:
    """Open an agent. `answer` gets a request without its length; it returns a reply."""
    window = winipc.CopyDataWindow.create(name, class_name=name, max_message=1024)

    @window.on(COPYDATA_ID, decode=decoders.ansi)
    def request(message: winipc.Message, mapping_name: str) -> int:
        with winipc.SharedMapping.open(mapping_name) as mapping:
            if not mapping_is_ours(mapping_name):
                return 0
            (length,) = struct.unpack(">I", mapping.read(4, 0))
            if length > mapping.mapped_size - 4:
                return 0
            reply = answer(mapping.read(length, 4))
            reply = struct.pack(">I", len(reply)) + reply
            if len(reply) > mapping.mapped_size:
                reply = struct.pack(">IB", 1, FAILURE)
            mapping.write(reply, 0)
        return 1

    return window


def ask(request: bytes, name: str = NAME, timeout: float = 60.0) -> bytes:
    """Send a request to the agent, and return its answer, both without lengths."""
    mapping_name = f"{name}Request{os.getpid():08x}{secrets.token_hex(4)}"
    with winipc.SharedMapping.create(
        mapping_name, MAX_REQUEST, security="owner"
    ) as mapping:
        mapping.write(struct.pack(">I", len(request)) + request, 0)
        winipc.send_copydata(
            (name, name), mapping_name.encode() + b"\0", id=COPYDATA_ID, timeout=timeout
        )
        (length,) = struct.unpack(">I", mapping.read(4, 0))
        if length > MAX_REQUEST - 4:
            raise ValueError("the agent's answer is longer than its mapping")
        return mapping.read(length, 4)


def no_keys(request: bytes) -> bytes:
    """Answer like an agent without keys."""
    if request[:1] == bytes([REQUEST_IDENTITIES]):
        return struct.pack(">BI", IDENTITIES_ANSWER, 0)
    return bytes([FAILURE])


def list_keys(name: str = NAME) -> list[tuple[bytes, str]]:
    """The public keys of the agent, with their comments."""
    answer = ask(bytes([REQUEST_IDENTITIES]), name)
    if answer[:1] != bytes([IDENTITIES_ANSWER]):
        raise OSError("the agent does not list its keys")
    (count,) = struct.unpack_from(">I", answer, 1)
    keys, offset = [], 5

    def string() -> bytes:
        nonlocal offset
        (length,) = struct.unpack_from(">I", answer, offset)
        start, offset = offset + 4, offset + 4 + length
        if offset > len(answer):
            raise ValueError("the agent's answer is cut off")
        return answer[start:offset]

    for _ in range(count):
        blob = string()
        keys.append((blob, string().decode()))
    return keys


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        with serve(no_keys) as window:
            print("ready", flush=True)
            for _ in window:  # handlers take all messages; Ctrl+C ends the loop
                pass
    elif sys.argv[1:] == ["list"]:
        for blob, comment in list_keys():
            print(len(blob), comment)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
