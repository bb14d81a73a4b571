"""
Frames of a video file, at the times that the video itself states.

PyAV, and not OpenCV, reads them: OpenCV passes over what is damaged without a word, and does not
know the colours of HD. A video begins anew by being opened again, as many kinds cannot seek.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsc_ros.image_files import check_jpeg
from gsc_ros.sources.source import CameraFrame, guessed_k

_EARLY_S = 0.005  # a call may come so much before a frame is due
_PATIENCE_S = 1.0  # of decoding in one call
_HEAVY = 1920 * 1088  # pixels of a frame, above which one core may not decode a video in time
_ANY_YUV = 5  # BT.601, of which RGB has nothing
_FPS = 25.0  # of a video that states no times and no rate
# The longest that a frame is shown: what states more was cut together, or is damaged. Of MPEG
# streams FFmpeg itself takes ten seconds for a break in the time stamps.
_LONGEST_S = 3600.0
_LONGEST_OF_STREAMS_S = 10.0


@dataclass(frozen=True)
class _Frame:
    at_s: float  # since the first frame of the video
    image: Any  # av.VideoFrame


class _Pass:
    """One pass over a file. Raises ``ValueError`` when no frame of it can be decoded."""

    def __init__(self, file: Path) -> None:
        try:
            import av
            from av.video.reformatter import VideoReformatter
        except ImportError as error:
            raise ValueError('videos need PyAV: pip install "gsc_ros[video]"') from error
        self._error = av.FFmpegError
        try:
            self._container = av.open(str(file), metadata_errors='ignore')
        except (av.FFmpegError, OSError) as error:
            raise ValueError(f'{file} is no video that FFmpeg reads ({error})') from error
        self.damaged = 0  # packets
        self.last_s = self._zero = self._states_end = -math.inf
        self.end_s = math.inf  # when the last frame's time is over, once that is known
        stream: Any = self._container.streams.best('video')
        if stream is None:
            self._container.close()
            raise ValueError(f'{file} holds no video')
        # With several threads it is left to chance which damage FFmpeg notices.
        heavy = stream.width * stream.height > _HEAVY
        stream.thread_type = 'AUTO' if heavy else 'NONE'
        self._frames = self._decode(stream)
        first = self.next()
        if first is None:
            self.close()
            raise ValueError(f'{file} holds no frame that FFmpeg can decode')
        self.first = first
        self._matrix = _display_matrix(first.image)
        self._reformatter = VideoReformatter()

    def _packets(self, stream: Any) -> Iterator[Any]:
        packets = self._container.demux(stream)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except self._error:  # the rest of the file cannot be taken apart
                self.damaged += 1
                return

    def _decode(self, stream: Any) -> Generator[_Frame, None, None]:
        rate = float(stream.guessed_rate or stream.average_rate or 0)
        step = 1 / (rate if 0 < rate <= 1000 else _FPS)
        streamed = {'mpegts', 'mpeg'} & set(self._container.format.name.split(','))
        longest = _LONGEST_OF_STREAMS_S if streamed else _LONGEST_S
        jpeg = stream.codec_context.name == 'mjpeg'
        if jpeg:
            stream.codec_context.options = {'err_detect': 'explode'}
        for packet in self._packets(stream):
            images, sound = [], not packet.is_corrupt
            try:
                if jpeg and packet.size:
                    check_jpeg(bytes(packet))
                images = packet.decode()
            except (ValueError, self._error):  # a JPEG with damage inside, or any other damage
                sound = False
            whole = [image for image in images if not image.is_corrupt]
            self.damaged += not sound or len(whole) < len(images)
            for image in whole:
                yield _Frame(self._time(image, step, longest), image)
            if packet.pts is not None and packet.duration:
                ends = float((packet.pts + packet.duration) * packet.time_base)
                self._states_end = max(self._states_end, ends)
        stated = self._states_end - self._zero
        true = self.last_s < stated <= self.last_s + longest
        self.end_s = stated if true else self.last_s + step

    def _time(self, image: Any, step: float, longest: float) -> float:
        """Seconds since the first frame, by the frame's time stamp where that can be true."""
        stated = None if image.pts is None else float(image.pts * image.time_base)
        if self.last_s == -math.inf:
            at = 0.0
        elif stated is not None and self.last_s < stated - self._zero <= self.last_s + longest:
            at = stated - self._zero
        else:
            at = self.last_s + step
        if stated is not None:
            self._zero = stated - at
        self.last_s = at
        return at

    def next(self) -> _Frame | None:
        """Decode the next frame; None at the end."""
        return next(self._frames, None)

    def rgb(self, image: Any) -> NDArray[np.uint8]:
        """Return a frame as uint8 (H, W, 3) RGB, turned and mirrored by its display matrix."""
        # With one reformatter: each frame's own has threads of its own. Before PyAV 17 it heeds
        # which YUV a frame states only where one is named for the output too.
        rgb24 = self._reformatter.reformat(image, format='rgb24', dst_colorspace=_ANY_YUV)
        pixels: Any = rgb24.to_ndarray()
        if self._matrix is None:
            return pixels
        a, b, c, d = self._matrix
        if abs(b) + abs(c) > abs(a) + abs(d):
            pixels, a, d = pixels.swapaxes(0, 1), c, b
        return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

    def close(self) -> None:
        """Close the file, and end the decoder's threads."""
        self._frames.close()
        self._container.close()


