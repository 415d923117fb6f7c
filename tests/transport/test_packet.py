from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import PacketError
from linkcodec.frame import Frame
from transport.packet import (
    MAX_PACKET,
    TICKS,
    ByePacket,
    HelloPacket,
    LinkPacket,
    Parity,
    SidePacket,
    SilencePacket,
    VoicePacket,
    WirePacket,
    frames_that_fit,
    parse,
    serialise,
    voice_packet_length,
)

ticks = st.integers(0, TICKS - 1)


@st.composite
def voice_packets(draw: st.DrawFn) -> VoicePacket:
    quantizers = draw(st.integers(1, 16))
    count = draw(st.integers(1, frames_that_fit(quantizers)))
    rng = draw(st.randoms(use_true_random=False))
    frames = tuple(
        Frame(tuple(rng.randrange(2048) for _ in range(quantizers))) for _ in range(count)
    )
    return VoicePacket(
        tick=draw(ticks), frames=frames, start=draw(st.booleans()), end=draw(st.booleans())
    )


@st.composite
def protected_packets(draw: st.DrawFn) -> VoicePacket:
    """With parity, or a repair."""
    rng = draw(st.randoms(use_true_random=False))
    width = draw(st.integers(1, 4))
    quantizers = draw(st.integers(1, 8))
    count = draw(st.integers(1, 10))

    def frames(length: int) -> tuple[Frame, ...]:
        return tuple(Frame(tuple(rng.randrange(2048) for _ in range(length))) for _ in range(count))

    if draw(st.booleans()):
        return VoicePacket(tick=draw(ticks), frames=frames(quantizers), repair=True)
    distances = draw(st.sampled_from([(1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)]))
    return VoicePacket(
        tick=draw(ticks),
        frames=frames(quantizers),
        start=draw(st.booleans()),
        end=draw(st.booleans()),
        parity=Parity(distances=distances, books=frames(width)),
    )


levels = st.integers(-127, 0).map(float)
control_packets = st.one_of(
    st.builds(SilencePacket, tick=ticks, level_dbfs=levels, colour=st.integers(0, 4095)),
    st.builds(
        HelloPacket,
        tick=ticks,
        level_dbfs=levels,
        format_version=st.integers(0, 15),
        codec_number=st.integers(0, 15),
        codec_version=st.integers(0, 255),
    ),
    st.builds(
        LinkPacket,
        tick=ticks,
        codec_number=st.integers(0, 15),
        codec_version=st.integers(0, 255),
        quantizers=st.integers(1, 16),
        weights=st.integers(0, 65535),
        talker=st.integers(0, 255),
    ),
    st.builds(
        SidePacket, tick=ticks, kind=st.integers(0, 7), body=st.binary(min_size=1, max_size=16)
    ),
    st.builds(ByePacket, tick=ticks),
)
packets = st.one_of(voice_packets(), protected_packets(), control_packets)


@settings(deadline=None)
@given(packets)
def test_parse_gives_back_what_was_serialised(packet: WirePacket) -> None:
    data = serialise(packet)
    assert len(data) <= MAX_PACKET
    assert parse(data) == packet
    if isinstance(packet, VoicePacket):
        width = packet.parity.width if packet.parity else 0
        assert len(data) == voice_packet_length(len(packet.frames), packet.quantizers, width)


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=300))
@example(b"")
@example(bytes(254))
@example(bytes(255))
def test_any_bytes_are_a_packet_or_a_packet_error(data: bytes) -> None:
    try:
        packet = parse(data)
    except PacketError:
        return
    assert serialise(packet) == data


@settings(deadline=None, max_examples=500)
@given(st.binary(min_size=2, max_size=60))
def test_any_content_with_a_good_crc_is_a_packet_or_a_packet_error(content: bytes) -> None:
    """The CRC hides the rest of the parser from random bytes; give it what it wants."""
    for_all_versions = 0x80 <= content[0] < 0xA0
    data = content + with_crc(content, b"" if for_all_versions else b"\x02")
    try:
        packet = parse(data)
    except PacketError:
        return
    assert serialise(packet) == data


