"""
x265 and SVT-AV1 as real streams at their best.

A sequence is coded for so many bytes a frame on average. These encoders see the whole sequence
before they code it, use every kind of frame they have and one key frame, and may take any delay:
kinder conditions than a live link gives.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from gsc_ros.evaluation.metrics import psnr
from gsc_ros.evaluation.types import Metric, Outcome, RgbImage

_SCALES = (1.0, 0.71, 0.5, 0.35, 0.25, 0.18)
_SMALLEST = 64  # pixels a side that both encoders take
# Encoder, its options, decoder, and the range of its constant rate factor.
_VIDEOS: dict[str, tuple[str, dict[str, str], str, tuple[int, int]]] = {
    'x265': (
        'libx265',
        {'preset': 'slow', 'x265-params': 'log-level=none:info=0:keyint=-1:repeat-headers=1'},
        'hevc',
        (10, 51),
    ),
    'svtav1': ('libsvtav1', {'preset': '4', 'svtav1-params': 'keyint=-1'}, 'libdav1d', (10, 63)),
}
VIDEOS = tuple(_VIDEOS)


class Video:
    """
    x265 or SVT-AV1 through PyAV: of all down-scales the best whose stream fits.

    The constant rate factor is searched for each scale; ``metric`` decides what is best (PSNR at
    full size by default). The time of ``encode`` is that of the whole search.
    """

    def __init__(self, name: str, metric: Metric = psnr) -> None:
        try:
            import av
        except ImportError as error:
            raise ValueError(f'{name} needs PyAV: pip install "gsc_ros[evaluation]"') from error
        encoder, _, decoder, _ = _VIDEOS[name]
        for needed in (encoder, decoder):
            if needed not in av.codecs_available:
                raise ValueError(f'this PyAV has no {needed}: pip install "av>=13"')
        os.environ.setdefault('SVT_LOG', '1')  # errors only
        self.name, self._metric, self._av = name, metric, av

    def _write(self, images: Sequence[RgbImage], fps: float, crf: int) -> list[bytes]:
        """
        Encode in a thread of its own.

        SVT-AV1 gives real-time priority to the thread that calls it, for a superuser. glibc
        remembers that for the thread even where the kernel takes it back, and Fast DDS gives
        what is remembered to its own threads: they would then hold up everything else.
        """
        with ThreadPoolExecutor(max_workers=1) as alone:
            return alone.submit(self._write_here, images, fps, crf).result()

    def _write_here(self, images: Sequence[RgbImage], fps: float, crf: int) -> list[bytes]:
        height, width = images[0].shape[:2]
        encoder, options, _, _ = _VIDEOS[self.name]
        context: Any = self._av.CodecContext.create(encoder, 'w')
        context.width, context.height, context.pix_fmt = width, height, 'yuv420p'
        context.framerate = Fraction(fps).limit_denominator(1000)
        context.time_base = 1 / context.framerate
        context.options = options | {'crf': str(crf)}
        packets = []
        for i, image in enumerate(images):
            frame = self._av.VideoFrame.from_ndarray(image, 'rgb24').reformat(format='yuv420p')
            frame.pts = i
            packets += context.encode(frame)
        packets += context.encode(None)
        return [bytes(packet) for packet in packets]

    def _read(self, data: list[bytes]) -> list[RgbImage]:
        context: Any = self._av.CodecContext.create(_VIDEOS[self.name][2], 'r')
        frames = []
        for packet in data:
            frames += context.decode(self._av.Packet(packet))
        frames += context.decode(None)
        return [frame.to_ndarray(format='rgb24') for frame in frames]

    def _largest(
        self, images: Sequence[RgbImage], most: float, fps: float, high: int
    ) -> tuple[list[bytes], int] | None:
        """Find the finest rate factor that fits by bisection."""
        low = _VIDEOS[self.name][3][0]
        best = self._write(images, fps, high)
        if sum(map(len, best)) > most:
            return None
        while low < high:
            middle = (low + high) // 2
            data = self._write(images, fps, middle)
            if sum(map(len, data)) <= most:
                best, high = data, middle
            else:
                low = middle + 1
        return best, high

    def encode(self, images: Sequence[RgbImage], budget: float, fps: float) -> list[bytes] | None:
        """Search scales and rate factors."""
        height, width = images[0].shape[:2]
        best: tuple[float, list[bytes]] | None = None
        for scale in _SCALES:
            size = (2 * round(width * scale / 2), 2 * round(height * scale / 2))
            if min(size) < _SMALLEST:
                continue
            small = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in images]
            found = self._largest(small, budget * len(images), fps, _VIDEOS[self.name][3][1])
            if found is None:
                continue
            shown = self.decode(found[0], (width, height))
            pairs = zip(images, shown, strict=True)
            quality = float(np.mean([self._metric(p, o.rgb) for p, o in pairs]))
            if best is None or quality > best[0]:
                best = (quality, found[0])
        return best[1] if best else None

    def decode(self, data: list[bytes], size: tuple[int, int]) -> list[Outcome]:
        """Decode and enlarge."""
        return [
            Outcome(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))
            for image in self._read(data)
        ]
