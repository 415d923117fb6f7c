from __future__ import annotations

import pytest

from linkcodec.exceptions import ConfigError
from transport.budget import budget, check_fits
from transport.linerate import Framing


def test_synchronous_1200() -> None:
    table = budget(1200, Framing.SYNC)
    best = {row.frames_per_packet: row.quantizers for row in table.rows}
    assert best == {1: 4, 2: 6, 3: 7, 4: 7, 5: 7, 6: 8, 7: 8, 8: 8, 9: 8, 10: 8, 11: 8, 12: 8}
    row = table.rows[6]
    assert row.packet_bytes == 81
    assert row.wire_bps == pytest.approx(8 * 83 / 0.56)
    assert row.overhead == pytest.approx(1 - 7 * 88 / 664)
    assert row.collect_ms == pytest.approx(560)
    assert row.send_ms == pytest.approx(553.33, abs=0.01)


def test_asynchronous_1200_carries_960() -> None:
    table = budget(1200, Framing.ASYNC_8N1)
    assert table.capacity_bps == 960
    assert max(row.quantizers for row in table.rows) == 6
    assert max(row.wire_bps for row in table.rows) == 960
    assert max(row.line_bps for row in table.rows) == 1200


def test_every_row_fits_and_one_quantizer_more_does_not() -> None:
    for framing in Framing:
        for row in budget(2400, framing).rows:
            assert row.line_bps <= 2400 + 1e-9
            if row.quantizers < 16:
                with pytest.raises(ConfigError):
                    check_fits(
                        2400,
                        framing,
                        quantizers=row.quantizers + 1,
                        frames_per_packet=row.frames_per_packet,
                    )


def test_table_can_be_limited() -> None:
    rows = budget(1200, Framing.SYNC, quantizers=8).rows
    assert [row.frames_per_packet for row in rows] == list(range(6, 13))
    (row,) = budget(1200, Framing.SYNC, frames_per_packet=20).rows
    assert (row.frames_per_packet, row.quantizers) == (20, 8)
    assert budget(300, Framing.SYNC, quantizers=8).rows == ()
    assert {row.quantizers for row in budget(9600, Framing.SYNC, max_quantizers=12).rows} == {12}


def test_check_fits_gives_the_row() -> None:
    row = check_fits(1200, Framing.SYNC, quantizers=8, frames_per_packet=6)
    assert row.wire_bps == 1200


@pytest.mark.parametrize(
    ("rate", "framing", "quantizers", "frames", "ways"),
    [
        (1200, Framing.SYNC, 8, 5, "use quantizers = 7 or frames_per_packet = 6$"),
        (1200, Framing.ASYNC_8N1, 7, 6, "needs 1067 bit/s.*carries 960: use quantizers = 6$"),
        (100, Framing.SYNC, 1, 1, "use a faster line$"),
        (1200, Framing.SYNC, 8, 23, "holds 1 to 22 frames of 8"),
        (1200, Framing.SYNC, 0, 1, "quantizers = 0 is not possible"),
        (1200, Framing.SYNC, 99, 1, "quantizers = 99 is not possible"),
        (1200, Framing.SYNC, 8, 0, "frames_per_packet = 0 is not possible"),
    ],
)
def test_errors_have_the_numbers_and_a_way_out(
    rate: int, framing: Framing, quantizers: int, frames: int, ways: str
) -> None:
    with pytest.raises(ConfigError, match=ways):
        check_fits(rate, framing, quantizers=quantizers, frames_per_packet=frames)


def test_rate_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="rate = 0"):
        budget(0, Framing.SYNC)
