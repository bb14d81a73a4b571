"""
The viewers of the console, a WebSocket each: what they say, and what they get.

What stops the robot is followed before any limit: of a viewer that says too much, whose session
has ended or who is being let go. All runs in the web server's thread.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from gsc_ros.console import words
from gsc_ros.console.access import COOKIE, Access

_TEXTS = 64  # answers and notes that wait for a slow viewer
_SEND_S = 15.0
_RATE, _BURST = 60.0, 120.0  # messages of a viewer, a second and at once
_BAD_WORDS = 20
_ENDED, _REFUSED, _GOING_AWAY = 4401, 1008, 1001
# For so long a viewer that is let go is heard: a STOP may be on its way.
_LAST_WORDS_S = 1.0
_CLOSE_S = 1.0


class Site(Protocol):
    """What is served; called in the server's thread, and to return at once."""

    def opened(self, viewer: int, address: str) -> list[str]:
        """Greet a viewer; returns the first messages."""

    def heard(self, viewer: int, word: words.Word) -> list[str]:
        """Follow a word; returns the answers."""

    def gone(self, viewer: int) -> None:
        """Note that a viewer is gone."""


@dataclass
class Viewer:
    """One page. ``close``: the code with which it is let go, 0 while it is not."""

    number: int
    socket: WebSocket
    session: str | None
    view: words.View = field(default_factory=words.View)
    place: words.Place = (0, 0)  # robot and camera that it watches
    texts: 'deque[str]' = field(default_factory=lambda: deque(maxlen=_TEXTS))
    newest: dict[str, str] = field(default_factory=dict)  # texts, by kind
    images: dict[str, bytes] = field(default_factory=dict)  # the newest of each kind
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    close: int = 0
    tokens: float = _BURST
    counted_at: float = 0.0
    bad: int = 0

    def shows(self, kind: str, place: words.Place | None = None) -> bool:
        """Whether the page shows a kind of image of a camera; None: of any."""
        if not self.watches(place):
            return False
        if kind in ('image', 'still'):
            return True
        return self.view.original if kind == 'original' else kind in self.view.overlays

    def watches(self, place: words.Place | None) -> bool:
        """Whether what is of a camera is for this page; None: for all."""
        return place is None or place == self.place

    def may_speak(self, now: float) -> bool:
        """Count a message; False for too many."""
        self.tokens = min(_BURST, self.tokens + _RATE * (now - self.counted_at))
        self.counted_at = now
        self.tokens -= 1
        return self.tokens >= 0

    def say(self, *texts: str) -> None:
        """Let messages wait for the viewer."""
        self.texts.extend(texts)
        self.ready.set()

    def next_message(self) -> str | bytes | None:
        """Take what is to be sent next: answers before what is newest, and that before images."""
        if self.texts:
            return self.texts.popleft()
        kept: dict[str, str] | dict[str, bytes] = self.newest or self.images
        return kept.pop(next(iter(kept))) if kept else None

    def let_go(self, code: int) -> None:
        """End the connection, after the viewer's last words."""
        self.close = self.close or code
        self.ready.set()


