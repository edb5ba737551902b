"""What multiprocessing's child does with a channel; imported by test_channel.py."""

from winipc import Channel


def send_numbers(channel: Channel, count: int) -> None:
    with channel:
        for number in range(count):
            channel.send(b"%d" % number)
