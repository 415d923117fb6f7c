"""The push-to-talk key: pipes, files and a terminal, and where there is none."""

from __future__ import annotations

import os
import pty
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from linkcodec.app.cli import main
from linkcodec.app.ptt import open_key
from linkcodec.exceptions import ConfigError
from linkcodec.gate import GateConfig


def pushed(ptt: str) -> GateConfig:
    return GateConfig(mode="momentary", ptt=ptt)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The far end of a terminal that is standard input."""
    far, near = pty.openpty()
    with os.fdopen(near) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield far
    os.close(far)


def test_the_voice_needs_no_key() -> None:
    with open_key(GateConfig()) as key:
        assert key is None


def test_pipe_keeps_the_last_state(tmp_path: Path) -> None:
    path = tmp_path / "ptt"
    os.mkfifo(path)
    with open_key(pushed(str(path))) as key:
        assert key is not None
        assert not key.down(0.0)
        for text, down in (("1\n", True), ("junk", True), ("1\n0\n", False), ("0\n1", True)):
            path.write_text(text)
            assert key.down(0.0) is down
            assert key.down(0.0) is down


def test_file_says_the_state(tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_text("0\n")
    with open_key(pushed(str(path))) as key:
        assert key is not None
        for text, down in (("0\n", False), ("1\n", True), ("", True), ("0\n", False)):
            path.write_text(text)
            assert key.down(0.0) is down


def test_space_bar_is_down_while_it_repeats(terminal: int) -> None:
    with open_key(pushed("keyboard"), audio_input="microphone") as key:
        assert key is not None
        assert not key.down(0.0)
        os.write(terminal, b"x")
        assert not key.down(0.1)
        os.write(terminal, b" ")
        assert key.down(1.0)
        assert key.down(1.6)
        os.write(terminal, b"  ")
        assert key.down(1.65)
        assert key.down(2.3)
        assert not key.down(2.4)


def test_terminal_is_left_as_it_was(terminal: int) -> None:
    del terminal
    before = termios.tcgetattr(sys.stdin)
    with open_key(pushed("keyboard")):
        assert termios.tcgetattr(sys.stdin) != before
    assert termios.tcgetattr(sys.stdin) == before


@pytest.mark.parametrize(
    ("config", "audio", "message"),
    [
        (GateConfig(mode="latching"), "microphone", "gate.mode = 'latching' needs a key"),
        (pushed("keyboard"), "-", "standard input carries the speech"),
        (pushed("/nowhere/ptt"), "microphone", "/nowhere/ptt: cannot read the key: No such file"),
    ],
)
def test_no_key(config: GateConfig, audio: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message), open_key(config, audio_input=audio):
        pass


def test_no_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with path.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(ConfigError, match="is no terminal"), open_key(pushed("keyboard")):
            pass


@pytest.mark.parametrize("command", [["simulate", "in.wav", "out.wav"], ["echo"], ["gateway"]])
def test_commands_without_a_key_say_so(
    command: list[str], tone_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would send nothing, for ever."""
    tone_config.write_text(tone_config.read_text() + '[gate]\nmode = "latching"\n')
    assert main([*command, "--config", str(tone_config)]) == 2
    said = f"gate.mode = 'latching' needs a key, and linkcodec {command[0]} has none: set it to"
    assert said in capsys.readouterr().err
