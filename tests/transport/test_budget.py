from __future__ import annotations

import pytest

from linkcodec.exceptions import ConfigError
from transport.budget import (
    BudgetRow,
    SlotRow,
    budget,
    check_config,
    check_fits,
    check_slots,
    slot_budget,
)
from transport.config import LinkConfig, SecurityConfig, WireConfig
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


def test_slots_at_1200() -> None:
    rows = {row.quantizers: row for row in slot_budget(1200, Framing.SYNC)}
    assert max(rows) == 8
    full, robust = rows[8], rows[6]
    assert (full.slot_bytes, full.wire_bps, full.line_bps) == (12, 1200, 1200)
    assert full.overhead == pytest.approx(8 / 96)
    assert full.protected == "1-bit check on books 1-2"
    assert (robust.covered, robust.errors) == (6, 3)
    assert robust.protected == "3 wrong bits in books 1-6 repaired"
    assert full.side_bps == 18.75
    assert full.send_ms == pytest.approx(80)


def test_slots_on_an_asynchronous_line() -> None:
    row = slot_budget(1200, Framing.ASYNC_8N1, interleaver_slots=4)[0]
    assert (row.quantizers, row.slot_bytes, row.wire_bps) == (6, 9, 900)
    assert row.overhead <= 0.084
    assert row.line_bps == 1125
    assert row.send_ms == pytest.approx(75)
    assert row.spread_ms == pytest.approx(240)
    assert row.protected == "none"


def test_slots_that_do_not_fit_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"takes 99 bits .*1200 bit/s .*use quantizers = 8$"):
        check_slots(1200, Framing.SYNC, quantizers=9)


@pytest.mark.parametrize(
    ("mode", "quantizers", "security"),
    [("slots", 8, "off"), ("packets", 8, "off"), ("packets", 7, "encrypted")],
)
def test_settings_of_a_file_that_fit(mode: str, quantizers: int, security: str) -> None:
    row = check_config(
        LinkConfig(kind="loopback", rate=1200, framing="sync"),
        WireConfig(mode=mode, frames_per_packet=7),
        quantizers=quantizers,
        security=SecurityConfig(mode=security),
    )
    assert row.quantizers == quantizers
    assert isinstance(row, SlotRow) == (mode == "slots")


def test_tags_count() -> None:
    link = LinkConfig(kind="loopback", rate=1200, framing="sync")
    wire = WireConfig(frames_per_packet=6)
    clear = check_config(link, wire, quantizers=7, security=SecurityConfig())
    signed = check_config(
        link, wire, quantizers=7, security=SecurityConfig(mode="authenticated", tag_bytes=4)
    )
    assert isinstance(clear, BudgetRow)
    assert isinstance(signed, BudgetRow)
    assert signed.packet_bytes == clear.packet_bytes + 4
    with pytest.raises(ConfigError, match=r"tags of 4 more bytes .* needs 1267 bit/s"):
        check_config(
            link, wire, quantizers=8, security=SecurityConfig(mode="authenticated", tag_bytes=4)
        )
