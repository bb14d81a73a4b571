"""Sockets of the console's web server: listening, and letting go of who sends no request."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

BACKLOG = 128
REQUEST_S = 10.0  # for a client to send a request
# Of the system, for a client: what waits there is sent, however old it is by then.
_SEND_BYTES = 64 * 1024


class Http(H11Protocol):
    """Lets go of who sends no request, and of connections beyond twice the limit."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # A send waits until the system has all of it. 1, as with 0 TLS would never write.
        transport.set_write_buffer_limits(high=1, low=0)
        self._last: object = None  # cycle of a request and its response
        self._patience = self.loop.call_later(REQUEST_S, self._look)
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
        self._patience = self.loop.call_later(REQUEST_S, self._look)


def bind(host: str, port: int) -> socket.socket:
    """Listen; raises ``OSError`` with the remedy."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)  # of those accepted
        made.bind((host, port))
        made.listen(BACKLOG)  # who comes before the server runs waits
    except OSError as error:
        made.close()
        raise OSError(
            error.errno,
            f'the console cannot listen on {host}:{port} ({error.strerror or error}): set another '
            'port, or host',
        ) from None
    made.setblocking(False)
    return made
