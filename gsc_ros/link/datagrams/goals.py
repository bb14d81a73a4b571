"""Payloads of goals: where the operator sends the robot, and that it shall not go there."""

import math
import struct
from dataclasses import dataclass
from enum import IntEnum

from gsc_ros.link.datagrams.payloads import COMMAND_STAMP_BITS, PayloadError, unwrap

MAX_DISTANCE_M = 327.67
_HEAD = struct.Struct('>HIBB')
_PLACE = struct.Struct('>HIhhb')
_STAMP_BITS = 48
_STEPS = 100  # in a metre
_TURN = 256  # steps in a full turn


class GoalState(IntEnum):
    """What the robot reports of a goal."""

    NONE = 0
    GIVEN = 1
    ACTIVE = 2
    REACHED = 3
    ABORTED = 4
    CANCELLED = 5
    REFUSED = 6


@dataclass(frozen=True)
class Place:
    """
    A pose on the ground in the robot's frame at the time of an image.

    stamp_ns: of the image; x, y: ahead and to the left, m, in steps of 0.01 and within 327.67;
    yaw: rad, in steps of a 256th of a turn.
    """

    stamp_ns: int
    x: float
    y: float
    yaw: float = 0.0

    def __post_init__(self) -> None:
        if not all(abs(value) <= MAX_DISTANCE_M for value in (self.x, self.y)):  # also NaN
            raise ValueError(f'a goal is within {MAX_DISTANCE_M} m, got {self.x}, {self.y}')
        if not math.isfinite(self.yaw):
            raise ValueError(f'the heading of a goal is a number, got {self.yaw}')


@dataclass(frozen=True)
class Goal:
    """
    A goal, 19 bytes, or the end of all goals, 8 bytes, where ``place`` is None.

    stamp_us, robot: as of a :class:`Command`, of when it was given. number: 1 to 255, another one
    for each goal and each end, by which the robot reports on it.
    """

    stamp_us: int
    number: int
    place: Place | None
    robot: int = 0

    def pack(self) -> bytes:
        """Return the bytes for the air."""
        low = self.stamp_us & ((1 << COMMAND_STAMP_BITS) - 1)
        head = _HEAD.pack(low >> 32, low & 0xFFFFFFFF, self.robot, self.number)
        if self.place is None:
            return head
        taken = self.place.stamp_ns & ((1 << _STAMP_BITS) - 1)
        turn = round(self.place.yaw / math.tau * _TURN)
        turn = (turn + _TURN // 2) % _TURN - _TURN // 2
        x, y = round(self.place.x * _STEPS), round(self.place.y * _STEPS)
        return head + _PLACE.pack(taken >> 32, taken & 0xFFFFFFFF, x, y, turn)

    @classmethod
    def unpack(cls, payload: bytes, now_us: int) -> 'Goal':
        """Read a goal; stamps are those next to `now_us`. Raises PayloadError."""
        try:
            high, low, robot, number = _HEAD.unpack(payload[: _HEAD.size])
            rest = payload[_HEAD.size :]
            place = None
            if rest:
                taken_high, taken_low, x, y, turn = _PLACE.unpack(rest)
                taken = unwrap(taken_high << 32 | taken_low, _STAMP_BITS, 1000 * now_us)
                yaw = turn * math.tau / _TURN
                place = Place(taken, x / _STEPS, y / _STEPS, yaw)
            if not number:
                raise ValueError('its number is 0')
        except (struct.error, ValueError) as error:
            raise PayloadError(f'not a goal: {error}') from None
        stamp_us = unwrap(high << 32 | low, COMMAND_STAMP_BITS, now_us)
        return cls(stamp_us, number, place, robot)
