from __future__ import annotations

from pathlib import Path

import pytest

from linkcodec.app.cli import main
from linkcodec.app.config import load_config, override
from linkcodec.app.security import KEY_VARIABLE
from linkcodec.app.wire import recorded_link, recording
from linkcodec.exceptions import InputError
from linkcodec.frame import Frame, Silence
from transport.capture import CaptureHeader, CaptureWriter
from transport.config import LinkConfig, SecurityConfig, WireConfig
from transport.keys import PresharedKey
from transport.links import MemoryLink
from transport.replay import Ledger
from transport.security import SecurityMode, SenderSecurity, Suite
from transport.wire import CodecLabel, WireSetup, open_transmitter

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A short call over a synchronous line."""
    config = load_config(CONFIGS / "sat-1200-packets.toml")
    path = tmp_path / "call.jsonl"
    near, _ = MemoryLink.pair(datagram=False)
    transmitter = open_transmitter(
        WireSetup(
            link=config.link,
            wire=config.wire,
            label=CodecLabel(name="compact", version=2, quantizers=5),
        )
    )
    transmitter.silence(Silence(-60.0), tick=0, now=0.0)
    for tick in range(12):
        frame = Frame((tick, 1, 2, 3, 4))
        transmitter.voice(frame, tick=tick, start=tick == 0, end=tick == 11, now=0.08 * tick)
    transmitter.send_text("QSY 7", 1.0)
    transmitter.finish(tick=12, now=1.0)
    with recording(near, str(path), config) as link:
        while (due := transmitter.next_time()) is not None:
            for departure in transmitter.poll(due):
                link.send(departure.data)
    return path


def test_dump_explains_every_packet(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wire", "dump", str(capture)]) == 0
    shown = capsys.readouterr().out
    for word in ("HELLO", "LINK", "SILENCE", "voice", "VOICE WITH PARITY", "REPAIR", "SIDE TEXT"):
        assert f"  {word}, " in shown
    assert shown.count("  BYE, ") == 3
    assert "no packet" not in shown
    assert shown.startswith("packets over sync at 1200 bit/s, ")


@pytest.mark.parametrize("wire", ["packets", "slots"])
@pytest.mark.parametrize("mode", ["authenticated", "encrypted"])
def test_dump_opens_what_is_sealed(
    mode: str,
    wire: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = PresharedKey(bytes(range(32)))
    monkeypatch.setenv(KEY_VARIABLE, key.text)
    setup = WireSetup(
        link=LinkConfig(kind="loopback", rate=2400, framing="sync"),
        wire=WireConfig(frames_per_packet=4, mode=wire),
        label=CodecLabel(name="compact", version=2, quantizers=5),
        security=SecurityConfig(mode=mode),
        outgoing=SenderSecurity(
            key=key,
            suite=Suite(mode=SecurityMode(mode)),
            station=3,
            clock=1.8e9,
            ledger=Ledger(),
        ),
    )
    path = tmp_path / "call.jsonl"
    writer = CaptureWriter(
        path, CaptureHeader(mode=wire, framing="sync", rate=2400, datagram=False)
    )
    transmitter = open_transmitter(setup)
    for tick in range(80):
        now = 0.08 * tick
        if tick < 40:
            transmitter.silence(Silence(-60.0), tick=tick, now=now)
        else:
            frame = Frame((tick, 1, 2, 3, 4))
            transmitter.voice(frame, tick=tick, start=tick == 40, end=tick == 79, now=now)
        for departure in transmitter.poll(now):
            writer.add(departure.data, now)
    writer.close()
    config = tmp_path / "call.toml"
    config.write_text(
        '[link]\nkind = "loopback"\nrate = 2400\nframing = "sync"\n'
        "[wire]\nframes_per_packet = 4\n"
        f'[security]\nmode = "{mode}"\n'
    )

    assert main(["wire", "dump", str(path), "--config", str(config)]) == 0
    opened = capsys.readouterr().out
    assert "60 1 2 3 4" in opened
    assert main(["wire", "dump", str(path)]) == 0
    closed = capsys.readouterr().out
    assert ("60 1 2 3 4" in closed) == (mode == "authenticated")
    if wire == "packets":
        assert "  SESSION, " in opened
        assert f"security: {mode}, tags of 4 bytes" in closed
        assert opened.count("tag: right") > 8
        assert "tag: right" not in closed
        assert ("encrypts its speech" in closed) == (mode == "encrypted")


def test_dump_of_something_else_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF\xff")
    assert main(["wire", "dump", str(path)]) == 2
    assert "no capture" in capsys.readouterr().err


def test_capture_takes_the_place_of_a_link(capture: Path) -> None:
    config = load_config(CONFIGS / "sat-1200-packets.toml")
    link = recorded_link(str(capture), config)
    assert not link.datagram
    slots = override(load_config(CONFIGS / "loopback-sim.toml"), {"wire.mode": "slots"})
    with pytest.raises(InputError, match=r"wire\.mode = 'packets'"):
        recorded_link(str(capture), slots)


def test_no_capture_is_written_unless_asked_for() -> None:
    near, _ = MemoryLink.pair()
    assert recording(near, None, load_config(CONFIGS / "udp-lan.toml")) is near


def test_a_capture_is_not_captured_again(capsys: pytest.CaptureFixture[str]) -> None:
    """One of the two flags would be ignored."""
    with pytest.raises(SystemExit):
        main(["receive", "--config", "x", "--from-wire", "a", "--record-wire", "b"])
    assert "not allowed with argument --from-wire" in capsys.readouterr().err
