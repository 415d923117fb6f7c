"""Two `linkcodec talk` processes that ring at each other."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import read_pcm
from test_daemons import loud_frames, processes, start, stop, wait_until_ready, write_speech

from benchmarks.realpeers import free_udp_ports
from linkcodec.app.audio import FileSource
from linkcodec.app.callcontrol import HeldBack, open_telephone
from linkcodec.app.cli import main
from linkcodec.app.status import StatusLine
from linkcodec.exceptions import ConfigError
from transport.calls import CallState

__all__ = ["processes"]


def talk(
    folder: Path, name: str, *flags: str, bind: int, peer: int
) -> tuple[subprocess.Popen[str], Path]:
    """A process that has twenty seconds to say; what it hears goes into a file."""
    config = folder / f"{name}.toml"
    config.write_text(
        '[codec]\nname = "tone"\n'
        '[link]\nkind = "udp"\nrate = 16000\nframing = "udp"\n'
        f'bind = "127.0.0.1:{bind}"\npeer = "127.0.0.1:{peer}"\n'
        "[wire]\nframes_per_packet = 2\n"
    )
    speech, heard = folder / f"{name}.wav", folder / f"{name}-heard.wav"
    write_speech(speech, 20.0)
    files = ("--config", config, "--input", speech, "--output", heard)
    return start("linkcodec.app.cli", "talk", *files, *flags), heard


def test_ring_and_answer(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    one, other = free_udp_ports()
    record = str(tmp_path / "call")
    (tmp_path / "call-heard.wav").write_bytes(b"an earlier call")
    far, far_heard = talk(tmp_path, "far", "--answer", "auto", bind=other, peer=one)
    processes.append(far)
    wait_until_ready(far)
    flags = ("--ring", "--record", record)
    near, near_heard = talk(tmp_path, "near", *flags, bind=one, peer=other)
    processes.append(near)
    assert near.stderr is not None
    said = near.stderr.readline()
    while "the call is open" not in said:
        assert near.poll() is None, said
        assert "text:" not in said
        said = near.stderr.readline()
    time.sleep(2.5)
    assert stop(near)[0] == 0
    status, errors = stop(far)
    assert status == 0
    assert "the call is open" in errors
    assert "no call: the other end hung up" in errors
    for path in (far_heard, near_heard):
        assert sum(loud_frames(path)) > 8
    assert (tmp_path / "call-heard.wav").read_bytes() == b"an earlier call"
    assert np.any(np.abs(read_pcm(tmp_path / "call-2-said.wav")) > 0.05)
    assert np.any(np.abs(read_pcm(tmp_path / "call-2-heard.wav")) > 0.05)


def test_busy(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    one, other = free_udp_ports()
    far, far_heard = talk(tmp_path, "far", "--answer", "busy", bind=other, peer=one)
    processes.append(far)
    wait_until_ready(far)
    near, _ = talk(tmp_path, "near", "--ring", bind=one, peer=other)
    processes.append(near)
    assert near.stderr is not None
    said = near.stderr.readline()
    while "no call: the other end is busy" not in said:
        assert near.poll() is None, said
        said = near.stderr.readline()
    assert stop(near)[0] == stop(far)[0] == 0
    assert not any(loud_frames(far_heard))


def test_a_recording_waits_for_the_call_to_be_taken() -> None:
    telephone = open_telephone(
        ring=True,
        answer=None,
        audio_input="speech.wav",
        key="",
        status=StatusLine(sys.stderr, quiet=True),
    )
    assert telephone is not None
    spoken = iter([np.full(1280, 0.5, np.float32)] * 2)
    file = FileSource(spoken, name="speech.wav", frame_seconds=0.001)
    source = HeldBack(file, telephone, samples=1280, seconds=0.001)
    for _ in range(20):
        assert not source.read(0.05).any()
        assert not source.ended
    telephone._control.state = CallState.ACTIVE
    assert source.read(0.05).all()
    telephone._control.state = CallState.OVER
    assert source.read(0.05).all()  # what has begun goes on
    assert source.ended
    source.close()


def test_the_keyboard_serves_one_purpose() -> None:
    status = StatusLine(sys.stderr, quiet=True)
    for audio_input, key in (("-", ""), ("microphone", "keyboard")):
        with pytest.raises(ConfigError, match="--answer ask needs the keyboard"):
            open_telephone(
                ring=False, answer="ask", audio_input=audio_input, key=key, status=status
            )


def test_without_standard_input_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="--answer ask: there is no standard input"):
        open_telephone(
            ring=False,
            answer="ask",
            audio_input="microphone",
            key="",
            status=StatusLine(sys.stderr, quiet=True),
        )


def test_a_recording_has_no_suffix(
    tmp_path: Path,
    tone_config: Path,
    speech: Path,
    capsys: pytest.CaptureFixture[str],
    tone_codec: object,
) -> None:
    files = ["--input", str(speech), "--output", str(tmp_path / "out.wav")]
    arguments = ["talk", "--config", str(tone_config), *files, "--record", "call.wav"]
    assert main([*arguments, "--open-speaker", "gate"]) == 2
    errors = capsys.readouterr().err
    assert "give a name without suffix" in errors
    assert "audio.open_speaker = 'gate' does nothing here: it is for a microphone" in errors
