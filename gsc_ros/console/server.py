"""
The web server of the console: pages over HTTP, and a WebSocket for each viewer.

Starlette on uvicorn, in a thread with an event loop of its own: nothing of the node waits for it,
and what stops a robot whose driver is silent does not run here. Only this module, `pages`,
`viewers` and `sockets` import the web libraries.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from gsc_ros.console import words
from gsc_ros.console.access import Access
from gsc_ros.console.files import Files
from gsc_ros.console.pages import Pages
from gsc_ros.console.sockets import BACKLOG, Http, bind
from gsc_ros.console.viewers import Site, Viewers

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
_NOBODY = 0  # no viewer's number
_JOIN_S = 3.0


@dataclass(frozen=True)
class Settings:
    """Where to serve, how, to how many at once; how many cameras there are of each robot."""

    host: str = '127.0.0.1'
    port: int = 8080
    certificate: str = ''
    key: str = ''
    most_viewers: int = 32
    cameras: tuple[int, ...] = (1,)


class Server:
    """
    Serves a site. Binds its socket when it is made: raises ``OSError``, or ``ValueError`` for its
    certificate, with the remedy.

    ``problem``: why the server has ended by itself, empty while it runs.
    """

    def __init__(self, settings: Settings, access: Access, site: Site, files: Files) -> None:
        self._settings = settings
        self._viewers = Viewers(settings.most_viewers, access, site, settings.cameras)

        def stop(robot: str) -> None:
            site.heard(_NOBODY, words.Stop(robot))

        self._pages = Pages(access, files, bool(settings.certificate), stop)
        self.problem = ''
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = bind(settings.host, settings.port)
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
        return len(self._viewers.all)

    def views(self, place: words.Place = (0, 0)) -> frozenset[str]:
        """Return the kinds of images of a camera that somebody looks at."""
        return self._viewers.views.get(place, frozenset())

    @property
    def refused(self) -> int:
        """Requests, connections and messages that were not allowed."""
        return self._viewers.refused + self._pages.refused

    @property
    def trouble(self) -> str:
        """The last error in following a viewer's word; empty for none."""
        return self._viewers.trouble

    def _configure(self) -> uvicorn.Config:
        routes = [*self._pages.routes(), WebSocketRoute('/ws', self._viewers.talk)]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            lifespan='off',
            proxy_headers=False,
            server_header=False,
            http=Http,
            ws='websockets-sansio',
            ws_max_size=words.MOST_BYTES,
            ws_max_queue=16,
            ws_ping_interval=5.0,
            ws_ping_timeout=10.0,
            ws_per_message_deflate=False,
            limit_concurrency=4 * self._settings.most_viewers + 64,
            backlog=BACKLOG,
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
            self._call(self._viewers.close_all)
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

    # To viewers, from any thread

    def tell(self, text: str, place: words.Place | None = None, kind: str = '') -> None:
        """
        Send a message to every viewer of a camera; None: to all. Of those of one ``kind`` a viewer
        gets the newest only; without one all.
        """
        self._call(self._viewers.tell, text, place, kind)

    def show(self, kind: str, data: bytes, place: words.Place | None = None) -> None:
        """Send an image to all who look at its kind and camera; they get the newest only."""
        self._call(self._viewers.show, kind, data, place)
