"""When has a series settled? (pure)"""

from __future__ import annotations

from collections import deque


class Plateau:
    """Settled once the values of the last `window_s` seconds lie within `tolerance` of each other.

    The window has to be longer than the reporting delay of the guest (2 s): between two passes the residency is
    flat although it is not done.
    """

    def __init__(self, window_s: float, tolerance: float) -> None:
        self._window_s = window_s
        self._tolerance = tolerance
        self._points: deque[tuple[float, float]] = deque()
        self._first: float | None = None

    def add(self, t: float, value: float) -> None:
        """A new value at time t (seconds, ascending)."""
        if self._first is None:
            self._first = t
        self._points.append((t, value))
        while self._points[0][0] < t - self._window_s:
            self._points.popleft()

    @property
    def settled(self) -> bool:
        """False until a whole window was seen."""
        if self._first is None or self._points[-1][0] - self._first < self._window_s:
            return False
        values = [value for _, value in self._points]
        return max(values) - min(values) <= self._tolerance
