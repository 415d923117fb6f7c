from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.curves import read_runs, smoothed
from linkcodec.exceptions import InputError


def a_run(folder: Path, *, steps: int, **losses: float) -> Path:
    folder.mkdir()
    lines = [{"step": step, **losses} for step in range(50, steps + 1, 50)]
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def test_runs_follow_one_another(tmp_path: Path) -> None:
    first = a_run(tmp_path / "a", steps=450, spectral=1.5)
    second = a_run(tmp_path / "b", steps=900, spectral=1.0, matching=0.5)
    curves, ends = read_runs([first, second])
    assert ends == pytest.approx([3.2, 9.6])
    assert [len(kept) for kept in curves.values()] == [2, 0, 0, 1]
    assert curves["spectral"][1].hours[0] == pytest.approx(3.2 + 50 * 25.6 / 3600)
    assert set(curves["spectral"][1].values) == {1.0}


def test_a_single_outlier_does_not_show() -> None:
    values = np.array([1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0])
    assert smoothed(values).tolist() == [1.0] * 8
    assert smoothed(np.array([3.0])).tolist() == [3.0]


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"log\.jsonl: no such log"):
        read_runs([tmp_path])
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(InputError, match="empty"):
        read_runs([tmp_path])
