"""Views of winipc's objects in Jupyter notebooks.

Objects show themselves: a mapping as a hex view, a process as a picture of its address
space, a window with its waiting messages, a cassette as lanes over time. The functions
here make the same views with options, keep a view up to date (`live`), and return
receivers that stay open when their cell runs again (`receiver`, `window`).

Views are plain HTML. Text of other programs (titles, messages, paths, names of fields)
is escaped, and sizes are bounded. A closed or ended object is shown as such. Only
`live` needs IPython: `pip install winipc[jupyter]`.
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
