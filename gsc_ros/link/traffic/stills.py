"""
Stills at both ends: the robot sends their parts in a share of the air, the ground asks for what is
missing, however long that takes and whatever interrupts it. Of several cameras each has its own.
Times are arguments, in s.
"""

from typing import NoReturn

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import PayloadError
from gsc_ros.link.datagrams.stills import Part, Still, StillAsk
from gsc_ros.link.traffic.port import LinkPort

_LEAST_SILENCE_S = 3.0  # from asking to the first part: the robot takes and codes an image
_INTERVALS = 4  # of parts without one, after which what is missing is asked for
_MOST_WAITS = 5  # doublings
_SPARE = 1.25  # of a round trip: an ask too many costs all that is sent in one
_SILENT_ASKS = 2  # without an answer, before the waits grow: losses alone are no silence


class StillParts:
    """
    Robot's end of a camera's still: its parts, and which of them the ground lacks.

    ``number``: of the newest request, 0 for none; ``wants``: an image has yet to come for it;
    ``pending``: indices of the parts that are to be sent.
    """

    def __init__(self) -> None:
        self.number = 0
        self.wants = False
        self.pending: list[int] = []
        self._parts: list[Part] = []

    def ask(self, ask: StillAsk) -> None:
        """Take what the ground asks for: a new still, or parts of this one."""
        if ask.number != self.number or not (self._parts or self.wants):
            self.number, self.wants = ask.number, True
            self._parts, self.pending = [], []
            return
        if not ask.missing:
            self.pending = list(range(len(self._parts)))
            return
        later = [i for i in self.pending if i >= ask.covers]
        self.pending = [i for i in ask.missing if i < len(self._parts)] + later

    def give(self, still: Still, room: int) -> None:
        """Take a still to be sent in payloads of ``room`` bytes, in place of the one before."""
        if not self.wants:
            return
        self._parts = still.parts(self.number, room)
        self.pending, self.wants = list(range(len(self._parts))), False

    def take(self) -> bytes:
        """Return the next part that is pending, packed; it is pending no more."""
        return self._parts[self.pending.pop(0)].pack()


class StillSender:
    """
    Robot's end: sends the parts that the ground lacks over ``down``, in a ``share`` of the air.

    ``cameras``: the still of each, by its number on air. Those that are on their way have the
    share together, part by part in turn.
    """

    def __init__(self, down: LinkPort, share: float, cameras: int = 1) -> None:
        self._down, self._share = down, share
        self.cameras = [StillParts() for _ in range(cameras)]
        self._turns = list(range(cameras))
        self._next_at = 0.0

    def give(self, still: Still, camera: int = 0) -> None:
        """Send a still of a camera that wants one."""
        sender = self._down.sender
        self.cameras[camera].give(still, sender.mtu - sender.seal.overhead)

    @property
    def next_deadline(self) -> float | None:
        """When to send next (s); None: when a part has left, or something is asked for."""
        waits = any(
            self._down.sender.waiting_payload(TrafficClass.STILL, camera) is not None
            for camera in self._turns
        )
        pending = any(one.pending for one in self.cameras)
        return self._next_at if pending and not waits else None

    def step(self, now: float) -> None:
        """Offer a part when it is time; one waits for the air at most."""
        at = self.next_deadline
        if at is None or now < at:
            return
        camera = next(one for one in self._turns if self.cameras[one].pending)
        self._turns.remove(camera)
        self._turns.append(camera)
        payload = self.cameras[camera].take()
        took_s = self._down.sender.air_s(len(payload), TrafficClass.STILL) + self._down.turn_s
        self._next_at = now + took_s / self._share
        self._down.offer(payload, now, TrafficClass.STILL, camera=camera)


