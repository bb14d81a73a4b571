"""Frames of a film file."""

from collections.abc import Callable
from pathlib import Path

import cv2

from gsc_ros.sources.source import CameraFrame, guessed_k


class Video:
    """
    A film, in the file's order and at its own speed: frames between two calls are passed over.

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
        if not self._film.isOpened():
            raise ValueError(f'{file} is not a film that OpenCV reads')
        fps = self._film.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else 25.0
        self.skipped = 0
        self._loop, self._hfov, self._log = loop, hfov_deg, log
        self._owed = 0.0

    def frame(
        self, seconds: float, command: tuple[float, float] | None, truth: bool
    ) -> CameraFrame | None:
        """Give the frame that is shown ``seconds`` after the last; None at the end."""
        self._owed += seconds * self.fps
        while self._owed >= 2:
            self._film.grab()
            self._owed -= 1
        self._owed = max(0.0, self._owed - 1)
        good, bgr = self._film.read()
        if not good and self._loop:
            self._film.set(cv2.CAP_PROP_POS_FRAMES, 0)
            good, bgr = self._film.read()
        if not good:
            return None
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return CameraFrame(rgb, guessed_k(rgb.shape[1], rgb.shape[0], self._hfov))

    def close(self) -> None:
        """Close the file."""
        self._film.release()
