"""What a running call tells machines: JSON lines, and an endpoint for Prometheus."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from linkcodec.app.command import port_number
from linkcodec.exceptions import ConfigError, InputError

__all__ = ["Figures", "Reporter", "add_metrics_options", "open_reporter", "snake", "totals"]

INTERVAL: Final = 1.0
"""Seconds between two lines of JSON."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is known of a call now, by the names of docs/receiver.md.

    counters: these only go up. gauges: these go up and down; None where not known yet.
    """

    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float | None] = field(default_factory=dict)

    def __or__(self, other: Figures) -> Figures:
        """These and others."""
        return Figures(
            counters={**self.counters, **other.counters}, gauges={**self.gauges, **other.gauges}
        )

    def renamed(self, prefix: str) -> Figures:
        """The same with a word before each name."""
        return Figures(
            counters={prefix + name: value for name, value in self.counters.items()},
            gauges={prefix + name: value for name, value in self.gauges.items()},
        )


def totals(statistics: object) -> dict[str, float]:
    """The whole numbers of a dataclass of counters, by their names and "_total"."""
    return {
        f"{name}_total": float(value)
        for name, value in vars(statistics).items()
        if isinstance(value, int)
    }


@dataclass
class _Latest:
    """The figures that Prometheus gets when it asks, from another thread."""

    figures: Figures = field(default_factory=Figures)


class _Lines:
    """A file of JSON lines. A full disk costs lines, never the call; `warn` is told of it."""

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._failed = False
        try:
            # Without a buffer: nothing waits for a disk that is full.
            self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise InputError(f"--stats {path}: cannot write the file: {error.strerror}") from None
        self.close = self._file.close

    def write(self, values: Mapping[str, float | None]) -> None:
        line = json.dumps({"time": round(time.time(), 3), **values}).encode() + b"\n"
        try:
            # After a failure the last line may be a part of one.
            self._file.write(b"\n" + line if self._failed else line)
        except OSError as error:
            if not self._failed:
                self._warn(f"--stats {self._path}: cannot be written: {error.strerror}")
            self._failed = True
        else:
            if self._failed:
                self._warn(f"--stats {self._path}: is written again")
            self._failed = False


class Reporter:
    """Writes figures about once a second, where somebody wants them.

    beside: figures of another thread that go with each update; None for none.
    """

    def __init__(self, file: _Lines | None = None, latest: _Latest | None = None) -> None:
        self.beside: Figures | None = None
        self._file = file
        self._latest = latest
        self._next = float("-inf")

    def due(self, now: float) -> bool:
        """Whether `update` would do anything at `now` seconds."""
        return now >= self._next and not (self._file is None and self._latest is None)

    def update(self, figures: Figures, now: float) -> None:
        """Write the figures, if it is time to."""
        if not self.due(now):
            return
        self._next = now + INTERVAL
        if self.beside is not None:
            figures |= self.beside
        if self._latest is not None:
            self._latest.figures = figures
        if self._file is not None:
            self._file.write({**figures.counters, **figures.gauges})


def add_metrics_options(parser: argparse.ArgumentParser) -> None:
    """The flags `--stats` and `--metrics`."""
    parser.add_argument(
        "--stats", metavar="FILE", help="write statistics once a second as JSON lines"
    )
    parser.add_argument(
        "--metrics",
        metavar="PORT",
        type=port_number,
        help="serve statistics to Prometheus at http://127.0.0.1:PORT/metrics",
    )


@contextmanager
def open_reporter(
    stats: str | None,
    port: int | None,
    *,
    role: str,
    warn: Callable[[str], None],
    host: str = "127.0.0.1",
) -> Iterator[Reporter]:
    """A reporter to a file, to an endpoint, to both or to nobody.

    Args:
        role: the command: part of the names, as in linkcodec_receive_packets_lost.
        warn: is told, for people, when the file cannot be written any more.

    Raises:
        ConfigError: the port cannot be used, or prometheus-client is not installed.
        InputError: the file cannot be written.
    """
    with ExitStack() as stack:
        file = latest = None
        if stats is not None:
            file = _Lines(stats, warn)
            stack.callback(file.close)
        if port is not None:
            latest = _Latest()
            stack.callback(_serve(port, host, role, latest))
        yield Reporter(file, latest)


def _serve(port: int, host: str, role: str, latest: _Latest) -> Callable[[], None]:
    """Start the endpoint; gives what stops it."""
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise ConfigError(
            "--metrics needs prometheus-client: pip install 'linkcodec[metrics]'"
        ) from None
    registry = CollectorRegistry()
    registry.register(_collector(role, latest))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigError(
            f"--metrics {port}: cannot listen there: {error.strerror}; use another port"
        ) from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _collector(role: str, latest: _Latest) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

    def full(name: str) -> str:
        return f"linkcodec_{role}_{snake(name)}"

    def text(name: str) -> str:
        return f"{name}, see docs/receiver.md"

    class CallCollector(Collector):
        """Turns the latest figures into metrics when Prometheus asks."""

        def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
            figures = latest.figures
            for name, value in figures.counters.items():
                yield CounterMetricFamily(full(name), text(name), value=value)
            for name, gauge in figures.gauges.items():
                if gauge is not None:
                    yield GaugeMetricFamily(full(name), text(name), value=gauge)

    return CallCollector()


def snake(name: str) -> str:
    """`packetsLost` as packets_lost."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