class StillReceiver:
    """
    Ground's end: puts a still together. ``received`` of ``count`` parts came (0 of 0: none yet).

    ``number``: not the one of the run before. ``dropped`` counts parts that are of another still,
    too large or not of one piece with those before. ``complete``: the last one asked for came.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._wanted = False
        self.complete = False
        self.dropped = 0
        self._parts: dict[int, Part] = {}
        self._first: Part | None = None
        self._ask_at: float | None = None
        self._asked_at = self._came_at = 0.0
        self._wait_s = 0.0  # from the last ask to its answer
        self._interval_s = 0.0
        self._paused = False  # whether the link was closed since the last part
        self._last_asked = -1  # index, of a bitmap
        self.unanswered = 0

    @property
    def wanted(self) -> bool:
        """Whether a still is on its way."""
        return self._wanted

    @property
    def received(self) -> int:
        """How many parts came."""
        return len(self._parts)

    @property
    def count(self) -> int:
        """How many parts there are, 0 where that is not known yet."""
        return self._first.count if self._first else 0

    @property
    def next_deadline(self) -> float | None:
        """When to ask next (s); None: not at all."""
        return self._ask_at

    @property
    def text(self) -> str:
        """What is known, in words."""
        if self.complete:
            return 'complete'
        if not self._wanted:
            return 'none'
        what = f'{self.received} of {self.count} parts' if self.count else 'asked'
        silent = self.unanswered > _SILENT_ASKS
        return f'{what}, no answer from the robot' if silent else what

    def want(self, now: float) -> None:
        """Ask for a new still."""
        self._number = self._number % 255 + 1
        self._wanted, self.complete = True, False
        self._begin()
        self._ask_at, self.unanswered = now, 0

    def _begin(self) -> None:
        self._parts, self._first, self._interval_s = {}, None, 0.0
        self._last_asked = -1

    def ask_soon(self, now: float) -> None:
        """Ask again: the robot has begun anew, and knows nothing of it."""
        if self._wanted:
            self._ask_at, self.unanswered = now, 0

    def next_ask(self, now: float, is_open: bool, wait_s: float) -> StillAsk | None:
        """
        Return what to ask for now, or None.

        is_open: whether the link is; while it is not, nothing is asked for. wait_s: how long an
        answer takes, there and back.
        """
        if self._ask_at is None:
            return None
        if not is_open:
            self._paused = True
            self._ask_at = max(self._ask_at, now + wait_s)
            return None
        if now < self._ask_at:
            return None
        missing = set(range(self.count)) - self._parts.keys()
        ask = StillAsk.of(self._number, missing if self._parts else ())
        self._last_asked = ask.missing[-1] if ask.missing else -1
        self._asked_at, self._wait_s = now, wait_s
        least_s = _LEAST_SILENCE_S + _SPARE * wait_s + _INTERVALS * self._interval_s
        doublings = min(max(0, self.unanswered - _SILENT_ASKS), _MOST_WAITS)
        self._ask_at = now + least_s * 2**doublings
        self.unanswered += 1
        return ask

    def on_part(self, payload: bytes, now: float) -> Still | None:
        """
        Take a part; returns the still when it is whole. Raises PayloadError.

        A part of the still that is complete is ignored: it was asked for while it was on its way.
        """
        part = Part.unpack(payload)
        if self.complete and part.number == self._number:
            return None
        if not self._wanted or part.number != self._number:
            self._drop('a part of a still that is not wanted')
        if self._first is not None and self._first.tag != part.tag:
            self._begin()  # the robot began anew, and took another image
        if not self._fits(part):
            self._drop('a part that does not fit to those before')
        self._note_time(part, now)
        self._first = self._first or part
        self._parts[part.index] = part
        if len(self._parts) < part.count:
            return None
        data = b''.join(self._parts[i].data for i in range(part.count))
        try:
            still = Still.unpack(data)
        except PayloadError:
            self.dropped += part.count
            self._begin()
            self._ask_at = now
            raise
        self._wanted, self.complete, self._ask_at = False, True, None
        return still

    def _fits(self, part: Part) -> bool:
        """Whether a part is of one still with those before: all but the last equally long."""
        if self._first is None:
            return True
        if part.count != self._first.count:
            return False
        last = part.count - 1
        size = len(part.data)
        if part.index == last:
            return all(size <= len(one.data) for one in self._parts.values())
        return all(
            len(one.data) == size if i < last else len(one.data) <= size
            for i, one in self._parts.items()
        )

    def _drop(self, why: str) -> NoReturn:
        self.dropped += 1
        raise PayloadError(why)

    def _note_time(self, part: Part, now: float) -> None:
        """
        Plan when to ask: at the end of what was asked for, or when parts stay away.

        Not before the last ask can have been answered: what comes until then was sent without it.
        """
        if self._parts and now > self._came_at and not self._paused:
            took_s = now - self._came_at
            self._interval_s = took_s if not self._interval_s else (
                0.8 * self._interval_s + 0.2 * min(took_s, 4 * self._interval_s)
            )  # fmt: skip
        self._came_at, self.unanswered, self._paused = now, 0, False
        end = self._last_asked if self._last_asked >= 0 else part.count - 1
        is_end = part.index >= max(end, 0) and part.index not in self._parts
        # While the pace of the parts is not known, asking in vain must not cost more than waiting.
        patience_s = _LEAST_SILENCE_S + (_INTERVALS * self._interval_s or self._wait_s)
        at = now + (min(1.0, patience_s) if is_end else patience_s)
        self._ask_at = max(at, self._asked_at + self._wait_s)
