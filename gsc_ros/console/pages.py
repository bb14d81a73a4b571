"""What the console serves over HTTP: pages, log-in, files, and a STOP without a WebSocket."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from gsc_ros.console import sockets
from gsc_ros.console.access import COOKIE, Access
from gsc_ros.console.files import Files

_PAGE = Path(__file__).parent / 'page'
_TYPES = {'.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript',
          '.svg': 'image/svg+xml'}  # fmt: skip
_PUBLIC = ('login.html', 'style.css', 'icon.svg')  # without a session
_FORM_BYTES = 2048
_STOPPED = 'the STOP is given; it stays in force until it is released in the console\n'


class Pages:
    """
    Answers requests. ``secure``: cookies are for HTTPS alone; ``stop`` gives the STOP for a robot,
    by its name, or for all.

    ``refused`` counts requests that were not allowed.
    """

    def __init__(
        self, access: Access, files: Files, secure: bool, stop: Callable[[str], object]
    ) -> None:
        self._access, self._files, self._secure, self._stop = access, files, secure, stop
        self.refused = 0

    def routes(self) -> list[Route]:
        """Return what is served, and where."""
        return [
            Route('/', self._index),
            Route('/login', self._login_page, methods=['GET']),
            Route('/login', self._login, methods=['POST']),
            Route('/logout', self._logout, methods=['POST']),
            Route('/stop', self._give_stop, methods=['POST']),
            Route('/files', self._list, methods=['GET']),
            Route('/files/{name}', self._file, methods=['GET']),
            Route('/page/{name}', self._static, methods=['GET']),
        ]

    def _may(self, request: Request) -> bool:
        return self._access.host_allowed(request.headers.get('host')) and self._access.valid(
            request.cookies.get(COOKIE), time.monotonic()
        )

    def _is_ours(self, request: Request) -> bool:
        return self._access.is_ours(request.headers.get('host'), request.headers.get('origin'))

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

    async def _give_stop(self, request: Request) -> Response:
        """
        Give the STOP, for a page whose WebSocket is away: there are too many viewers, the network
        was, or the session has ended.
        """
        if not self._is_ours(request):
            return self._refuse()
        if not self._access.may_stop(request.cookies.get(COOKIE), time.monotonic()):
            return self._refuse(401)
        self._stop(request.query_params.get('robot', ''))
        return PlainTextResponse(_STOPPED)

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
            body = await asyncio.wait_for(_read_form(request), sockets.REQUEST_S)
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
        answer.set_cookie(
            COOKIE, token, path='/', secure=self._secure, httponly=True, samesite='strict'
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        if not self._is_ours(request):
            return self._refuse()
        self._access.logout(request.cookies.get(COOKIE))
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


async def _read_form(request: Request) -> bytes:
    """Read the body of a request, or as much of it as is too long."""
    body = b''
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES:
            break
    return body


def _names() -> frozenset[str]:
    return frozenset(path.name for path in _PAGE.iterdir() if path.suffix in _TYPES)


def _page(name: str) -> Response:
    path = _PAGE / name
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix])
