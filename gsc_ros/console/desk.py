"""
What the operators' words do at a robot: the wheel, the STOP, requests, recordings.

Joins the rules of driving and stopping to outputs that a node gives. It is not thread-safe: the
node holds a lock around it. Times are s of a monotonic clock.
"""

from collections.abc import Callable
from typing import Any, Protocol

from gsc_ros.console import words
from gsc_ros.console.drive import Drive, Limits, Velocity
from gsc_ros.console.stops import State, StopButton
from gsc_ros.region import WHOLE, Region

_RELEASE_S = 2.0  # that a release may wait before it is published


class Outputs(Protocol):
    """What a node does for the desk; each returns at once."""

    def velocity(self, velocity: Velocity) -> None:
        """Command a velocity, m/s ahead and rad/s to the left."""

    def give_stop(self) -> None:
        """Give a STOP."""

    def release_stop(self, begin: Callable[[float], str], end: Callable[[float], str]) -> None:
        """
        Release the STOP, and tell what was done.

        ``begin`` returns why it may not be released at a time, empty where it may: from then on it
        is. ``end`` is called once the release is out; it returns why a STOP has to follow, or
        empty: a release that hung on its way may have come out after a STOP.
        """

    def first(self, camera: int) -> None:
        """Ask the robot to let a camera come first."""

    def key_frame(self, camera: int) -> None:
        """Ask a camera for a key frame."""

    def still(self, camera: int) -> None:
        """Ask a camera for one whole image."""

    def region(self, camera: int, region: Region) -> None:
        """Ask for a part of a camera's image to be sent first."""

    def ask(self, camera: int, budget: int | None, rate: float | None) -> None:
        """Ask a camera for frames of so many bytes, or so many a second at most."""

    def go(self, camera: int, click: words.Go, refusal: Callable[[], str]) -> None:
        """
        Send the robot to what a camera's image shows there, and tell what was done.

        ``refusal`` returns why it may not go, also later; empty where it may.
        """

    def end_goal(self) -> None:
        """Have the robot give up its goal."""

    def record(self, on: bool) -> str:
        """Begin or end a recording; returns why not, empty for begun."""

    def snapshot(self, camera: int) -> str:
        """Keep a camera's image; returns why not, empty for begun."""


