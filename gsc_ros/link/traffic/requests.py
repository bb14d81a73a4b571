"""
What the ground asks of the robot, and how often it may ask.

Requests for key frames that are repeated whenever an image fails drown a thin link at the very
moment it is weak: so every request waits for an answer to the one before, twice as long each time,
and none comes sooner than its share of the air allows, answered or not.
"""

from dataclasses import dataclass

MOST_WAITS = 5  # doublings: 32 times the first wait at most


@dataclass
class Backoff:
    """
    Spaces requests: how often the ground may ask.

    The first request goes at once, each further one waits twice as long as the one before it until
    an answer has come.
    """

    asked_at: float | None = None
    unanswered: int = 0
    asked: int = 0
    held: int = 0
    next_at: float = 0.0
    """When one that was held may go (s), at the latest."""

    def ask(self, now: float, wait_s: float, pause_s: float = 0.0) -> bool:
        """
        Count a request in ``asked`` if it may go at ``now`` (s), else in ``held``; return which.

        ``wait_s``: how long an answer takes at least; ``pause_s``: least time between requests,
        also where the first was answered.
        """
        if self.asked_at is not None:
            wait = pause_s
            if self.unanswered:
                wait = max(pause_s, wait_s * 2 ** min(self.unanswered - 1, MOST_WAITS))
            if now < self.asked_at + wait:
                self.held += 1
                self.next_at = self.asked_at + wait
                return False
        self.asked_at = self.next_at = now
        self.unanswered += 1
        self.asked += 1
        return True

    def answered(self) -> None:
        """Note that what was asked for has come."""
        self.unanswered = 0
