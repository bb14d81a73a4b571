"""Frames of a film file."""

from collections.abc import Callable
from pathlib import Path

import cv2

from gsc_ros.sources.source import CameraFrame, guessed_k


class Video:
    """
    A film at its own speed: frames between two calls are passed over, or one is shown again.

    Raises ``ValueError`` when the file is missing or no film.
    """

    def __init__(
        self,
        path: str | Path,
        loop: bool = True,
        hfov_deg: float = 70.0,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise ValueError(f'path {str(path)!r} is not a file: give a film that OpenCV reads')
        self._film = cv2.VideoCapture(str(file))
        good, self._bgr = self._film.read()
        if not good:
            self._film.release()
            raise ValueError(
                f'path {str(path)!r} is not a film that OpenCV reads: give another (.mp4, .avi)'
            )
        fps = self._film.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else 25.0
        self.skipped = 0
        self._loop, self._hfov, self._log = loop, hfov_deg, log
        self._owed = 0.0  # frames by which the film is behind the clock

    def frame(
        self, seconds: float, command: tuple[float, float] | None, truth: bool
    ) -> CameraFrame | None:
        """Give the frame that is shown ``seconds`` after the last; None at the end."""
        self._owed += seconds * self.fps
        steps = round(self._owed)
        self._owed -= steps
        for _ in range(steps):
            if not (self._film.grab() or (self._loop and self._rewound())):
                return None
        if steps:
            good, bgr = self._film.retrieve()
            if good:
                self._bgr = bgr
            else:
                self.skipped += 1
        rgb = cv2.cvtColor(self._bgr, cv2.COLOR_BGR2RGB)
        return CameraFrame(rgb, guessed_k(rgb.shape[1], rgb.shape[0], self._hfov))

    def _rewound(self) -> bool:
        """Go to the first frame; whether there is one."""
        return bool(self._film.set(cv2.CAP_PROP_POS_FRAMES, 0) and self._film.grab())

    def close(self) -> None:
        """Close the file."""
        self._film.release()