class Desk:
    """
    Follows the words of viewers, each known by a number. Each watches a camera, known by a number
    too: the first until it says so. The one that the driver watches is driven by, and comes first.

    ``stale``: returns why a camera's image is not fit to drive by, empty where it is. ``state``:
    what the link states of the stop, to be set.
    """

    def __init__(self, limits: Limits, stale: Callable[[int], str], outputs: Outputs) -> None:
        self.drive, self.button = Drive(limits), StopButton()
        self.state = State.NONE
        self._stale, self._outputs = stale, outputs
        self._watched: dict[int, int] = {}  # cameras, by viewer
        self._ended = 0  # how often goals were ended, also by a STOP

    def camera(self, viewer: int | None) -> int:
        """Return the camera that a viewer watches."""
        return 0 if viewer is None else self._watched.get(viewer, 0)

    def locked(self, camera: int = 0) -> str:
        """
        Return why nobody may drive; empty where one may.

        ``camera``: the one that would be driven by while nobody has the wheel.
        """
        if self.button.in_force(self.state):
            return 'the STOP is in force: release it first'
        driver = self.drive.driver
        return self._stale(camera if driver is None else self.camera(driver))

    def hear(self, viewer: int, word: words.Word, now: float) -> list[str]:
        """Follow a viewer's word; returns the messages that answer it."""
        if isinstance(word, words.Beat):
            return [words.dump('beat', s=word.sent_s)]
        if isinstance(word, words.DriveInput):
            return self._hear_input(viewer, word, now)
        if isinstance(word, words.Watch):
            return self._watch(viewer, word.camera)
        if isinstance(word, words.Confirm):
            return self._confirm(viewer, word, now)
        if isinstance(word, words.Box):
            self._outputs.region(self.camera(viewer), word.region)
            whole = word.region == WHOLE
            return [_note('whole image asked for' if whole else 'region asked for')]
        if isinstance(word, words.Ask):
            self._outputs.ask(self.camera(viewer), word.budget, word.rate)
            return [_note('asked for')]
        if isinstance(word, words.Go):
            return self._go(viewer, word)
        if isinstance(word, words.Record):
            return _notes(self._outputs.record(word.on))
        if isinstance(word, words.Plain):
            return self._plain(viewer, word.name, now)
        return []

    def _watch(self, viewer: int, camera: int) -> list[str]:
        self._watched[viewer] = camera
        if viewer == self.drive.driver:
            self._outputs.first(camera)
        return []

    def _hear_input(self, viewer: int, word: words.DriveInput, now: float) -> list[str]:
        if word.ahead or word.left:
            why = self.locked()
            if why and viewer == self.drive.driver:
                self.drive.halt()
                self.drive.must_release = True
                return [words.dump('refused', why=why)]
        elif viewer != self.drive.driver:
            return []  # let go of a wheel that was given back since
        why = self.drive.take_input(viewer, word.ahead, word.left, word.sent_s, now)
        return [words.dump('refused', why=why)] if why else []

    def _go(self, viewer: int, word: words.Go) -> list[str]:
        ended = self._ended

        def refusal() -> str:
            if viewer != self.drive.driver:
                return 'take the wheel first'
            was_ended = '' if self._ended == ended else 'it was ended before its place was found'
            return self.locked() or was_ended

        why = refusal()
        if why:
            return [_note(f'no goal: {why}', bad=True)]
        self._outputs.go(self.camera(viewer), word, refusal)
        return []

    def press_stop(self, now: float) -> None:
        """Have the STOP in force here; :meth:`give_stop` gives it, at the latest :meth:`step`."""
        self._ended += 1
        self.drive.halt()
        self.button.stop(now)

    def hear_stop(self, now: float) -> bool:
        """
        Note that somebody published a STOP: no release that was begun before is for it. Returns
        whether :meth:`give_stop` has to give it again.
        """
        return self.button.hear(now)

    def give_stop(self) -> None:
        """Give the STOP that was pressed."""
        self._outputs.give_stop()

    def _plain(self, viewer: int, name: str, now: float) -> list[str]:
        if name == 'take':
            why = self.drive.take(viewer, now)
            if not why:
                self._outputs.first(self.camera(viewer))
            return _notes(why)
        if name == 'leave':
            self.drive.leave(viewer)
            return []
        if name == 'release':
            if self.drive.driver != viewer:
                return [_note('take the wheel first, then release the STOP', bad=True)]
            return [words.dump('confirm', token=self.button.ask_release(viewer, self.state, now))]
        if name == 'cancel':  # by anybody: it only stops
            self._ended += 1
            self._outputs.end_goal()
            return [_note('the end of the goal is sent')]
        if name == 'key':
            self._outputs.key_frame(self.camera(viewer))
            return [_note('key frame asked for')]
        if name == 'still':
            self._outputs.still(self.camera(viewer))
            return [_note('one whole image asked for')]
        return _notes(self._outputs.snapshot(self.camera(viewer)))

    def _confirm(self, viewer: int, word: words.Confirm, now: float) -> list[str]:
        if self.drive.driver != viewer:
            return [_note('take the wheel first, then release the STOP', bad=True)]
        why = self.button.release(word.token, viewer, self.state, now)
        if why:
            return [_note(why, bad=True)]
        given = self.button.given

        def refusal(later: float) -> str:
            """One that was held up may be one that nobody wants any more."""
            if self.button.given != given:
                return 'it was pressed again'
            if later > now + _RELEASE_S or self.drive.driver != viewer:
                return 'the release was held up: press Release again'
            return ''

        def begin(later: float) -> str:
            if not (why := refusal(later)):
                self.button.clear(later)
            return why

        def end(later: float) -> str:
            if why := refusal(later):
                self.button.stop(later)
            else:
                self.button.clear(later)
            return why

        self._outputs.release_stop(begin, end)
        return []

    def gone(self, viewer: int) -> None:
        """Note that a viewer's browser is gone."""
        self.drive.leave(viewer)
        self._watched.pop(viewer, None)

    def step(self, now: float) -> float | None:
        """Do what is due; returns when to step next (s), None: when something changes."""
        try:
            velocity = self.drive.step(now, self.locked())
            if velocity is not None:
                self._outputs.velocity(velocity)
        finally:  # neither is left out for trouble with the other
            if self.button.step(self.state, now):
                self._outputs.give_stop()
        due = [self.drive.next_deadline(), self.button.next_deadline()]
        return min((at for at in due if at is not None), default=None)

    def figures(self, camera: int = 0) -> dict[str, Any]:
        """Return what the page of a camera shows of driving and the stop."""
        drive = self.drive
        return {
            'driver': drive.driver,
            'commanded': list(drive.commanded),
            'must_release': drive.must_release,
            'locked': self.locked(camera),
            'stop': self.state.name,
            'stop_pressed': self.button.pressed,
        }


def _note(text: str, bad: bool = False) -> str:
    return words.dump('note', text=text, bad=bad)


def _notes(text: str) -> list[str]:
    return [_note(text, bad=True)] if text else []