def _display_matrix(image: Any) -> tuple[int, int, int, int] | None:
    """
    Return a, b, c, d of a frame's display matrix (ISO 14496-12, 8.3.2), if it has one.

    What is at (x, y) is shown at (a x + c y, b x + d y), both axes as in the image. To be asked of
    one frame only: a frame whose side data were read is held until the next garbage
    collection.
    """
    for data in image.side_data:
        if data.type.name == 'DISPLAYMATRIX':
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
            return a, b, c, d
    return None


class Video:
    """
    A video at its own speed: each call returns the frame whose time has come.

    Frames come upright, by the display matrix of the file. ``loop`` starts again at the end.
    Packets that are missing or damaged are counted in ``skipped``, the first one is named in
    ``log``; a frame that is only half there is not shown. A video that cannot be decoded as fast
    as it plays runs slower.

    Raises ``ValueError`` when the file is missing or no video, or PyAV is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        loop: bool = True,
        hfov_deg: float = 70.0,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._file = Path(path).expanduser()
        if not self._file.is_file():
            raise ValueError(f'path {str(path)!r} is not a file: give a video')
        self.skipped = 0
        self._loop, self._hfov, self._log = loop, hfov_deg, log
        self._slow = False
        self._at_s = 0.0  # of the video
        self._shown: CameraFrame
        self._shown_at_s = 0.0
        try:
            self._pass = _Pass(self._file)
        except ValueError as error:
            raise ValueError(f'path {str(path)!r}: {error}: give another (.mp4, .mkv)') from error
        self._begin()

    def _begin(self) -> None:
        self._coming: _Frame | None = self._pass.first
        self._damaged = 0
        self._count()

    def _count(self) -> None:
        """Count the damage since the last call."""
        if self._pass.damaged > self._damaged:
            if not self.skipped:
                after = max(0.0, self._pass.last_s)
                self._log(f'{self._file}: damaged after {after:.2f} s: images are missing')
            self.skipped += self._pass.damaged - self._damaged
            self._damaged = self._pass.damaged

    def frame(
        self, seconds: float, command: tuple[float, float] | None, truth: bool
    ) -> CameraFrame | None:
        """Give the frame that is shown ``seconds`` after the last call; None at the end."""
        self._at_s += seconds
        patience = time.monotonic() + _PATIENCE_S
        found = None
        while True:
            if self._coming is not None:
                if self._coming.at_s > self._at_s + _EARLY_S:
                    break
                found = self._coming
                self._coming = self._pass.next()
                self._count()
            else:
                end = self._pass.end_s
                if self._at_s + _EARLY_S < end:
                    break
                if not self._loop:
                    return None
                self._at_s = max(0.0, self._at_s - end) % end
                self._pass.close()
                self._pass = _Pass(self._file)
                self._begin()
            if found is not None and time.monotonic() > patience:
                if not self._slow:
                    self._log(
                        f'{self._file}: decoding takes longer than the video: it runs slower'
                    )
                self._slow = True
                self._at_s = min(self._at_s, found.at_s)
                break
        return self._show(found)

    def _show(self, found: _Frame | None) -> CameraFrame:
        if found is not None:
            rgb = self._pass.rgb(found.image)
            height, width = rgb.shape[:2]
            self._shown = CameraFrame(rgb, guessed_k(width, height, self._hfov))
            self._shown_at_s = found.at_s
        coming_s = self._pass.end_s if self._coming is None else self._coming.at_s
        return replace(
            self._shown,
            age_s=max(0.0, self._at_s - self._shown_at_s),
            fresh=found is not None,
            next_s=max(0.0, coming_s - self._at_s),
        )

    def close(self) -> None:
        """Close the file."""
        self._pass.close()
