from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import ROOT

from linkcodec.app.cli import main
from linkcodec.app.service import unit_text

UDP_LAN = str(ROOT / "configs" / "udp-lan.toml")


def test_show(tone_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--role", "receive", "--config", str(tone_config), "--flags=--metrics 9100"]
    assert main(["service", "show", "harbour", *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    command = f"{sys.executable} -m linkcodec receive --config {tone_config} --metrics 9100"
    assert f"ExecStart={command}" in lines
    for line in ("Type=notify", "Restart=always", "WatchdogSec=20", "ProtectSystem=strict"):
        assert line in lines
    assert "ExecReload=/bin/kill -HUP $MAINPID" in lines
    assert "DynamicUser=yes" in lines


def test_words_are_quoted_for_systemd() -> None:
    command = ["python", "-m", "linkcodec", "--config", "/my files/a $x 50%.toml"]
    text = unit_text(name="n", role="talk", command=command, user=True)
    assert 'ExecStart=python -m linkcodec --config "/my files/a $$x 50%%.toml"' in text
    assert "DynamicUser" not in text
    assert "Nice=" not in text
    assert "WantedBy=default.target" in text


def test_install_and_remove(
    tone_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")  # no systemctl
    flags = ["--user", "--config", str(tone_config)]
    assert main(["service", "install", "harbour", *flags]) == 0
    unit = tmp_path / "systemd" / "user" / "linkcodec-harbour.service"
    assert "linkcodec talk, harbour" in unit.read_text()
    assert "start it with: systemctl --user start linkcodec-harbour" in capsys.readouterr().out
    assert main(["service", "remove", "harbour", "--user"]) == 0
    assert not unit.exists()
    assert main(["service", "remove", "harbour", "--user"]) == 2
    assert "cannot be removed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["../etc", "--config", "x"], "is no name for a service"),
        (["harbour"], "--config is missing"),
        (["harbour", "--config", UDP_LAN, "--flags=--log 'x"], "close the quotes in it"),
        (["harbour", "--config", "/no/such.toml"], "no such configuration file"),
    ],
)
def test_mistakes(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "install", *arguments]) == 2
    assert text in capsys.readouterr().err
