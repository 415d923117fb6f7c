from __future__ import annotations

import os
from pathlib import Path

import pytest
import tonecodec

from linkcodec.app.cli import main
from linkcodec.app.config import parse_config
from linkcodec.app.security import (
    KEY_VARIABLE,
    SessionFile,
    load_key,
    open_security,
    read_key,
    simulated_security,
    write_key,
)
from linkcodec.app.simulate import Simulation
from linkcodec.exceptions import ConfigError, SecurityError
from transport.config import SecurityConfig
from transport.keys import PresharedKey
from transport.replay import Heard

KEY = PresharedKey(bytes(range(32)))

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "net.key"
    write_key(str(path), KEY)
    return path


@pytest.fixture
def config(key_file: Path, tmp_path: Path) -> SecurityConfig:
    return SecurityConfig(
        mode="encrypted", key_file=str(key_file), station=4, state_dir=str(tmp_path / "state")
    )


# Key files


def test_a_key_file_is_for_its_owner_alone(key_file: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert read_key(str(key_file)) == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644, 0o610])
def test_a_key_that_others_can_reach_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(SecurityError, match="chmod 600"):
        read_key(str(key_file))


def test_a_key_is_never_overwritten(key_file: Path) -> None:
    with pytest.raises(SecurityError, match="never overwritten"):
        write_key(str(key_file), PresharedKey.generate())
    assert read_key(str(key_file)) == KEY


def test_what_is_no_key_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="linkcodec key new"):
        read_key(str(tmp_path / "none"))
    with pytest.raises(SecurityError, match="Is a directory"):
        read_key(str(tmp_path))
    with pytest.raises(SecurityError, match="this is no file"):
        read_key("/dev/null")
    odd = tmp_path / "odd"
    odd.write_bytes(b"\xff\x00" * 100_000)
    odd.chmod(0o600)
    with pytest.raises(SecurityError, match="this is no key"):
        read_key(str(odd))
    with pytest.raises(SecurityError, match="cannot write the key"):
        write_key(str(tmp_path / "none" / "key"), KEY)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to somebody else")
def test_a_key_of_another_user_is_refused(key_file: Path) -> None:
    os.chown(key_file, 12345, 12345)
    with pytest.raises(SecurityError, match="another user"):
        read_key(str(key_file))


def test_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SecurityConfig(mode="encrypted")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(SecurityError, match=KEY_VARIABLE):
        load_key(config)
    monkeypatch.setenv(KEY_VARIABLE, KEY.text)
    assert load_key(config) == KEY
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    with pytest.raises(SecurityError, match=f"{KEY_VARIABLE}: this is no key"):
        load_key(config)


# The command


