"""
What a robot notes about an image that the ground has to know, and how it goes on air.

A bit of the header announces notes; then they come before all else in the stream: what of the
image is lost, whether it is of now, for how long no pixel has changed, and whether what is classed
as sky is certain to be it. A frame of an image without notes has no byte of them.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.caption import SCENES, Caption
from gsc_ros.codec.maps import code_map
from gsc_ros.codec.rangecoder import Decoder, Encoder
from gsc_ros.perception.content import KINDS, Loss

_EVEN = range(3)  # the table of a coin
_KINDS = range(17)  # room for kinds to come; 0: nothing is lost
_RIGHT, _OLD, _AHEAD = range(3)
_STAMPS = range(4)
_STEPS = 4095  # of a time on air
_SECONDS = range(_STEPS + 2)
_LONGEST_S = 1e9


@dataclass(frozen=True)
class Timing:
    """
    How an image lies in time, in seconds; 0 where there is nothing to say.

    ``off_s``: the image is that old when it comes from the camera, or (negative) lies that far in
    the future; ``still_s``: its stamp is that of images before, for so long; ``frozen_s``: no
    pixel has changed for so long.
    """

    off_s: float = 0.0
    still_s: float = 0.0
    frozen_s: float = 0.0

    @property
    def doubtful(self) -> bool:
        """Whether the image may be of another time than now."""
        return self.off_s != 0 or self.still_s > 0


@dataclass(frozen=True)
class Notes:
    """
    What a robot notes about an image.

    ``loss``: what of it is lost, None for nothing; ``timing``: how it lies in time;
    ``sky_doubtful``: what is classed as sky may be something else.
    """

    loss: Loss | None = None
    timing: Timing = field(default_factory=Timing)
    sky_doubtful: bool = False

    @property
    def blind(self) -> bool:
        """Whether nothing may be taken from the image: it shows nothing, or is not of now."""
        return (self.loss is not None and self.loss.whole) or self.timing.doubtful

    @property
    def warning(self) -> str:
        """Say what is wrong with the image; empty for nothing."""
        parts, timing = [], self.timing
        if self.loss is not None:
            parts.append(str(self.loss))
        if timing.off_s > 0:
            parts.append(f'image not of now: {timing.off_s:.0f} s old')
        if timing.off_s < 0:
            parts.append(f'image not of now: stamped {-timing.off_s:.0f} s in the future')
        if timing.still_s:
            parts.append(f'image not of now: stamp stands still for {timing.still_s:.0f} s')
        if timing.frozen_s:
            parts.append(f'no pixel has changed for {timing.frozen_s:.0f} s')
        return ', '.join(parts)

    def __bool__(self) -> bool:
        return self != Notes()


_SKY_ONLY = Notes(sky_doubtful=True)


def spoken(caption: Caption | None, notes: Notes | None) -> str:
    """Put into words what the robot sees, and what is wrong with the image."""
    warning = notes.warning if notes else ''
    if caption is None or (notes and notes.blind):
        return warning
    if notes and notes.loss is not None and not caption.things:
        # Nothing can be said of the way.
        return f'{SCENES[caption.scene]}: no objects in what is left; {warning}'
    return f'{caption}; {warning}' if warning else str(caption)


def code(coder: Encoder | Decoder, given: Notes | None, shape: tuple[int, int]) -> Notes:
    """Code notes, or read them (``given`` None), of an image of so many cells (H/16, W/16)."""
    notes = given or Notes()

    def say(symbol: int, table: range) -> int:
        return coder.code(None if given is None else symbol, table)  # type: ignore[arg-type]

    def seconds(value: float) -> float:
        """Code a time of 1 s to 32 years in logarithmic steps of 0.5 %."""
        share = math.log(min(max(value, 1.0), _LONGEST_S)) / math.log(_LONGEST_S)
        return float(_LONGEST_S ** (say(round(_STEPS * share), _SECONDS) / _STEPS))

    if say(int(notes == _SKY_ONLY), _EVEN):  # the most frequent note takes one bit
        return _SKY_ONLY
    doubtful = bool(say(int(notes.sky_doubtful), _EVEN))
    kind = say(0 if notes.loss is None else 1 + notes.loss.kind, _KINDS)
    loss = None
    if kind:
        cells: NDArray[np.bool_] = np.ones(shape, bool)
        if not say(int(notes.loss is not None and notes.loss.whole), _EVEN):
            cells = code_map(coder, notes.loss.cells if notes.loss else None, shape)
        loss = Loss(min(kind, len(KINDS)) - 1, cells)
    timing = notes.timing
    stamp = say(_RIGHT if not timing.off_s else _OLD if timing.off_s > 0 else _AHEAD, _STAMPS)
    off_s = seconds(abs(timing.off_s)) if stamp else 0.0
    still_s, frozen_s = (
        seconds(value) if say(int(value > 0), _EVEN) else 0.0
        for value in (timing.still_s, timing.frozen_s)
    )
    timing = Timing(-off_s if stamp == _AHEAD else off_s, still_s, frozen_s)
    return Notes(loss, timing, doubtful)
