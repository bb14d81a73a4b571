"""The address that the other end calls from, for an end that has no `remote`."""

from collections.abc import Hashable

# So long nothing comes from the present address, s, before another may take its place.
HOLD_S = 1.0
_MOST = 8  # other addresses that are remembered


class Caller:
    """
    The address that datagrams go to: the first that a proven one came from.

    Another takes its place when two proven datagrams came from it and none from the present one
    for `HOLD_S`, the second of them after that. So a datagram that somebody caught, and sent on
    from elsewhere before it arrived, does not turn the link away: the present address goes on
    calling, and what it sends shows it also when the copy was faster (`repeated`).
    """

    def __init__(self) -> None:
        self.address: Hashable | None = None
        self._at = 0.0
        self._others: dict[Hashable, None] = {}  # that were proven since, in order

    def proven(self, source: Hashable, now: float) -> None:
        """Note that a datagram from there was ours and new, at ``now`` (s, monotonic)."""
        if self.address is not None and source != self.address:
            if source not in self._others:
                self._others[source] = None
                if len(self._others) > _MOST:
                    del self._others[next(iter(self._others))]
                return
            if now < self._at + HOLD_S:
                return
        self.address, self._at = source, now
        self._others.clear()

    def repeated(self, source: Hashable, now: float) -> None:
        """Note that a datagram from there was ours, but has come before."""
        if source == self.address:
            self._at = now
            self._others.clear()
