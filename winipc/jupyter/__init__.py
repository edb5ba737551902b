"""Views of winipc's objects in Jupyter notebooks.

The objects show themselves: a mapping as a hex view, a process as a picture of its
address space, a window with the messages that wait, a cassette as lanes over the time.
The functions here make the same views with options, keep one up to date (`live`), and
give receivers that survive when their cell runs again (`receiver`, `window`).

Views are plain HTML. Text of other programs (titles, messages, paths, names of
fields) is escaped, sizes are bounded, and an object that is closed or gone shows
just that.
Only `live` needs IPython, which `pip install winipc[jupyter]` brings.
"""

from winipc.jupyter.receivers import receiver, window
from winipc.jupyter.updating import LiveView, live, stop_all
from winipc.views.cassettes import Lanes, lanes
from winipc.views.choosing import view_of
from winipc.views.hexdump import HexView, hexview
from winipc.views.picture import AddressSpace, address_space, memory_map
from winipc.views.queues import messages

__all__ = [
    "AddressSpace",
    "HexView",
    "Lanes",
    "LiveView",
    "address_space",
    "hexview",
    "lanes",
    "live",
    "memory_map",
    "messages",
    "receiver",
    "stop_all",
    "view_of",
    "window",
]
