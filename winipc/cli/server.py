"""The ASGI application of `winipc serve`: it checks who asks, answers, and streams.

It needs starlette and an ASGI server.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib.resources import files
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from winipc.cli.output import one_line
from winipc.cli.served import Look, Served
from winipc.errors import AbandonedError
from winipc.views.markup import STYLE

_Message: TypeAlias = "MutableMapping[str, Any]"
_Receive: TypeAlias = "Callable[[], Awaitable[_Message]]"
_Send: TypeAlias = "Callable[[_Message], Awaitable[None]]"

#: Seconds between two looks: the least, the default, and the least for slow looks.
_QUICKEST = 1 / 60
_USUAL = "0.1"
_PACES = {"objects": 1.0, "windows": 1.0, "processes": 1.0, "process": 2.0}
#: The most streams at once, watches in a stream, and bytes of a request's body.
_MOST_STREAMS = 32
_MOST_WATCHED = 64
_MOST_BODY = 1 << 16
#: Seconds within which a stream notices that the server ends.
_SLICE = 0.2


class Application:
    """All pages and answers. Streams end when `ended()` is true."""

    def __init__(
        self, served: Served, token: str, port: int, ended: Callable[[], bool]
    ) -> None:
        self._served = served
        self._token = token.encode()
        self._hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")]
        self._ended = ended
        self._streams = 0
        page = (files("winipc") / "data" / "serve.html").read_text("utf-8")
        self._page = page.replace("/* the views */", STYLE)
        self._headers = _headers(self._page)
        self._app = Starlette(
            routes=[
                Route("/", self._index),
                Route("/api/events", self._events),
                Route("/api/{what}", self._get),
                Route("/api/mapping", self._post, methods=["POST"]),
            ],
            exception_handlers=dict.fromkeys(_ERRORS, _failed),
        )

    async def __call__(self, scope: Any, receive: _Receive, send: _Send) -> None:
        async def send_with_headers(message: _Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        refused = self._refused(Request(scope))
        await (refused or self._app)(scope, receive, send_with_headers)

    def _refused(self, request: Request) -> Response | None:
        """The answer to a request that is not allowed, or None.

        A page of another site can send requests here, also by DNS rebinding. So the
        host that the browser asked for must be ours, and so must the page's origin.
        """
        headers = request.headers
        if headers.get("host") not in self._hosts:
            return _error(403, f"this is not {self._hosts[0]}")
        if "origin" in headers and headers["origin"] not in [
            f"http://{host}" for host in self._hosts
        ]:
            return _error(403, "pages of other sites may not ask")
        if request.url.path == "/":  # the page itself shows nothing of the session
            return None
        given = headers.get("authorization", "").removeprefix("Bearer ")
        given = given or request.query_params.get("token", "")
        if not given:
            return _error(401, "give the token that winipc serve printed: ?token=TOKEN")
        if not hmac.compare_digest(given.encode(), self._token):
            return _error(401, "the token is not the one that winipc serve printed")
        return None

    def _index(self, request: Request) -> Response:
        return HTMLResponse(self._page)

    def _get(self, request: Request) -> Response:
        """Answer with what there is now."""
        options = request.query_params
        look = self._served.look(
            request.path_params["what"], options, options.get("html") == "1"
        )
        return JSONResponse(look() or [])

    async def _post(self, request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BODY:
                return _error(413, f"more than {_MOST_BODY} bytes")
        change = json.loads(body)
        if not isinstance(change, dict):
            raise ValueError("the body is an object of JSON")
        await asyncio.to_thread(self._served.write, request.query_params, change)
        return JSONResponse({})

    async def _events(self, request: Request) -> Any:
        """Server-sent events: each `watch` at once, and again whenever it changes."""
        options = request.query_params
        watched = options.getlist("watch")[:_MOST_WATCHED]
        if not watched:
            raise ValueError("watch= is missing")
        pace = max(float(options.get("interval", _USUAL)), _QUICKEST)
        if self._streams >= _MOST_STREAMS:
            return _error(503, f"there are {_MOST_STREAMS} streams already")
        looks = {}
        for text in dict.fromkeys(watched):
            what, _, rest = text.partition("?")
            look = self._served.look(what, dict(parse_qsl(rest)), "html" in options)
            looks[text] = look, max(pace, _PACES.get(what, 0))
        return _Stream(self, looks)


class _Stream:
    """A response that goes on until its client or the server ends."""

    def __init__(
        self, application: Application, looks: Mapping[str, tuple[Look, float]]
    ) -> None:
        self._application = application
        self._looks = looks

    async def __call__(self, scope: Any, receive: _Receive, send: _Send) -> None:
        kind = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        follow = [self._follow(text, *of, send) for text, of in self._looks.items()]
        tasks = [asyncio.create_task(one) for one in (*follow, _hung_up(receive))]
        self._application._streams += 1
        try:
            while not self._application._ended():
                first = asyncio.FIRST_COMPLETED
                done, _ = await asyncio.wait(tasks, timeout=_SLICE, return_when=first)
                if done:
                    break
        finally:
            self._application._streams -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await send({"type": "http.response.body", "body": b""})

    async def _follow(self, text: str, look: Look, pace: float, send: _Send) -> None:
        loop = asyncio.get_running_loop()
        due, last = loop.time(), None
        while True:
            event = await asyncio.to_thread(_event, text, look)
            if event is not None and event != last:
                last = event
                await send(
                    {"type": "http.response.body", "body": event, "more_body": True}
                )
            due = max(due + pace, loop.time())
            await asyncio.sleep(due - loop.time())


def _event(text: str, look: Look) -> bytes | None:
    """An event with what is new, or with the error; None if nothing is new."""
    try:
        found = look()
    except _ERRORS as error:
        told = {"watch": text, "error": one_line(error)}
    else:
        if found is None:
            return None
        told = {"watch": text, "data": found}
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n".encode(
        "utf-8", "backslashreplace"
    )


async def _hung_up(receive: _Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_ERRORS = (
    *(OSError, ValueError, LookupError, OverflowError, MemoryError, BufferError),
    TypeError,  # a body whose values have wrong types
)
#: The status of an error; of another one, 400.
_STATUS = {
    PermissionError: 403,
    FileNotFoundError: 404,
    ProcessLookupError: 404,
    LookupError: 404,
    AbandonedError: 409,
    TimeoutError: 503,
}


def _failed(request: Request, error: Exception) -> Response:
    known = (status for kind, status in _STATUS.items() if isinstance(error, kind))
    return _error(next(known, 400), one_line(error))


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _headers(page: str) -> list[tuple[bytes, bytes]]:
    """Headers of every answer: browsers run no script but the page's own."""
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return [
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]
