from __future__ import annotations

import random
from itertools import groupby
from pathlib import Path

import pytest

from linkcodec.exceptions import InputError
from transport.channel import (
    GilbertElliott,
    SimulatedChannel,
    read_delay_trace,
    read_loss_trace,
)
from transport.config import ChannelConfig
from transport.linerate import Framing


def channel(
    *,
    rate: int = 1200,
    framing: Framing = Framing.SYNC,
    seed: int | None = None,
    **settings: object,
) -> SimulatedChannel:
    config = ChannelConfig(**settings)  # type: ignore[arg-type]
    return SimulatedChannel(config, rate=rate, framing=framing, seed=seed)


@pytest.mark.parametrize(
    ("loss", "burst", "run"), [(0.02, 2, 2), (0.1, 4, 4), (0.1, 1, 1 / 0.9), (0.5, 1, 2)]
)
def test_loss_and_burst_come_out_as_asked(loss: float, burst: float, run: float) -> None:
    model = GilbertElliott(loss=loss, burst=burst, rng=random.Random(5))
    outcomes = [model.lost() for _ in range(200_000)]
    runs = [len(list(group)) for lost, group in groupby(outcomes) if lost]
    assert sum(outcomes) / len(outcomes) == pytest.approx(loss, rel=0.05)
    assert sum(runs) / len(runs) == pytest.approx(run, rel=0.05)


@pytest.mark.parametrize("loss", [0.0, 1.0])
def test_all_or_nothing(loss: float) -> None:
    model = GilbertElliott(loss=loss, burst=3, rng=random.Random(1))
    assert {model.lost() for _ in range(1000)} == {bool(loss)}


def test_a_packet_takes_its_time_on_the_line() -> None:
    line = channel(delay_ms=250)
    ((first, data),) = line.transmit(b"x" * 83, 1.0)
    assert data == b"x" * 83
    assert first == pytest.approx(1 + 664 / 1200 + 0.25)
    # The next one waits until the line is free.
    ((second, data),) = line.transmit(b"y" * 3, 1.1)
    assert data == b"y" * 3
    assert second == pytest.approx(1 + 688 / 1200 + 0.25)


def test_start_and_stop_bits_and_headers_take_time() -> None:
    (arrival, _), *_ = channel(framing=Framing.ASYNC_8N1).transmit(b"x" * 12, 0)
    assert arrival == pytest.approx(120 / 1200)
    (arrival, _), *_ = channel(framing=Framing.UDP).transmit(b"x" * 12, 0)
    assert arrival == pytest.approx(320 / 1200)


def arrivals(line: SimulatedChannel) -> list[tuple[float, bytes]]:
    return [one for i in range(500) for one in line.transmit(bytes([i % 256] * 4), i * 0.05)]


def test_byte_pipes_keep_their_order_and_datagrams_do_not() -> None:
    settings = {"delay_ms": 50.0, "jitter_ms": 80.0, "rate": 100_000}
    stream = arrivals(channel(**settings))  # type: ignore[arg-type]
    assert stream == sorted(stream, key=lambda one: one[0])
    datagrams = arrivals(channel(framing=Framing.UDP, **settings))  # type: ignore[arg-type]
    times = [at for at, _ in datagrams]
    assert times != sorted(times)
    mean = sum(at - i * 0.05 for i, at in enumerate(times)) / len(times)
    assert mean == pytest.approx(0.13, rel=0.1)


def test_same_seed_same_channel() -> None:
    settings = {"loss": 0.2, "burst": 2.0, "jitter_ms": 20.0, "ber": 0.01}
    one, two, other = (
        arrivals(channel(seed=seed, **settings))  # type: ignore[arg-type]
        for seed in (4, 4, 5)
    )
    assert one == two
    assert one != other


def test_kinds_of_damage_are_independent() -> None:
    lossy = {data for _, data in arrivals(channel(loss=0.3))}
    both = [at for at, _ in arrivals(channel(loss=0.3, ber=0.01))]
    assert both == [at for at, _ in arrivals(channel(loss=0.3))]
    assert lossy


@pytest.mark.parametrize("ber", [1e-3, 0.05, 0.5])
def test_bit_errors_come_at_their_rate(ber: float) -> None:
    line = channel(ber=ber, rate=10**9)
    sent = bytes(1000)
    received = b"".join(line.transmit(sent, float(i))[0][1] for i in range(100))
    inverted = sum(byte.bit_count() for byte in received)
    assert inverted == line.bits_inverted == pytest.approx(ber * 800_000, rel=0.15)


def test_certain_bit_errors_invert_everything() -> None:
    assert channel(ber=1).transmit(b"\x0f\x00", 0)[0][1] == b"\xf0\xff"


def test_loss_trace_is_followed_and_repeats(tmp_path: Path) -> None:
    trace = tmp_path / "loss.txt"
    trace.write_text("0 1\n10\n\n0\n")
    line = channel(loss_trace=str(trace), loss=1.0)
    lost = [not line.transmit(b"abc", float(i)) for i in range(10)]
    assert lost == [False, True, True, False, False] * 2
    assert (line.packets, line.lost) == (10, 4)


def test_delay_trace_replaces_delay_and_jitter(tmp_path: Path) -> None:
    trace = tmp_path / "delay.txt"
    trace.write_text("100\n0.5 2e3\n")
    line = channel(delay_trace=str(trace), delay_ms=5000, jitter_ms=10, rate=10**9)
    times = [line.transmit(b"abc", 10.0 * i)[0][0] - 10 * i for i in range(4)]
    assert times == [pytest.approx(t, abs=1e-5) for t in (0.1, 0.0005, 2.0, 0.1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0\n1\n0 2\n", "line 3: a loss trace holds only 0 and 1"),
        ("", "the loss trace is empty"),
        ("\n \n", "the loss trace is empty"),
        ("é", "a trace is a text file"),
    ],
)
def test_wrong_loss_traces(tmp_path: Path, content: str, message: str) -> None:
    trace = tmp_path / "loss.txt"
    trace.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_loss_trace(str(trace))
    assert str(trace) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("10\nfast\n", "line 2: 'fast' is no delay"),
        ("-1", "line 1: '-1' is no delay"),
        ("nan", "line 1: 'nan' is no delay"),
        ("inf", "line 1: 'inf' is no delay"),
        ("", "the delay trace is empty"),
    ],
)
def test_wrong_delay_traces(tmp_path: Path, content: str, message: str) -> None:
    trace = tmp_path / "delay.txt"
    trace.write_text(content)
    with pytest.raises(InputError, match=message):
        read_delay_trace(str(trace))


def test_missing_traces(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the trace: No such file"):
        channel(loss_trace=str(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot read the trace: Is a directory"):
        channel(delay_trace=str(tmp_path))
