"""The mean of a figure's last values, for people to look at."""

from __future__ import annotations

from typing import Final

__all__ = ["RecentMean"]

_SPAN: Final = 64


class RecentMean:
    """A mean in which a value counts less and less as others come after it.

    span: as many values count: the first ones alike, later ones by an exponential window.
    value: the mean, 0 before the first value.
    """

    def __init__(self, span: int = _SPAN) -> None:
        self.value = 0.0
        self._span = span
        self._count = 0

    def add(self, value: float) -> None:
        """Take one more value."""
        self._count = min(self._count + 1, self._span)
        self.value += (value - self.value) / self._count
