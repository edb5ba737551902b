"""Send WM_COPYDATA on command: each line is "hwnd id hex-data"; prints the answer."""

import sys

import winipc

with winipc.CopyDataWindow.create("", message_only=True) as own:
    print(f"ready {own.hwnd}")
    for line in sys.stdin:
        hwnd, id_, *data = line.split()
        try:
            answer = winipc.send_copydata(
                int(hwnd),
                bytes.fromhex("".join(data)),
                id=int(id_),
                sender=own,
                timeout=30,
                check=False,
            )
            print(answer)
        except OSError as error:
            print(type(error).__name__, error.winerror)
