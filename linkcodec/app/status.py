"""The live status of a daemon, on standard error.

A terminal gets one line that is rewritten in place; anything else (a log, a journal) gets
a plain line every ten seconds.
"""

from __future__ import annotations

from typing import Final, TextIO

import numpy as np

from linkcodec.codec import Pcm

__all__ = ["StatusLine", "level_dbfs", "meter"]

TERMINAL_INTERVAL: Final = 0.25
"""Seconds between two updates on a terminal."""

PLAIN_INTERVAL: Final = 10.0
"""Seconds between two lines elsewhere."""

_CLEAR: Final = "\r\x1b[K"
_METER_FLOOR_DB: Final = -60.0
_METER_CELLS: Final = 12


def level_dbfs(pcm: Pcm) -> float:
    """RMS level in dB full scale, at least -100."""
    power = float(np.mean(np.square(pcm, dtype=np.float64))) if pcm.size else 0.0
    return 10.0 * float(np.log10(max(power, 1e-10)))


def meter(level_dbfs: float) -> str:
    """A level of -60 to 0 dB full scale as a bar of twelve cells and a number."""
    share = min(1.0, max(0.0, 1.0 - level_dbfs / _METER_FLOOR_DB))
    cells = round(share * _METER_CELLS)
    return f"[{'#' * cells}{'.' * (_METER_CELLS - cells)}] {max(level_dbfs, -99.0):4.0f} dB"


class StatusLine:
    """Writes the status and, between updates, single messages.

    Args:
        stream: standard error.
        quiet: write nothing but what `warn` is given.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._terminal = stream.isatty()
        self._next = float("-inf")
        self._shown = False

    def due(self, now: float) -> bool:
        """Whether `update` would write anything at `now` seconds."""
        return not self._quiet and now >= self._next

    def update(self, text: str, now: float) -> None:
        """Show `text` as the present status, if it is time to."""
        if not self.due(now):
            return
        if self._next == float("-inf") and not self._terminal:
            # The first plain line comes when there is something to tell.
            self._next = now + PLAIN_INTERVAL
            return
        if self._terminal:
            self._next = now + TERMINAL_INTERVAL
            self._stream.write(_CLEAR + text)
            self._shown = True
        else:
            self._next = now + PLAIN_INTERVAL
            self._stream.write(text + "\n")
        self._stream.flush()

    def message(self, text: str) -> None:
        """A line that stays: what was opened, the summary at the end."""
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """As `message`, quiet or not."""
        self._stream.write((_CLEAR if self._shown else "") + text + "\n")
        self._stream.flush()
        self._shown = False

    def close(self) -> None:
        """Leave the last status on a line of its own."""
        if self._shown:
            self._stream.write("\n")
            self._stream.flush()
            self._shown = False
