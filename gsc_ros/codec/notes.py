"""
What a robot notes about an image that the ground has to know, and its coding.

A bit of the header announces notes; then they come before all else in the stream: what of the
image is lost, whether it is of now, for how long no pixel has changed, and whether what is classed
as sky is certain to be it. A frame of an image without notes has no byte of them.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from gsc_ros.codec.caption import NOTHING, SCENES, Caption
from gsc_ros.codec.hazards import Hazards
from gsc_ros.codec.maps import read_map, write_map
from gsc_ros.codec.objects import Objects
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder
from gsc_ros.perception.content import KINDS, Loss
from gsc_ros.perception.kinds import SceneKind, is_street

_KINDS = range(17)  # room for kinds to come; 0: nothing is lost
_RIGHT, _OLD, _AHEAD = range(3)
_STAMPS = range(4)
_STEPS = 4095  # of a time on air
_SECONDS = range(_STEPS + 2)
_LONGEST_S = 1e9
_DOUBTFUL = 2  # objects that a caption names as not sure
NO_STAMP_S = _LONGEST_S  # the age of an image without a stamp


@dataclass(frozen=True)
class Timing:
    """
    How an image lies in time, in seconds; 0 for nothing.

    ``off_s``: the image is that old when it comes from the camera, or (negative) lies that far in
    the future, or has no stamp (:data:`NO_STAMP_S`); ``still_s``: its stamp is that of
    images before, for so long; ``frozen_s``: no pixel has changed for so long.
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
        """Describe what is wrong with the image; empty for nothing."""
        parts, timing = [], self.timing
        if self.loss is not None:
            parts.append(str(self.loss))
        if timing.off_s >= NO_STAMP_S:
            parts.append('image not of now: the camera sets no stamp')
        elif timing.off_s > 0:
            parts.append(f'image not of now: {timing.off_s:.0f} s old')
        if timing.off_s < 0:
            parts.append(f'image not of now: stamped {-timing.off_s:.0f} s in the future')
        if timing.still_s and timing.off_s < NO_STAMP_S:
            parts.append(f'image not of now: stamp stands still for {timing.still_s:.0f} s')
        if timing.frozen_s:
            parts.append(f'no pixel has changed for {timing.frozen_s:.0f} s')
        return ', '.join(parts)

    def __bool__(self) -> bool:
        return self != Notes()


_SKY_ONLY = Notes(sky_doubtful=True)


def caption_text(
    caption: Caption | None,
    notes: Notes | None,
    kind: SceneKind | None = None,
    hazards: Hazards | None = None,
    objects: Objects | None = None,
) -> str:
    """Return kind of scene, hazards and objects as text, with what is wrong with the image."""
    warning = notes.warning if notes else ''
    if caption is None or (notes and notes.blind):
        return warning
    parts, rest = [], str(caption).partition(': ')[2]
    if not caption.objects:
        if objects is None:
            rest = 'objects are not named here'
        elif notes and notes.loss is not None:  # the lost part may hide objects
            rest = 'no objects in what is left'
    if hazards is not None and hazards.cells.any():
        parts.append(str(hazards))
    doubtful = [] if objects is None else [item for item in objects.unnamed if not item.sure]
    lost = 0 if objects is None else objects.lost
    if rest != NOTHING or not (parts or doubtful or lost):
        parts.append(rest)
    if doubtful:
        parts.append(f'not sure: {", ".join(map(str, doubtful[:_DOUBTFUL]))}')
    if lost:
        more = 'more ' if caption.objects or doubtful else ''
        parts.append(f'{lost} {more}{"objects" if lost > 1 else "object"} not sent')
    # The classes' shares name a street more closely, or do not name it.
    named = is_street(kind) and (caption.scene > 0 or kind is None)
    scene = SCENES[caption.scene] if named else str(kind)
    return '; '.join([f'{scene}: {parts[0]}', *parts[1:], *([warning] if warning else [])])


def _symbol_of(seconds: float) -> int:
    """Code a time of 1 s to 32 years in logarithmic steps of 0.5 %."""
    return round(_STEPS * math.log(min(max(seconds, 1.0), _LONGEST_S)) / math.log(_LONGEST_S))


def _seconds_of(symbol: int) -> float:
    """Inverse of :func:`_symbol_of`."""
    return float(_LONGEST_S ** (symbol / _STEPS))


def _write_optional(encoder: RangeEncoder, seconds: float) -> float:
    """Write a time that may be 0; returns it as it will be read."""
    encoder.encode_bit(seconds > 0)
    return _write_seconds(encoder, seconds) if seconds > 0 else 0.0


def _write_seconds(encoder: RangeEncoder, seconds: float) -> float:
    symbol = _symbol_of(seconds)
    encoder.encode(symbol, _SECONDS)
    return _seconds_of(symbol)


def _read_seconds(decoder: RangeDecoder) -> float:
    return _seconds_of(decoder.decode(_SECONDS))


def write(encoder: RangeEncoder, notes: Notes) -> Notes:
    """Write notes; returns them as they will be read, with rounded times."""
    encoder.encode_bit(notes == _SKY_ONLY)  # the most frequent note takes one bit
    if notes == _SKY_ONLY:
        return notes
    encoder.encode_bit(notes.sky_doubtful)
    loss, timing = notes.loss, notes.timing
    encoder.encode(0 if loss is None else 1 + loss.kind, _KINDS)
    if loss is not None:
        encoder.encode_bit(loss.whole)
        if not loss.whole:
            write_map(encoder, loss.cells)
    off_s = timing.off_s
    stamp = _RIGHT if not off_s else _OLD if off_s > 0 else _AHEAD
    encoder.encode(stamp, _STAMPS)
    if stamp != _RIGHT:
        off_s = math.copysign(_write_seconds(encoder, abs(off_s)), off_s)
    still_s, frozen_s = (_write_optional(encoder, s) for s in (timing.still_s, timing.frozen_s))
    return replace(notes, timing=Timing(off_s, still_s, frozen_s))


def read(decoder: RangeDecoder, shape: tuple[int, int]) -> Notes:
    """Read the notes of an image of so many cells (H/16, W/16)."""
    if decoder.decode_bit():
        return _SKY_ONLY
    sky_doubtful = decoder.decode_bit()
    kind = decoder.decode(_KINDS)
    loss = None
    if kind:
        whole = decoder.decode_bit()
        cells = np.ones(shape, bool) if whole else read_map(decoder, shape)
        loss = Loss(min(kind, len(KINDS)) - 1, cells)
    stamp = decoder.decode(_STAMPS)
    off_s = 0.0 if stamp == _RIGHT else _read_seconds(decoder)
    still_s, frozen_s = (_read_seconds(decoder) if decoder.decode_bit() else 0.0 for _ in range(2))
    return Notes(
        loss, Timing(-off_s if stamp == _AHEAD else off_s, still_s, frozen_s), sky_doubtful
    )
