"""Models of a bad link, seeded and in virtual time: loss, bit errors, delay, traces."""

from __future__ import annotations

import math
import random
from itertools import cycle
from pathlib import Path

from linkcodec.exceptions import InputError
from transport.config import ChannelConfig
from transport.linerate import Framing, line_bits, wire_bytes

__all__ = ["GilbertElliott", "SimulatedChannel", "read_delay_trace", "read_loss_trace"]

_MAX_DELAY_MS = 600_000.0
_MAX_TRACE_BYTES = 64 << 20


class GilbertElliott:
    """Losses in bursts: a good state that loses nothing and a bad one that loses all.

    Source: Gilbert 1960, Elliott 1963, with the two loss probabilities 0 and 1.

    loss: mean share of packets lost. burst: mean number of packets in a run of losses;
    1 stands for independent losses. `ChannelConfig` says which pairs are possible.
    """

    def __init__(self, *, loss: float, burst: float, rng: random.Random) -> None:
        self._rng = rng
        if burst <= 1 or loss in (0, 1):
            self._to_bad, self._stay_bad = loss, loss
        else:
            self._to_bad = loss / (1 - loss) / burst
            self._stay_bad = 1 - 1 / burst
        self._bad = rng.random() < loss

    def lost(self) -> bool:
        """Whether the next packet is lost."""
        lost = self._bad
        self._bad = self._rng.random() < (self._stay_bad if lost else self._to_bad)
        return lost


def read_loss_trace(path: str) -> list[bool]:
    """Losses per packet from a text file of 0 and 1 (1 = lost), with or without white space.

    Raises:
        InputError: the file cannot be read, is empty or holds something else.
    """
    trace: list[bool] = []
    for number, line in enumerate(_read_lines(path), start=1):
        symbols = "".join(line.split())
        if set(symbols) - {"0", "1"}:
            raise InputError(f"{path}, line {number}: a loss trace holds only 0 and 1 (1 = lost)")
        trace += [symbol == "1" for symbol in symbols]
    if not trace:
        raise InputError(f"{path}: the loss trace is empty: give one 0 or 1 per packet")
    return trace


def read_delay_trace(path: str) -> list[float]:
    """Delays in seconds per packet from a text file of milliseconds, white space between.

    Raises:
        InputError: the file cannot be read, is empty or holds something else.
    """
    trace: list[float] = []
    for number, line in enumerate(_read_lines(path), start=1):
        for word in line.split():
            try:
                milliseconds = float(word)
            except ValueError:
                milliseconds = math.nan
            if not 0 <= milliseconds <= _MAX_DELAY_MS:
                raise InputError(
                    f"{path}, line {number}: '{word[:20]}' is no delay: "
                    f"give milliseconds from 0 to {_MAX_DELAY_MS:g}"
                )
            trace.append(milliseconds / 1000)
    if not trace:
        raise InputError(f"{path}: the delay trace is empty: give one number per packet")
    return trace


def _read_lines(path: str) -> list[str]:
    try:
        if Path(path).stat().st_size > _MAX_TRACE_BYTES:
            raise InputError(f"{path}: a trace has at most {_MAX_TRACE_BYTES >> 20} MiB")
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot read the trace: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: a trace is a text file of numbers") from None


class SimulatedChannel:
    """A line of `rate` bit/s with propagation delay, losses and bit errors.

    Packets queue for the line, take their line bits to get through, then the delay. Byte
    pipes keep their order; datagrams may overtake each other. Traces start again at their end.
    Each kind of damage has random numbers of its own, so that changing one leaves the others.

    packets, lost, bits_inverted: what happened so far.

    Raises:
        InputError: a trace cannot be used.
    """

    def __init__(
        self, config: ChannelConfig, *, rate: int, framing: Framing, seed: int | None = None
    ) -> None:
        self.packets = 0
        self.lost = 0
        self.bits_inverted = 0
        self._config = config
        self._rate = rate
        self._framing = framing
        seed = config.seed if seed is None else seed
        self._error_rng = random.Random(f"{seed} bit errors")
        self._delay_rng = random.Random(f"{seed} delay")
        self._model = GilbertElliott(
            loss=config.loss, burst=config.burst, rng=random.Random(f"{seed} loss")
        )
        losses = read_loss_trace(config.loss_trace) if config.loss_trace else None
        delays = read_delay_trace(config.delay_trace) if config.delay_trace else None
        self._loss_trace = cycle(losses) if losses else None
        self._delay_trace = cycle(delays) if delays else None
        self._line_free = -math.inf
        self._last_arrival = -math.inf

    def transmit(self, data: bytes, departure: float) -> list[tuple[float, bytes]]:
        """Send one packet as the link carries it (in byte pipes COBS and delimiter included).

        Gives (arrival of the last bit, bytes) or nothing if the packet is lost; times in
        seconds. Departures do not go back in time.
        """
        self.packets += 1
        packet_length = len(data)
        if self._framing.stream:
            packet_length -= wire_bytes(0, self._framing)
        start = max(departure, self._line_free)
        self._line_free = start + line_bits(packet_length, self._framing) / self._rate
        arrival = self._line_free + self._delay()
        lost = next(self._loss_trace) if self._loss_trace else self._model.lost()
        if lost:
            self.lost += 1
            return []
        if self._framing.stream:
            arrival = self._last_arrival = max(arrival, self._last_arrival)
        return [(arrival, self._damage(data))]

    def _delay(self) -> float:
        if self._delay_trace:
            return next(self._delay_trace)
        delay = self._config.delay_ms / 1000
        if self._config.jitter_ms:
            delay += self._delay_rng.expovariate(1000 / self._config.jitter_ms)
        return delay

    def _damage(self, data: bytes) -> bytes:
        """Invert bits independently of each other; steps from error to error."""
        rate = self._config.ber
        if not rate:
            return data
        damaged = bytearray(data)
        position = self._gap(rate)
        while position < 8 * len(data):
            damaged[position // 8] ^= 128 >> position % 8
            self.bits_inverted += 1
            position += 1 + self._gap(rate)
        return bytes(damaged)

    def _gap(self, rate: float) -> int:
        """Good bits before the next error: geometric distribution."""
        if rate >= 1:
            return 0
        return int(math.log(1 - self._error_rng.random()) / math.log1p(-rate))