class Viewers:
    """
    All viewers, by number in ``all``; ``most`` at once. Each watches a camera of a robot;
    ``cameras``: how many there are of each robot.

    ``views``: kinds of images that somebody looks at, by robot and camera. ``refused``
    counts connections and messages that were not allowed; ``trouble``: the last error in following
    a word, which costs its viewer the connection.
    """

    def __init__(
        self, most: int, access: Access, site: Site, cameras: Sequence[int] = (1,)
    ) -> None:
        self._most, self._access, self._site = most, access, site
        self._cameras = cameras
        self.all: dict[int, Viewer] = {}
        self.views: dict[words.Place, frozenset[str]] = {}
        self.refused, self.trouble = 0, ''
        self._next = 1
        self._last: dict[tuple[words.Place | None, str], bytes] = {}

    def tell(self, text: str, place: words.Place | None = None, kind: str = '') -> None:
        """
        Send a message to every viewer of a camera; None: to all. Of those of one ``kind`` a viewer
        gets the newest only; without one all.
        """
        now = time.monotonic()
        for viewer in self.all.values():
            if not self._access.valid(viewer.session, now, use=False):
                viewer.let_go(_ENDED)
            if not viewer.watches(place):
                continue
            if kind:
                viewer.newest[kind] = text
                viewer.ready.set()
            else:
                viewer.say(text)

    def show(self, kind: str, data: bytes, place: words.Place | None = None) -> None:
        """Send an image to all who look at its kind and camera; they get the newest only."""
        self._last[place, kind] = data
        for viewer in self.all.values():
            if viewer.shows(kind, place):
                viewer.images[kind] = data
                viewer.ready.set()

    def close_all(self) -> None:
        """Let all viewers go."""
        for viewer in self.all.values():
            viewer.let_go(_GOING_AWAY)

    async def talk(self, ws: WebSocket) -> None:
        """Serve a viewer until it is gone."""
        now, session = time.monotonic(), ws.cookies.get(COOKIE)
        ours = self._access.is_ours(ws.headers.get('host'), ws.headers.get('origin'))
        full = len(self.all) >= self._most
        if full or not ours or not self._access.valid(session, now):
            self.refused += 1
            await ws.close(_REFUSED)
            return
        await ws.accept()
        viewer = Viewer(self._next, ws, session, counted_at=now)
        self._next += 1
        self.all[viewer.number] = viewer
        self._count_views()
        writer = asyncio.ensure_future(self._write(viewer))
        reader: asyncio.Future[None] | None = None
        try:
            address = ws.client.host if ws.client else ''
            viewer.say(*self._site.opened(viewer.number, address))
            self._catch_up(viewer)
            reader = asyncio.ensure_future(self._read(viewer))
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            viewer.let_go(_GOING_AWAY)
            del self.all[viewer.number]
            self._site.gone(viewer.number)
            self._count_views()
            writer.cancel()
            if reader is not None:
                await self._hear_out(reader)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(ws.close(viewer.close), _CLOSE_S)

    async def _hear_out(self, reader: 'asyncio.Future[None]') -> None:
        """Hear what a viewer has said before it was let go."""
        await asyncio.wait({reader}, timeout=_LAST_WORDS_S)
        reader.cancel()
        if reader.done() and not reader.cancelled() and reader.exception() is not None:
            self.trouble = f'a viewer was let go: {reader.exception()!r}'

    async def _read(self, viewer: Viewer) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                message = await viewer.socket.receive()
                if message['type'] != 'websocket.receive':
                    return
                self._hear(viewer, message.get('text') or message.get('bytes') or '')

    def _hear(self, viewer: Viewer, text: str | bytes) -> None:
        """Follow a message, if it stops the robot or passes the limits."""
        now = time.monotonic()
        too_many = not viewer.may_speak(now)
        try:
            cameras = self._cameras[viewer.place[0]]
            word = words.parse(text, cameras, len(self._cameras))
        except words.BadWord as error:
            self._hear_bad(viewer, error)
        else:
            # A page that is merely open does not keep its session.
            is_use = not isinstance(word, words.Beat | words.View)
            is_open = self._access.valid(viewer.session, now, use=is_use)
            if words.stops(word):
                viewer.say(*self._site.heard(viewer.number, word))
            elif not is_open:
                viewer.let_go(_ENDED)
            elif not (too_many or viewer.close):
                self._follow(viewer, word)
        if too_many:
            viewer.let_go(_REFUSED)

    def _hear_bad(self, viewer: Viewer, error: words.BadWord) -> None:
        """Say what is wrong with a message; too many of them end the connection."""
        self.refused += 1
        viewer.bad += 1
        if viewer.bad > _BAD_WORDS:
            viewer.let_go(_REFUSED)
        viewer.say(words.dump('note', text=str(error), bad=True))

    def _follow(self, viewer: Viewer, word: words.Word) -> None:
        if isinstance(word, words.View):
            viewer.view = word
            self._catch_up(viewer)
            return
        if isinstance(word, words.Watch):
            viewer.place = viewer.place[0], word.camera
            self._catch_up(viewer)
        if isinstance(word, words.Choose) and word.robot != viewer.place[0]:
            viewer.place = word.robot, 0
            self._catch_up(viewer)
        viewer.say(*self._site.heard(viewer.number, word))

    def _catch_up(self, viewer: Viewer) -> None:
        """Give a viewer the newest of all that it looks at."""
        self._count_views()
        for (place, kind), data in self._last.items():
            if viewer.shows(kind, place):
                viewer.images[kind] = data
        viewer.ready.set()

    def _count_views(self) -> None:
        views: dict[words.Place, frozenset[str]] = {}
        for viewer in self.all.values():
            kinds = {'image', *viewer.view.overlays}
            kinds |= {'original'} if viewer.view.original else set()
            views[viewer.place] = views.get(viewer.place, frozenset()) | kinds
        self.views = views

    async def _write(self, viewer: Viewer) -> None:
        """Send what waits, until the viewer is let go, or does not take it in time."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError,
                                 asyncio.TimeoutError):  # fmt: skip
            while not viewer.close:
                await viewer.ready.wait()
                viewer.ready.clear()
                # Who is let go gets what answers its last words.
                while not viewer.close or viewer.texts:
                    data = viewer.next_message()
                    if data is None:
                        break
                    text = isinstance(data, str)
                    message = {'type': 'websocket.send', 'text' if text else 'bytes': data}
                    await asyncio.wait_for(viewer.socket.send(message), _SEND_S)
