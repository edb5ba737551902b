"""`view_of`: the view of an object."""

from __future__ import annotations

from typing import Any

from winipc.base.rows import Rows
from winipc.cassette import Cassette
from winipc.channel import Channel
from winipc.exchange import Receiver
from winipc.memory.layout import Layout
from winipc.memory.record import StructView
from winipc.message import CopyDataWindow, Window
from winipc.process.process import RemoteProcess
from winipc.sync import SharedLock, Waitable
from winipc.views.cassettes import Lanes
from winipc.views.hexdump import HexView
from winipc.views.picture import AddressSpace
from winipc.views.queues import MessageView
from winipc.views.tables import TableView
from winipc.views.view import View

#: Objects for which the first line of a view is enough.
_STATES = (Waitable, SharedLock, Channel, Window)


def view_of(target: Any, **options: Any) -> View:
    """Return the view of an object; `options` are arguments of the view.

    Raises:
        TypeError: This kind of object has no view.
    """
    if isinstance(target, View):
        if options:
            raise TypeError("options are for objects, and this is a view")
        return target
    if isinstance(target, Cassette):
        return Lanes(target, **options)
    if isinstance(target, RemoteProcess):
        if "address" in options:
            return HexView(target, **options)
        return AddressSpace(target, **options)
    if isinstance(target, (CopyDataWindow, Receiver)):
        return MessageView(target, **options)
    if isinstance(target, Layout):
        target = target.table()
    if isinstance(target, Rows):
        return TableView(target, **options)
    if isinstance(target, _STATES):
        return View(target, **options)
    if isinstance(target, StructView):
        memory, layout, offset = target._memory, target._layout, target._offset
        return HexView(memory, layout, **({"offset": offset} | options))
    if not hasattr(target, "read"):
        memoryview(target).release()  # TypeError where there are no bytes
    return HexView(target, **options)