@settings(deadline=None)
@given(packets, st.data())
def test_any_one_to_three_bit_errors_are_found(packet: WirePacket, data: st.DataObject) -> None:
    """The first three bits are left out: they also decide what the CRC covers."""
    damaged = bytearray(serialise(packet))
    bits = data.draw(st.sets(st.integers(3, 8 * len(damaged) - 1), min_size=1, max_size=3))
    for bit in bits:
        damaged[bit // 8] ^= 128 >> bit % 8
    with pytest.raises(PacketError):
        parse(bytes(damaged))


@settings(deadline=None)
@given(packets, st.data())
def test_a_cut_packet_is_an_error(packet: WirePacket, data: st.DataObject) -> None:
    whole = serialise(packet)
    cut = whole[: data.draw(st.integers(0, 3))]
    with pytest.raises(PacketError):
        parse(cut)


def with_crc(content: bytes, hidden: bytes = b"") -> bytes:
    """CRC-16/IBM-3740, bit by bit."""
    value = 0xFFFF
    for byte in content + hidden:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ (0x1021 if value & 0x8000 else 0)) & 0xFFFF
    return value.to_bytes(2, "big")


def packet_bytes(content: str, hidden: bytes = b"") -> bytes:
    raw = bytes.fromhex(content)
    return raw + with_crc(raw, hidden)


def test_voice_of_another_format_version_is_refused() -> None:
    content = "0005 0020"
    assert isinstance(parse(packet_bytes(content, b"\x02")), VoicePacket)
    for version in (b"", b"\x00", b"\x01"):
        with pytest.raises(PacketError, match="another format version"):
            parse(packet_bytes(content, version))


def test_hello_of_another_format_version_can_be_read() -> None:
    packet = parse(packet_bytes("8005 11 07 3c"))
    assert packet == HelloPacket(
        tick=5, level_dbfs=-60.0, format_version=1, codec_number=1, codec_version=7
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("8005 21 07", id="hello too short"),
        pytest.param("8005 21 07 3c 00", id="hello too long"),
        pytest.param("8005 21 07 80", id="top bit of the level"),
        pytest.param("8205 21 07 3c", id="reserved bit"),
        pytest.param("9005 00", id="bye with a body"),
    ],
)
def test_control_packets_of_all_versions_that_are_refused(content: str) -> None:
    with pytest.raises(PacketError):
        parse(packet_bytes(content))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("a005", id="silence without a body"),
        pytest.param("a005 3c 00 01", id="spare bit of silence"),
        pytest.param("a205 3c 00 00", id="argument of silence"),
        pytest.param("b005 01 01 00 00 70", id="link too short"),
        pytest.param("b005 11 01 00 00 70 00", id="codec number of link"),
        pytest.param("c005 00 00 00", id="parity without distances"),
        pytest.param("c205", id="parity without anything"),
        pytest.param("c205 3f" + 26 * "00", id="parity and indices beyond 16"),
        pytest.param("c805 00" + 249 * "00", id="parity that reaches back too far"),
        pytest.param("d005", id="repair without a frame"),
        pytest.param("e005", id="side channel without a body"),
        pytest.param("e005" + 17 * "00", id="side channel with too much"),
        pytest.param("f005", id="last subtype"),
    ],
)
def test_control_packets_that_are_refused(content: str) -> None:
    with pytest.raises(PacketError) as caught:
        parse(packet_bytes(content, b"\x02"))
    assert "CRC" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("0005", id="no frame"),
        pytest.param("0005 00", id="less than a frame"),
        pytest.param("0005 0001", id="spare bit set"),
        pytest.param("0205 0000 0000", id="a byte too many"),
        pytest.param("1e05" + "00" * 21, id="less than a frame of 16"),
    ],
)
def test_voice_packets_that_are_refused(content: str) -> None:
    with pytest.raises(PacketError, match="not whole frames"):
        parse(packet_bytes(content, b"\x02"))


