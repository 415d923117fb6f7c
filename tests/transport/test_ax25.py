from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import ConfigError, PacketError
from transport.ax25 import MOST_INFO, Station, UiFrame

STATIONS = st.builds(
    Station,
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=6),
    st.integers(0, 15),
)


def test_bytes_of_a_frame() -> None:
    """The address fields of AX.25 2.2, figure 3.5: NJ7P from N7LEM."""
    frame = UiFrame(destination=Station("NJ7P"), source=Station("N7LEM"), info=b"hi")
    assert frame.serialise() == bytes.fromhex("9c946ea04040e0 9c6e988a9a4061 03f0 6869")


@settings(deadline=None)
@given(STATIONS, STATIONS, st.binary(max_size=MOST_INFO), st.lists(STATIONS, max_size=8))
def test_what_goes_in_comes_out(
    destination: Station, source: Station, info: bytes, digipeaters: list[Station]
) -> None:
    frame = UiFrame(
        destination=destination, source=source, info=info, digipeaters=tuple(digipeaters)
    )
    assert UiFrame.parse(frame.serialise()) == frame


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_an_error(data: bytes) -> None:
    try:
        frame = UiFrame.parse(data)
    except PacketError:
        return
    assert frame.info == data[len(data) - len(frame.info) :]


FRAME = UiFrame(destination=Station("VOICE"), source=Station("N0CALL", 7), info=b"x").serialise()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "do not end"),
        (FRAME[:13], "do not end"),
        (FRAME[:14], "another kind"),
        (FRAME[:6] + b"\x61" + FRAME[14:], "without a source"),
        (FRAME[:14] + b"\x3f" + FRAME[15:], "another kind"),
        (FRAME[:15] + b"\xcf" + FRAME[16:], "another kind"),
        (b"\x41" + FRAME[1:], "no call sign"),
        (FRAME + bytes(MOST_INFO), "too long"),
        (FRAME[:7] * 11, "do not end"),
    ],
)
def test_what_is_no_ui_frame(data: bytes, text: str) -> None:
    with pytest.raises(PacketError, match=text):
        UiFrame.parse(data)


def test_poll_bit_does_not_matter() -> None:
    assert UiFrame.parse(FRAME[:14] + b"\x13" + FRAME[15:]).info == b"x"


def test_information_is_bounded() -> None:
    frame = UiFrame(destination=Station("A"), source=Station("B"), info=bytes(MOST_INFO + 1))
    with pytest.raises(ValueError, match="up to 256 bytes, not 257"):
        frame.serialise()


def test_stations() -> None:
    assert Station.parse("n0call-15", "station.call_sign") == Station("N0CALL", 15)
    assert [str(Station("N0CALL")), str(Station("N0CALL", 3))] == ["N0CALL", "N0CALL-3"]


@pytest.mark.parametrize("text", ["", "TOOLONGCALL", "N0CALL-16", "N0/CALL", "É"])
def test_wrong_stations(text: str) -> None:
    with pytest.raises(ConfigError, match=r"station\.call_sign = .* is no call sign"):
        Station.parse(text, "station.call_sign")
