"""
A renderer that may be missing, and the deterministic image while it is.

A pretrained model may not be on this machine, not fit its memory, or run out of it later. The
operator then still sees what was sent, and reads why no more is drawn.
"""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.networks import GroundNetworks
from gsc_ros.codec.renderers import DETERMINISTIC, Renderer
from gsc_ros.codec.types import ReceivedFrame
from gsc_ros.models.tokenizer import Synthesis

RETRY_S = 30.0
_MOST_STEPS = 8


class FallbackRenderer:
    """
    Draws by the renderer that ``load`` returns, and deterministically while there is none.

    ``name``: of the renderer; ``warn``: is told once why it cannot draw. It is loaded again
    ``retry_s`` (30) s after a failure, for memory may be free by then. ``background``: load in a
    thread of its own, so that images are shown meanwhile. ``clock``: in s.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Renderer],
        warn: Callable[[str], None],
        background: bool = False,
        retry_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted, self._load, self._warn = name, load, warn
        self._background, self._clock = background, clock
        self._retry_s = RETRY_S if retry_s is None else retry_s
        self._lock = threading.Lock()
        self._renderer: Renderer | None = None
        self._loading = self._closed = False
        self._failed_at: float | None = None
        self._began_at = clock()
        self._problem = ''
        self._begin()

    @property
    def name(self) -> str:
        """What draws now."""
        return self._wanted if self._renderer is not None else DETERMINISTIC

    @property
    def default_steps(self) -> int:
        """The steps of the renderer where it is loaded."""
        return self._renderer.default_steps if self._renderer is not None else 1

    @property
    def max_steps(self) -> int:
        """The most steps of the renderer where it is loaded."""
        return self._renderer.max_steps if self._renderer is not None else _MOST_STEPS

    @property
    def problem(self) -> str:
        """Why images are deterministic; empty where they are not."""
        if self._renderer is not None:
            return ''
        if self._loading and not self._problem:
            loading_s = self._clock() - self._began_at
            return f'renderer {self._wanted} is being loaded for {loading_s:.0f} s'
        return self._problem

    def close(self) -> None:
        """Free the renderer; what is still being loaded is dropped when it is there."""
        with self._lock:
            self._closed, self._renderer = True, None

    def draw(
        self, networks: GroundNetworks, frames: Sequence[ReceivedFrame], out: Synthesis, steps: int
    ) -> NDArray[np.float32]:
        """Draw; see :meth:`Renderer.draw`."""
        self.retry()
        renderer = self._renderer
        if renderer is not None:
            try:
                return renderer.draw(networks, frames, out, min(steps, renderer.max_steps))
            except Exception as error:  # whatever a model does, the operator sees the frame
                self._fail(error)
        return networks.reconstructor.draw(out)

    def retry(self) -> None:
        """Load again where the last failure is long enough ago."""
        failed_at = self._failed_at
        if self._renderer is not None or self._closed or failed_at is None:
            return
        if self._clock() - failed_at >= self._retry_s:
            self._begin()

    def _begin(self) -> None:
        """Load, here or in a thread, where it is not being loaded."""
        with self._lock:
            if self._loading:
                return
            self._loading, self._began_at = True, self._clock()
        if self._background:
            threading.Thread(target=self._run, name='renderer', daemon=True).start()
        else:
            self._run()

    def _run(self) -> None:
        try:
            renderer = self._load()
        except Exception as error:  # also what a library raises of a damaged file
            self._fail(error)
        else:
            with self._lock:
                if not self._closed:
                    self._renderer, self._problem = renderer, ''
        self._loading = False

    def _fail(self, error: Exception) -> None:
        """Give the renderer up for a while."""
        text = str(error) or type(error).__name__
        told = text == self._problem
        with self._lock:
            self._renderer, self._problem, self._failed_at = None, text, self._clock()
            told = told or self._closed
        if not told:
            self._warn(f'{text} Until then images are deterministic.')