@pytest.mark.parametrize("length", range(4))
def test_short_packets_are_refused(length: int) -> None:
    with pytest.raises(PacketError, match="4 to 254 bytes"):
        parse(bytes(length))


@pytest.mark.parametrize(
    ("level", "wire"),
    [(3.0, 0.0), (-0.4, 0.0), (-60.6, -61.0), (-500.0, -127.0), (-math.inf, -127.0)],
)
def test_level_is_rounded_and_clamped(level: float, wire: float) -> None:
    packet = parse(serialise(SilencePacket(tick=0, level_dbfs=level)))
    assert isinstance(packet, SilencePacket)
    assert packet.level_dbfs == wire


def test_impossible_packets_cannot_be_made() -> None:
    frame = Frame((1, 2))
    with pytest.raises(ValueError, match="at least one frame"):
        VoicePacket(tick=0, frames=())
    with pytest.raises(ValueError, match="same number"):
        VoicePacket(tick=0, frames=(frame, Frame((1,))))
    with pytest.raises(ValueError, match="do not fit"):
        VoicePacket(tick=0, frames=(frame,) * (frames_that_fit(2) + 1))
    with pytest.raises(ValueError, match="tick"):
        VoicePacket(tick=TICKS, frames=(frame,))
    with pytest.raises(ValueError, match="tick"):
        ByePacket(tick=-1)
    with pytest.raises(ValueError, match="codec_version"):
        HelloPacket(tick=0, level_dbfs=0, codec_version=256)
    with pytest.raises(ValueError, match="colour"):
        SilencePacket(tick=0, level_dbfs=0, colour=4096)
    with pytest.raises(ValueError, match="quantizers"):
        LinkPacket(tick=0, codec_number=0, codec_version=0, quantizers=0)
    with pytest.raises(ValueError, match="bytes of the body"):
        SidePacket(tick=0, kind=0, body=b"")
    with pytest.raises(ValueError, match="not a number"):
        SilencePacket(tick=0, level_dbfs=math.nan)


def test_impossible_redundancy_cannot_be_made() -> None:
    frame, wide = Frame((1, 2)), Frame((1,) * 14)
    copy = Parity(distances=(2,), books=(frame,))
    with pytest.raises(ValueError, match="distances"):
        Parity(distances=(2, 1), books=(frame,))
    with pytest.raises(ValueError, match="distances"):
        Parity(distances=(4,), books=(frame,))
    with pytest.raises(ValueError, match="at least one"):
        Parity(distances=(1,), books=())
    with pytest.raises(ValueError, match="1 to 4 books"):
        Parity(distances=(1,), books=(Frame((1,) * 5),))
    with pytest.raises(ValueError, match="one entry"):
        VoicePacket(tick=0, frames=(frame, frame), parity=copy)
    with pytest.raises(ValueError, match="too many"):
        VoicePacket(tick=0, frames=(wide,), parity=Parity(distances=(1,), books=(Frame((1,) * 3),)))
    books = (Frame((1,)),) * 90
    with pytest.raises(ValueError, match="too far"):
        VoicePacket(tick=0, frames=books, parity=Parity(distances=(3,), books=books))
    with pytest.raises(ValueError, match="a repair has"):
        VoicePacket(tick=0, frames=(frame,), repair=True, end=True)


@pytest.mark.parametrize("quantizers", range(1, 17))
def test_frames_that_fit_is_the_limit(quantizers: int) -> None:
    most = frames_that_fit(quantizers)
    assert voice_packet_length(most, quantizers) <= MAX_PACKET
    assert voice_packet_length(most + 1, quantizers) > MAX_PACKET
