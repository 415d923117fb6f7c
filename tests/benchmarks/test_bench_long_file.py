from __future__ import annotations

from pathlib import Path

import pytest
import soundfile  # type: ignore[import-untyped]

from benchmarks.long_file import main, measure, row, write_recording


def test_a_recording_is_as_long_as_asked(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.wav", 3)
    assert soundfile.info(tmp_path / "a.wav").duration == 3.0


def test_a_file_is_measured(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.wav", 2)
    found = measure("compact", None, 16, tmp_path / "a.wav")
    # The codec's delay of 320 samples needs a frame of its own.
    assert found["frames"] == 26
    assert found["samples"] >= 2 * 16_000
    assert 10 < found["loaded"] < 10_000
    assert 0 <= found["encode"] <= found["decode"] < 1000
    assert row(0.5, found).count("|") == 7


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--minutes", "ten"]) == 2
    assert "--minutes ten" in capsys.readouterr().err
