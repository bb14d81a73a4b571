"""
The web server of the console: pages, log-in, files, and a WebSocket for each viewer.

Starlette on uvicorn, in a thread with an event loop of its own: nothing of the node waits for it,
and what stops the robot does not run here. The only module that imports the web libraries.
"""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from gsc_ros.console import words
from gsc_ros.console.access import COOKIE, Access
from gsc_ros.console.files import Files

_PAGE = Path(__file__).parent / 'page'
_TYPES = {'.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript',
          '.svg': 'image/svg+xml'}  # fmt: skip
_PUBLIC = ('login.html', 'style.css', 'icon.svg')  # without a session
_HEADERS = [
    (
        'content-security-policy',
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ('x-content-type-options', 'nosniff'),
    ('x-frame-options', 'DENY'),
    ('referrer-policy', 'same-origin'),  # under no-referrer a form's Origin is null
    ('cache-control', 'no-store'),
    ('cross-origin-opener-policy', 'same-origin'),
    ('cross-origin-resource-policy', 'same-origin'),
]
_FORM_BYTES = 2048
_REQUEST_S = 10.0  # for a client to send a request
_TEXTS = 64  # that wait for a slow viewer
_SEND_S = 15.0
_RATE, _BURST = 60.0, 120.0  # messages of a viewer, a second and at once
_BAD_WORDS = 20
_ENDED, _REFUSED = 4401, 1008
_BACKLOG = 128
_JOIN_S = 3.0


class Site(Protocol):
    """What the server serves; called in its thread, and to return at once."""

    def opened(self, viewer: int, address: str) -> list[str]:
        """Greet a viewer; returns the first messages."""

    def heard(self, viewer: int, word: words.Word) -> list[str]:
        """Follow a word; returns the answers."""

    def gone(self, viewer: int) -> None:
        """Note that a viewer is gone."""


@dataclass
class _Viewer:
    number: int
    socket: WebSocket
    session: str | None
    view: words.View = field(default_factory=words.View)
    texts: 'deque[str]' = field(default_factory=lambda: deque(maxlen=_TEXTS))
    images: dict[str, bytes] = field(default_factory=dict)  # the newest of each kind
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    close: int = 0
    tokens: float = _BURST
    counted_at: float = 0.0
    bad: int = 0

    def shows(self, kind: str) -> bool:
        """Whether the page shows a kind of image."""
        if kind == 'image':
            return True
        return self.view.original if kind == 'original' else kind in self.view.overlays

    def may_speak(self, now: float) -> bool:
        """Count a message; False for too many."""
        self.tokens = min(_BURST, self.tokens + _RATE * (now - self.counted_at))
        self.counted_at = now
        self.tokens -= 1
        return self.tokens >= 0


@dataclass(frozen=True)
class Settings:
    """Where to serve, how, and to how many at once."""

    host: str = '127.0.0.1'
    port: int = 8080
    certificate: str = ''
    key: str = ''
    most_viewers: int = 32


class _Http(H11Protocol):
    """Lets go of who sends no request, and of connections beyond twice the limit."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._last: object = None  # cycle of a request and its response
        self._patience = self.loop.call_later(_REQUEST_S, self._look)
        if self.limit_concurrency and len(self.connections) > 2 * self.limit_concurrency:
            transport.abort()  # before files run out; up to there one is told why

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._patience.cancel()
        super().handle_websocket_upgrade(event)

    def _look(self) -> None:
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self.cycle is self._last:
            self.transport.close()
            return
        self._last = self.cycle
        self._patience = self.loop.call_later(_REQUEST_S, self._look)


class Server:
    """
    Serves a site. Binds its socket when it is made: raises ``OSError``, or ``ValueError`` for its
    certificate, with the remedy.

    ``problem``: why the server has ended by itself, empty while it runs. ``trouble``: the last
    error in following a word, which costs its viewer the connection.
    """

    def __init__(self, settings: Settings, access: Access, site: Site, files: Files) -> None:
        self._settings, self._access, self._site, self._files = settings, access, site, files
        self.problem = self.trouble = ''
        self.refused = 0
        self.views: frozenset[str] = frozenset()  # kinds that somebody looks at
        self._viewers: dict[int, _Viewer] = {}
        self._next = 1
        self._last: dict[str, bytes] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = _bind(settings.host, settings.port)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        logging.getLogger('uvicorn').addHandler(logging.NullHandler())
        try:
            self._server = uvicorn.Server(self._configure())
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._run, daemon=True, name='console-web')

    @property
    def url(self) -> str:
        """Where a browser finds the console."""
        scheme = 'https' if self._settings.certificate else 'http'
        host = f'[{self._settings.host}]' if ':' in self._settings.host else self._settings.host
        return f'{scheme}://{host}:{self.address[1]}/'

    @property
    def viewers(self) -> int:
        """How many look on."""
        return len(self._viewers)

    def _configure(self) -> uvicorn.Config:
        routes = [
            Route('/', self._index),
            Route('/login', self._login_page, methods=['GET']),
            Route('/login', self._login, methods=['POST']),
            Route('/logout', self._logout, methods=['POST']),
            Route('/files', self._list, methods=['GET']),
            Route('/files/{name}', self._file, methods=['GET']),
            Route('/page/{name}', self._static, methods=['GET']),
            WebSocketRoute('/ws', self._talk),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            lifespan='off',
            proxy_headers=False,
            server_header=False,
            http=_Http,
            ws='websockets-sansio',
            ws_max_size=words.MOST_BYTES,
            ws_max_queue=16,
            ws_ping_interval=5.0,
            ws_ping_timeout=10.0,
            ws_per_message_deflate=False,
            limit_concurrency=4 * self._settings.most_viewers + 64,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=1,
            headers=_HEADERS,
            ssl_certfile=self._settings.certificate or None,
            ssl_keyfile=self._settings.key or None,
        )
        try:
            config.load()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ValueError(
                f'tls_certificate {self._settings.certificate} and tls_key {self._settings.key} '
                f'cannot be used ({error}): give a certificate and its key, both as PEM, without '
                'a passphrase'
            ) from error
        return config

    # Life

    def start(self) -> None:
        """Begin to serve, in a thread; a second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """End, within seconds."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._call(self._close_all)
            self._thread.join(_JOIN_S)
        self._server.force_exit = True
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # SystemExit is uvicorn's way to fail
            self.problem = f'{type(error).__name__}: {error}'
        else:
            if not self._server.should_exit:
                self.problem = 'the server has ended'

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._socket])

    def _call(self, function: Callable[..., None], *values: Any) -> None:
        """Have a function called in the server's thread; lost where that has ended."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(function, *values)

    def _close_all(self) -> None:
        for viewer in self._viewers.values():
            viewer.close = 1001
            viewer.ready.set()

    # To viewers, from any thread

    def tell(self, text: str) -> None:
        """Send a message to every viewer."""
        self._call(self._tell, text)

    def show(self, kind: str, data: bytes) -> None:
        """Send an image to all who look at its kind; they get the newest only."""
        self._call(self._show, kind, data)

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        for viewer in self._viewers.values():
            if not self._access.valid(viewer.session, now, use=False):
                viewer.close = _ENDED
            viewer.texts.append(text)
            viewer.ready.set()

    def _show(self, kind: str, data: bytes) -> None:
        self._last[kind] = data
        for viewer in self._viewers.values():
            if viewer.shows(kind):
                viewer.images[kind] = data
                viewer.ready.set()

    # Requests

    def _session(self, request: Request | WebSocket) -> str | None:
        return request.cookies.get(COOKIE)

    def _may(self, request: Request) -> bool:
        return self._access.host_allowed(request.headers.get('host')) and self._access.valid(
            self._session(request), time.monotonic()
        )

    def _is_ours(self, request: Request | WebSocket) -> bool:
        headers = request.headers
        host = headers.get('host')
        return self._access.host_allowed(host) and self._access.same_origin(
            headers.get('origin'), host
        )

    def _refuse(self, status: int = 403) -> Response:
        self.refused += 1
        return PlainTextResponse('not allowed\n', status)

    async def _index(self, request: Request) -> Response:
        if not self._access.host_allowed(request.headers.get('host')):
            return self._refuse()
        if not self._may(request):
            return RedirectResponse('/login', 303)
        return _page('index.html')

    async def _login_page(self, request: Request) -> Response:
        if not self._access.host_allowed(request.headers.get('host')):
            return self._refuse()
        return _page('login.html')

    async def _static(self, request: Request) -> Response:
        name = request.path_params['name']
        if name not in _names():
            return PlainTextResponse('there is no such page\n', 404)
        if name not in _PUBLIC and not self._may(request):
            return self._refuse(401)
        return _page(name)

    async def _login(self, request: Request) -> Response:
        if not self._is_ours(request):
            return self._refuse()
        now, address = time.monotonic(), request.client.host if request.client else ''
        wait_s = self._access.wait_s(now, address)
        if wait_s:
            self.refused += 1
            text = f'too many wrong passwords: try again in {wait_s:.0f} s\n'
            return PlainTextResponse(text, 429, {'retry-after': f'{wait_s:.0f}'})
        try:
            body = await asyncio.wait_for(_read_form(request), _REQUEST_S)
        except (ClientDisconnect, TimeoutError, asyncio.TimeoutError):
            return self._refuse(400)
        if len(body) > _FORM_BYTES:
            return self._refuse(413)
        try:
            form = parse_qs(body.decode(), strict_parsing=False, max_num_fields=4)
        except ValueError:
            return self._refuse(400)
        token = self._access.login(form.get('password', [''])[0], now, address)
        if token is None:
            return RedirectResponse('/login?wrong', 303)
        answer = RedirectResponse('/', 303)
        secure = bool(self._settings.certificate)
        answer.set_cookie(COOKIE, token, path='/', secure=secure, httponly=True, samesite='strict')
        return answer

    async def _logout(self, request: Request) -> Response:
        if not self._is_ours(request):
            return self._refuse()
        self._access.logout(self._session(request))
        answer = RedirectResponse('/login', 303)
        answer.delete_cookie(COOKIE, path='/')
        return answer

    async def _list(self, request: Request) -> Response:
        if not self._may(request):
            return self._refuse(401)
        listed = await asyncio.to_thread(self._files.listed)
        return JSONResponse([one.describe() for one in listed])

    async def _file(self, request: Request) -> Response:
        if not self._may(request):
            return self._refuse(401)
        found = await asyncio.to_thread(self._files.find, request.path_params['name'])
        if found is None:
            return PlainTextResponse('there is no such file\n', 404)
        kind = 'application/octet-stream'
        return FileResponse(found.path, media_type=kind, filename=found.name)

    # Viewers

    async def _talk(self, ws: WebSocket) -> None:
        now, session = time.monotonic(), self._session(ws)
        full = len(self._viewers) >= self._settings.most_viewers
        if full or not self._is_ours(ws) or not self._access.valid(session, now):
            self.refused += 1
            await ws.close(_REFUSED)
            return
        await ws.accept()
        viewer = _Viewer(self._next, ws, session, counted_at=now)
        self._next += 1
        self._viewers[viewer.number] = viewer
        writer = asyncio.ensure_future(self._write(viewer))
        try:
            address = ws.client.host if ws.client else ''
            viewer.texts.extend(self._site.opened(viewer.number, address))
            self._catch_up(viewer)
            reader = asyncio.ensure_future(self._read(viewer))
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            reader.cancel()
            if reader.done() and not reader.cancelled() and reader.exception() is not None:
                self.trouble = f'a viewer was let go: {reader.exception()!r}'
        finally:
            self._viewers.pop(viewer.number, None)
            self._site.gone(viewer.number)
            self._count_views()
            writer.cancel()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(ws.close(viewer.close or 1000), 1.0)

    async def _read(self, viewer: _Viewer) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while not viewer.close:
                message = await viewer.socket.receive()
                if message['type'] != 'websocket.receive':
                    return
                self._hear(viewer, message.get('text') or message.get('bytes') or '')

    def _hear(self, viewer: _Viewer, text: str | bytes) -> None:
        now = time.monotonic()
        if not viewer.may_speak(now):
            viewer.close = _REFUSED
            return
        try:
            word = words.parse(text)
        except words.BadWord as error:
            self.refused += 1
            viewer.bad += 1
            if viewer.bad > _BAD_WORDS:
                viewer.close = _REFUSED
            viewer.texts.append(words.dump('note', text=str(error), bad=True))
            viewer.ready.set()
            return
        # A page that is merely open does not keep its session.
        is_use = not isinstance(word, words.Beat | words.View)
        is_open = self._access.valid(viewer.session, now, use=is_use)
        # A STOP is followed also where the session has just ended: the socket is still there.
        if not is_open and word != words.STOP:
            viewer.close = _ENDED
            viewer.ready.set()
            return
        if isinstance(word, words.View):
            viewer.view = word
            self._catch_up(viewer)
        else:
            viewer.texts.extend(self._site.heard(viewer.number, word))
        viewer.ready.set()

    def _catch_up(self, viewer: _Viewer) -> None:
        """Give a viewer the newest of all that it looks at."""
        self._count_views()
        for kind, data in self._last.items():
            if viewer.shows(kind):
                viewer.images[kind] = data
        viewer.ready.set()

    def _count_views(self) -> None:
        kinds: set[str] = set()
        for viewer in self._viewers.values():
            kinds |= {'image', *viewer.view.overlays}
            kinds |= {'original'} if viewer.view.original else set()
        self.views = frozenset(kinds)

    async def _write(self, viewer: _Viewer) -> None:
        """Send what waits, until the viewer is gone, or does not take it in time."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError,
                                 asyncio.TimeoutError):  # fmt: skip
            while not viewer.close:
                await viewer.ready.wait()
                viewer.ready.clear()
                while viewer.texts:
                    await asyncio.wait_for(
                        viewer.socket.send_text(viewer.texts.popleft()), _SEND_S
                    )
                for kind in list(viewer.images):
                    await asyncio.wait_for(
                        viewer.socket.send_bytes(viewer.images.pop(kind)), _SEND_S
                    )


async def _read_form(request: Request) -> bytes:
    """Read the body of a request, or as much of it as is too long."""
    body = b''
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES:
            break
    return body


def _bind(host: str, port: int) -> socket.socket:
    """Listen; raises ``OSError`` with the remedy."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)  # who comes before the server runs waits
    except OSError as error:
        made.close()
        raise OSError(
            error.errno,
            f'the console cannot listen on {host}:{port} ({error.strerror or error}): set another '
            'port, or host',
        ) from None
    made.setblocking(False)
    return made


def _names() -> frozenset[str]:
    return frozenset(path.name for path in _PAGE.iterdir() if path.suffix in _TYPES)


def _page(name: str) -> Response:
    path = _PAGE / name
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix])