def test_the_command_makes_and_checks_keys(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "a.key"
    assert main(["key", "new", str(path)]) == 0
    assert main(["key", "check", str(path)]) == 0
    made, checked = capsys.readouterr().out.splitlines()
    key = read_key(str(path))
    assert made.endswith(f"fingerprint {key.fingerprint}")
    assert checked.endswith(f"fingerprint {key.fingerprint}")
    assert key.text.split()[1] not in made + checked


@pytest.mark.parametrize("action", ["new", "check"])
def test_the_command_fails_in_one_line(action: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "a.key"
    path.write_text("x")
    path.chmod(0o644)
    assert main(["key", action, str(path)]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("linkcodec key: error: ")
    assert errors.count("\n") == 1


# Records of sessions


def test_sessions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state" / "x.json"
    file = SessionFile(path)
    file.ledger.note(7, 1 << 40, 12)
    file.close()
    assert path.stat().st_mode & 0o777 in (0o600, 0o644)
    again = SessionFile(path)
    assert again.ledger.session(7) == 1 << 40
    assert again.ledger.floor(7, 1 << 40) > 12
    again.ledger.settle()
    again.close()


def test_two_programs_do_not_share_a_record(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    file = SessionFile(path)
    with pytest.raises(SecurityError, match=r"another linkcodec.*security\.state_dir"):
        SessionFile(path)
    file.close()
    SessionFile(path).close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"version": 2, "stations": {}}',
        '{"version": 1}',
        '{"version": 1, "stations": []}',
        '{"version": 1, "stations": {"a": [1, 2]}}',
        '{"version": 1, "stations": {"1": [1]}}',
        '{"version": 1, "stations": {"1": [1, -2]}}',
        '{"version": 1, "stations": {"1": [1.5, 2]}}',
        '{"version": 1, "stations": {"1": 5}}',
    ],
)
def test_a_damaged_record_is_refused_and_not_locked(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    for _ in range(2):
        with pytest.raises(SecurityError, match="record of sessions is damaged"):
            SessionFile(path)


def test_a_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SecurityError, match=r"cannot write.*security\.state_dir"):
        SessionFile(blocked / "x.json")
    path = tmp_path / "x.json"
    file = SessionFile(path)
    (tmp_path / "x.new").mkdir()
    with pytest.raises(SecurityError, match="cannot write"):
        file.save({1: Heard(session=1, tick=1)})
    file.close()


# Calls


def test_security_off_needs_nothing() -> None:
    with open_security(SecurityConfig(), sends=True, receives=True) as security:
        assert security.outgoing is None
        assert security.incoming is None


def test_a_call_goes_on_over_restarts(config: SecurityConfig) -> None:
    sessions = []
    clock = iter([1.8e9, 1.8e9, 0.0]).__next__
    for _ in range(3):
        with open_security(config, sends=True, receives=True, clock=clock) as security:
            assert security.outgoing is not None
            assert security.incoming is not None
            sessions.append(security.outgoing.at(0).number)
            # Its own speech, sent back by somebody, is refused.
            assert security.incoming.announce(security.outgoing.announcement(0), 0.0) is None
    assert sessions == sorted(set(sessions))


def test_a_loopback_hears_itself(config: SecurityConfig) -> None:
    with open_security(config, sends=True, receives=True, hears_itself=True) as security:
        assert security.outgoing is not None
        assert security.incoming is not None
        assert security.incoming.announce(security.outgoing.announcement(0), 0.0) is not None


def test_a_receiver_knows_after_a_restart_what_it_heard(config: SecurityConfig) -> None:
    with open_security(config, sends=True, receives=True, hears_itself=True) as call:
        assert call.outgoing is not None
        assert call.incoming is not None
        announcement = call.outgoing.announcement(0)
        call.incoming.announce(announcement, 0.0)
        sealed = call.outgoing.seal(b"ab", b"body", tick=3, lane=0, at=3)
        opened = call.incoming.open(b"ab", sealed, low=3, modulus=512, lane=0, now=0.3)
        assert opened is not None
    with open_security(config, sends=False, receives=True) as call:
        assert call.incoming is not None
        assert call.incoming.announce(announcement, 0.0) is not None
        assert call.incoming.open(b"ab", sealed, low=3, modulus=512, lane=0, now=0.3) is None
        assert call.incoming.statistics.replayed == 1


def test_a_failed_start_leaves_nothing_locked(config: SecurityConfig) -> None:
    folder = Path(config.state_dir)
    folder.mkdir()
    (folder / f"{KEY.fingerprint}-heard.json").write_text("{")
    with pytest.raises(SecurityError, match="damaged"):
        open_security(config, sends=True, receives=True)
    with open_security(config, sends=True, receives=False) as security:
        assert security.outgoing is not None


def test_the_users_own_state_folder(
    key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SecurityConfig(mode="authenticated", key_file=str(key_file))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    open_security(config, sends=True, receives=False).__exit__(None, None, None)
    assert (tmp_path / "xdg" / "linkcodec" / f"{KEY.fingerprint}-sent.json").exists()
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    open_security(config, sends=True, receives=False).__exit__(None, None, None)
    assert (tmp_path / "home/.local/state/linkcodec").is_dir()


def test_the_simulator_needs_no_key_and_repeats_itself() -> None:
    config = SecurityConfig(mode="encrypted")
    first, second = simulated_security(config), simulated_security(config)
    assert first.outgoing is not None
    assert second.outgoing is not None
    assert first.outgoing.announcement(5) == second.outgoing.announcement(5)
    assert simulated_security(SecurityConfig()).outgoing is None


@pytest.mark.parametrize("mode", ["authenticated", "encrypted"])
@pytest.mark.parametrize("wire", ["packets", "slots"])
def test_a_simulated_call_arrives_whole(wire: str, mode: str) -> None:
    text = (
        '[codec]\nname = "tone"\nquantizers = 7\n'
        '[link]\nkind = "loopback"\nrate = 1200\nframing = "sync"\n'
        f'[wire]\nframes_per_packet = 7\nmode = "{wire}"\n'
        f'[security]\nmode = "{mode}"\nannounce_seconds = 10.0\n'
    )
    config = parse_config(text, source="test")
    pcm = tonecodec.speech_like(12.0, pause=True)
    result = Simulation(codec=tonecodec.ToneCodec(), config=config).run(pcm)
    # In slots the announcement at the start of the call may cost four frames.
    missed = result.sender.statistics.frames_dropped + result.frames_sent - result.frames_played
    assert missed <= (7 if wire == "slots" else 0)
    assert result.frames_played > 100
    again = Simulation(codec=tonecodec.ToneCodec(), config=config).run(pcm)
    assert again.pcm.tobytes() == result.pcm.tobytes()


def test_a_config_with_impossible_security_is_refused() -> None:
    for text, words in (
        ('mode = "secret"', "security.mode"),
        ("tag_bytes = 5", "security.tag_bytes"),
        ("station = 256", "security.station"),
        ("rekey_minutes = 0", "security.rekey_minutes"),
        ("announce_seconds = 0", "security.announce_seconds"),
        ('key = "x"', "unknown field 'key'"),
    ):
        with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
            parse_config(f"[security]\n{text}\n", source="test")
